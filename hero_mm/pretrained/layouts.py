r"""How the checkpoints of others are laid out, and what HERO shares of them.

A layout is a list of rules; the first whose pattern fits a whole name decides
about the tensor. A name that no rule knows is unexpected, and is reported so.
The names are those of the published architectures.
"""

from dataclasses import dataclass
from typing import Optional

from .placement import (
    Placement,
    expand,
    first_fitting,
    place_language_model,
    place_projection,
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
# Layers of DETR's encoder and decoder, and of their heirs.
_WB = r'(?:weight|bias)'
_LAYER = (
    rf'(?:(?:linear[12]|norm[1-4])\.{_WB}'
    r'|(?:self_attn|cross_attn(?:_image|_text)?)'
    rf'\.(?:in_proj_{_WB}|out_proj\.{_WB}))'
)
_STCAT_ENCODER = (
    rf'ground_encoder\.(?:fusion\.{_WB}|encoder\.(?:'
    rf'(?:spatial|temporal)_layers\.\d+\.{_LAYER}'
    r'|(?:local_pos_embed|frame_cls|video_cls)\.weight'
    r'|time_embed\.(?:te|embed\.weight)))'
)
_STCAT_DECODER = (
    rf'ground_decoder\.(?:template_generator\.\w+_proj\.{_WB}'
    rf'|decoder\.layers\.\d+\.(?:{_LAYER}|[sc]a_\w+_proj\.{_WB})'
    rf'|decoder\.(?:query_scale|ref_point_head)\.layers\.\d\.{_WB}'
    rf'|temp_decoder\.layers\.\d+\.{_LAYER}'
    rf'|(?:temp_)?decoder\.norm\.{_WB}'
    r'|time_embed\.(?:te|embed\.weight))'
)
_TEXT_PROJECTION = 'text_encoder.pooling.project.'
_OWN_PART = 'HERO has a part of its own for this'
_OTHER_RESNET = (
    'the ResNet of the config is of another depth, or that of the file is none'
)
_OTHER_LANGUAGE_MODEL = (
    'the language model of the config has another number of layers'
)
_NO_LEVEL = "the config's neck has no such level"


@dataclass(frozen=True)
class Rule:
    r"""What happens to the tensors whose names fit a pattern.

    Attributes:
        pattern (str): Fits the whole name.
        what (str): What the tensors are, for the report.
        place (Callable, optional): Where they go; None: nowhere.
        why_not (str): Why they, or those without a place, go nowhere.
        by_shape (bool): Their place depends on the config: without one they
            are left out.
        together (bool): None of them where one has another shape.
        needs (str): ``what`` of an earlier rule; they are of no use where
            nothing of it was loaded.
    """

    pattern: str
    what: str
    place: Optional[Placement] = None
    why_not: str = _OWN_PART
    by_shape: bool = False
    together: bool = False
    needs: str = ''


@dataclass(frozen=True)
class Layout:
    """How a checkpoint is laid out.

    Attributes:
        name (str): Also that of its tool.
        title (str): For messages.
        rules (tuple[Rule]): In order.
        needed (tuple[str]): Beginnings of names that such a file has.
        foreign (tuple[str]): Beginnings that it never has.
    """

    name: str
    title: str
    rules: tuple[Rule, ...]
    needed: tuple[str, ...]
    foreign: tuple[str, ...] = ()


def _resnet_rule(prefix: str) -> Rule:
    return Rule(
        prefix + _RESNET,
        'backbone',
        place_resnet,
        _OTHER_RESNET,
        together=True,
    )


def _language_rules(prefix: str) -> tuple[Rule, ...]:
    return (
        Rule(
            prefix + _BERT,
            'text encoder',
            place_language_model,
            _OTHER_LANGUAGE_MODEL,
            # RoBERTa and BERT differ in nothing but their vocabulary.
            together=True,
        ),
        Rule(
            prefix + r'pooler\.dense\.(?:weight|bias)',
            'pooler of the text encoder',
            why_not='HERO pools the words itself',
        ),
        Rule(
            prefix + r'embeddings\.(?:position_ids|token_type_ids)',
            'counters of the text encoder',
            why_not='no weights: transformers counts by itself today',
        ),
    )


def _text_projection(pattern: str, number: int) -> Rule:
    return Rule(
        pattern,
        'text projection',
        first_fitting(expand(rf'{_TEXT_PROJECTION}{number}.\1')),
        together=True,
        needs='text encoder',
    )


def _resizer_rules(prefix: str) -> tuple[Rule, ...]:
    return (
        _text_projection(prefix + r'fc\.(weight|bias)', 0),
        Rule(
            prefix + r'layer_norm\.(weight|bias)',
            'norm of the text projection',
            first_fitting(expand(rf'{_TEXT_PROJECTION}1.\1')),
            together=True,
            needs='text projection',
        ),
    )


_INPUT = Rule(
    r'input_proj\.(weight|bias)',
    'projection of the pictures',
    place_projection,
    'the neck of the config stands before it and would spoil it; '
    'configs/hero/hero_r101-c5_vidstg.py has none',
    by_shape=True,
    together=True,
)
_BOXES = Rule(
    r'(?:ground_decoder\.decoder\.)?bbox_embed\.layers\.\d\.(?:weight|bias)',
    'box head',
    why_not='HERO corrects the boxes of regions and regresses none from the '
    'whole picture',
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
        _resnet_rule(r'backbone\.0\.body\.'),
        Rule(
            r'backbone\.0\.body\.(?:conv_stem|blocks)\..+',
            'backbone, an EfficientNet',
            why_not='of backbones HERO shares the ResNets',
        ),
        *_language_rules(r'transformer\.text_encoder\.'),
        *_resizer_rules(r'transformer\.resizer\.'),
        _INPUT,
        Rule(
            rf'transformer\.(?:en|de)coder\.(?:layers\.\d+\.{_LAYER}'
            rf'|norm\.{_WB})',
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
            rf'transformer\.fast_(?:encoder|residual)\.'
            rf'(?:layers\.\d+\.{_LAYER}|norm\.{_WB}|{_WB})',
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
        _resnet_rule(r'vis_encoder\.0\.body\.'),
        *_language_rules(r'text_encoder\.body\.'),
        *_resizer_rules(r'text_encoder\.resizer\.'),
        _INPUT,
        _BOXES,
        _POSITIONS,
        Rule(r'temp_embed\.layers\.\d\.(?:weight|bias)', 'start and end head'),
        Rule(r'action_embed\.layers\.\d\.(?:weight|bias)', 'actionness head'),
        Rule(
            rf'{_STCAT_ENCODER}|{_STCAT_DECODER}',
            _ATTENTION,
            why_not=_ATTENTION_WHY,
        ),
    ),
    needed=('vis_encoder.0.', 'text_encoder.body.'),
)

_BACKBONES = (
    _resnet_rule(r'backbone\.'),
    Rule(
        r'backbone\.(.+)',
        'backbone',
        first_fitting(expand(r'video_encoder.backbone.\1')),
        together=True,
    ),
)
_NECK = Rule(r'neck\.(.+)', 'neck', same_levels, _NO_LEVEL, by_shape=True)
_PIXELS = Rule(
    r'data_preprocessor\..+',
    'mean and deviation of the pixels',
    why_not='they stand in the config (model.data_preprocessor)',
)
MMDETECTION = Layout(
    'mmdetection',
    'a detector of mmdet or a classifier of mmpretrain',
    (
        *_BACKBONES,
        _NECK,
        _PIXELS,
        Rule(
            r'(?:\w*head|encoder|decoder|query_embedding|level_embed'
            r'|(?:memory|pos)_trans_(?:fc|norm)|reference_points_fc|query_map'
            r'|dn_query_generator)(?:\..+)?',
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
        *_BACKBONES,
        _NECK,
        _PIXELS,
        *_language_rules(r'language_model\.language_backbone\.body\.model\.'),
        _text_projection(r'text_feat_map\.(weight|bias)', 0),
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
        _resnet_rule(''),
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
    for layout in (
        MDETR,
        TUBEDETR,
        STCAT,
        MMDETECTION,
        MM_GROUNDING_DINO,
        RESNETS,
    )
}
