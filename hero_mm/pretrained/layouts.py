r"""How the checkpoints of others are laid out, and what HERO shares of them.

A layout is a list of rules; the first whose pattern fits a whole name decides
about the tensor. A name that no rule knows is unexpected, and is reported so.
The names are those of the published architectures.
"""

from dataclasses import dataclass
from typing import Optional

from .placement import (
    INPUT_PROJECTION,
    Placement,
    expand,
    first_fitting,
    place_resnet,
    same_levels,
)

_NORM = r'(?:weight|bias|running_mean|running_var|num_batches_tracked)'
# A ResNet-D of timm has three convolutions in its stem, and pools before the
# convolution of a shortcut.
_RESNET = (
    rf'(?P<net>conv1\.(?:weight|[0-6]\.{_NORM})|bn1\.{_NORM}'
    r'|layer[1-4]\.\d+\.'
    rf'(?:conv[1-3]\.weight|bn[1-3]\.{_NORM}'
    rf'|downsample\.(?:[01]\.weight|[12]\.{_NORM})))'
)
# RoBERTa and BERT.
_BERT = (
    r'(embeddings\.(?:(?:word|position|token_type)_embeddings\.weight'
    r'|LayerNorm\.(?:weight|bias))'
    r'|encoder\.layer\.\d+\.'
    r'(?:attention\.(?:self\.(?:query|key|value)|output\.(?:dense|LayerNorm))'
    r'|intermediate\.dense|output\.(?:dense|LayerNorm))\.(?:weight|bias))'
)
_LANGUAGE = first_fitting(expand(r'text_encoder.language_model.\1'))
_TEXT_LINEAR = first_fitting(expand(r'text_encoder.pooling.project.0.\1'))
_TEXT_NORM = first_fitting(expand(r'text_encoder.pooling.project.1.\1'))
_NO_PLACE = 'HERO has a part of its own for this'


@dataclass(frozen=True)
class Rule:
    r"""What happens to the tensors whose names fit a pattern.

    Attributes:
        pattern (str): Fits the whole name.
        what (str): What the tensors are, for the report.
        place (Callable, optional): Where they go; None: nowhere.
        why_not (str): Why they go nowhere.
        by_shape (bool): Their place depends on the config: without one they
            are left out.
        together (bool): None of them where one has another shape.
    """

    pattern: str
    what: str
    place: Optional[Placement] = None
    why_not: str = _NO_PLACE
    by_shape: bool = False
    together: bool = False


@dataclass(frozen=True)
class Layout:
    """How a checkpoint is laid out.

    Attributes:
        name (str): Also that of its tool.
        title (str): For messages.
        rules (tuple[Rule]): In order.
        needed (tuple[str]): Beginnings of names that such a file has; with
            several in one entry, parted by ``|``, one of them.
        foreign (tuple[str]): Beginnings that it never has.
    """

    name: str
    title: str
    rules: tuple[Rule, ...]
    needed: tuple[str, ...]
    foreign: tuple[str, ...] = ()


def _language_rules(prefix: str) -> tuple[Rule, ...]:
    return (
        Rule(prefix + _BERT, 'text encoder', _LANGUAGE),
        Rule(
            prefix + r'pooler\.dense\.(weight|bias)',
            'pooler of the text encoder',
            why_not='HERO pools the words itself',
        ),
        Rule(
            prefix + r'embeddings\.position_ids',
            'counter of positions',
            why_not='no weights: transformers counts by itself today',
        ),
    )


def _resizer_rules(prefix: str) -> tuple[Rule, ...]:
    return (
        Rule(
            prefix + r'fc\.(weight|bias)',
            'text projection',
            _TEXT_LINEAR,
            together=True,
        ),
        Rule(
            prefix + r'layer_norm\.(weight|bias)',
            'norm of the text projection',
            _TEXT_NORM,
            together=True,
        ),
    )


_INPUT = Rule(
    r'input_proj\.(weight|bias)',
    'projection of the pictures',
    INPUT_PROJECTION,
    by_shape=True,
    together=True,
)
_BOXES = Rule(
    r'(?:ground_decoder\.decoder\.)?bbox_embed\.layers\.\d\.(?:weight|bias)',
    'box head',
    why_not="HERO's tube head predicts distances to the sides from a region, "
    'not a box of the whole picture',
)
_POSITIONS = Rule(
    r'(?:backbone|vis_encoder)\.1\.(?:row|col)_embed\.weight',
    'learned positions',
)
_ATTENTION = 'encoder and decoder'
_ATTENTION_WHY = 'HERO reasons with layers of its own make'


def _detr_rules() -> tuple[Rule, ...]:
    """What MDETR and TubeDETR have in common."""
    return (
        Rule(rf'backbone\.0\.body\.{_RESNET}', 'backbone', place_resnet),
        *_language_rules(r'transformer\.text_encoder\.'),
        *_resizer_rules(r'transformer\.resizer\.'),
        _INPUT,
        Rule(
            r'transformer\.(?:encoder|decoder)\..+',
            _ATTENTION,
            why_not=_ATTENTION_WHY,
        ),
        Rule(r'query_embed\.weight', 'object queries'),
        _BOXES,
        _POSITIONS,
    )


MDETR = Layout(
    'mdetr',
    'MDETR',
    (
        *_detr_rules(),
        Rule(r'class_embed\.(?:weight|bias)', 'scores of word positions'),
        Rule(r'isfinal_embed\.(?:weight|bias)', 'scores of answers'),
        Rule(
            r'contrastive_(?:align_)?projection_(?:image|text)\.(?:weight|bias)',
            'contrastive projections',
        ),
        Rule(r'transformer\.CLS\.weight', 'token of the whole picture'),
        Rule(r'(?:qa_embed|answer_\w+)\..+', 'answers to questions'),
        Rule(r'(?:mask_head|bbox_attention)\..+', 'masks'),
    ),
    needed=('backbone.0.', 'transformer.text_encoder.', 'class_embed.'),
)
TUBEDETR = Layout(
    'tubedetr',
    'TubeDETR',
    (
        *_detr_rules(),
        Rule(r'sted_embed\.layers\.\d\.(?:weight|bias)', 'start and end head'),
        Rule(
            r'transformer\.time_embed\.(?:te|time_embed\.weight)',
            'positions in time',
        ),
        Rule(
            r'transformer\.fast_(?:encoder|residual)\..+',
            'branch of all frames',
        ),
    ),
    needed=('backbone.0.', 'transformer.text_encoder.'),
    foreign=('class_embed.',),
)
STCAT = Layout(
    'stcat',
    'STCAT',
    (
        Rule(rf'vis_encoder\.0\.body\.{_RESNET}', 'backbone', place_resnet),
        *_language_rules(r'text_encoder\.body\.'),
        *_resizer_rules(r'text_encoder\.resizer\.'),
        _INPUT,
        _BOXES,
        _POSITIONS,
        Rule(r'temp_embed\.layers\.\d\.(?:weight|bias)', 'start and end head'),
        Rule(r'action_embed\.layers\.\d\.(?:weight|bias)', 'actioness head'),
        Rule(
            r'ground_(?:encoder|decoder)\..+',
            _ATTENTION,
            why_not=_ATTENTION_WHY,
        ),
    ),
    needed=('vis_encoder.0.', 'text_encoder.body.'),
)

_SAME_BACKBONE = Rule(
    r'backbone\.(.+)',
    'backbone',
    first_fitting(expand(r'video_encoder.backbone.\1')),
)
_NECK = Rule(r'neck\.(.+)', 'neck', same_levels, by_shape=True)
_PIXELS = Rule(
    r'data_preprocessor\..+',
    'mean and deviation of the pixels',
    why_not='they stand in the config (model.data_preprocessor)',
)
MMDET = Layout(
    'mmdet',
    'a detector of mmdet or a classifier of mmpretrain',
    (
        _SAME_BACKBONE,
        _NECK,
        _PIXELS,
        Rule(
            r'(?:\w*head|rpn_head|roi_head|encoder|decoder|query_embedding'
            r'|level_embed|memory_trans_(?:fc|norm)|dn_query_generator'
            r'|input_proj|positional_encoding|pts_bbox_head)(?:\..+)?',
            'detection or classification heads',
            why_not='a detector as a whole is a proposal generator, which '
            'loads its checkpoint itself',
        ),
    ),
    needed=('backbone.',),
    foreign=('backbone.0.body.', 'language_model.'),
)
MM_GROUNDING_DINO = Layout(
    'mm_grounding_dino',
    'MM-Grounding-DINO',
    (
        _SAME_BACKBONE,
        _NECK,
        _PIXELS,
        *_language_rules(r'language_model\.language_backbone\.body\.model\.'),
        Rule(
            r'text_feat_map\.(weight|bias)',
            'text projection',
            _TEXT_LINEAR,
            together=True,
        ),
        Rule(
            r'(?:encoder|decoder|bbox_head|dn_query_generator|query_embedding'
            r'|memory_trans_(?:fc|norm))\..+|level_embed',
            'encoder, decoder and heads of the detector',
            why_not='a detector as a whole is a proposal generator, which '
            'loads its checkpoint itself',
        ),
    ),
    needed=('backbone.', 'language_model.language_backbone.'),
)
RESNETS = Layout(
    'resnet',
    'a ResNet of torchvision or timm',
    (
        Rule(_RESNET, 'backbone', place_resnet),
        Rule(
            r'fc\.(?:weight|bias)',
            'classifier',
            why_not='HERO classifies no pictures',
        ),
    ),
    needed=('conv1.', 'layer1.0.'),
)
LAYOUTS = {
    layout.name: layout
    for layout in (MDETR, TUBEDETR, STCAT, MMDET, MM_GROUNDING_DINO, RESNETS)
}
