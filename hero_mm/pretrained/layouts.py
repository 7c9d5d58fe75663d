r"""How the checkpoints of others are laid out, and what HERO shares of them.

A layout is a list of rules; the first whose pattern fits a whole name decides
about the tensor. A name that no rule knows is unexpected, and is reported so.
The names are those of the published architectures.
"""

from dataclasses import dataclass

BACKBONE = 'video_encoder.backbone.'
NECK = 'video_encoder.neck.'
PROJECTION = 'video_encoder.projects.'
LANGUAGE_MODEL = 'text_encoder.language_model.'
_TEXT_PROJECTION = 'text_encoder.pooling.project.'
_OWN_PARTS = 'HERO has parts of its own for these'
_OF_A_DETECTOR = (
    'a detector as a whole is a proposal generator, which loads its '
    'checkpoint itself'
)


@dataclass(frozen=True)
class Rule:
    r"""What happens to the tensors whose names fit a pattern.

    Attributes:
        pattern (str): Fits the whole name.
        what (str): What the tensors are, for the report.
        place (str): HERO's name, a template such as ``neck.\1``; empty where
            HERO has no place.
        why_not (str): Why they go nowhere.
        needs (str): ``what`` of an earlier rule; they are of no use where
            nothing of it was loaded.
    """

    pattern: str
    what: str
    place: str = ''
    why_not: str = _OWN_PARTS
    needs: str = ''


@dataclass(frozen=True)
class Layout:
    """How a checkpoint is laid out.

    Attributes:
        name (str): Also that of its tool.
        title (str): For messages.
        needed (tuple[str]): Beginnings of names that such a file has.
        rules (tuple[Rule]): In order.
    """

    name: str
    title: str
    needed: tuple[str, ...]
    rules: tuple[Rule, ...]


def _backbone(prefix: str) -> Rule:
    return Rule(prefix + '(.+)', 'backbone', BACKBONE + r'\1')


def _language_model(prefix: str) -> tuple[Rule, ...]:
    return (
        Rule(
            prefix + r'(?:pooler\..+|embeddings\.(?:position|token_type)_ids)',
            'pooler and counters of the text encoder',
            why_not='HERO pools and counts the words itself',
        ),
        Rule(prefix + '(.+)', 'text encoder', LANGUAGE_MODEL + r'\1'),
    )


def _text_projection(pattern: str) -> Rule:
    place = _TEXT_PROJECTION + r'0.\1'
    return Rule(pattern, 'text projection', place, needs='text encoder')


def _detr(body: str, text: str, resizer: str) -> tuple[Rule, ...]:
    """What MDETR and its heirs have in common."""
    return (
        _backbone(body),
        *_language_model(text),
        _text_projection(resizer + r'fc\.(.+)'),
        Rule(
            resizer + r'layer_norm\.(.+)',
            'norm of the text projection',
            _TEXT_PROJECTION + r'1.\1',
            needs='text projection',
        ),
        Rule(
            r'input_proj\.(.+)',
            'projection of the pictures',
            PROJECTION + r'\1',
        ),
        Rule(
            r'(?:ground_decoder\.decoder\.)?bbox_embed\..+',
            'box head',
            why_not='HERO corrects the boxes of regions and regresses none '
            'from the whole picture',
        ),
    )


_REASONING = 'positions, encoder, decoder, queries and heads'
_MDETR = _detr(
    r'backbone\.0\.body\.',
    r'transformer\.text_encoder\.',
    r'transformer\.resizer\.',
)
_DETECTOR = (
    _backbone(r'backbone\.'),
    Rule(r'neck\.(.+)', 'neck', NECK + r'\1'),
    Rule(
        r'data_preprocessor\..+',
        'mean and deviation of the pixels',
        why_not='they stand in the config (model.data_preprocessor)',
    ),
    Rule(
        r'(?:\w*head|encoder|decoder|query_embedding|level_embed|query_map'
        r'|(?:memory|pos)_trans_(?:fc|norm)|reference_points_fc'
        r'|dn_query_generator)(?:\..+)?',
        'encoder, decoder and heads',
        why_not=_OF_A_DETECTOR,
    ),
)
# A file is of the first layout whose names it has.
_ALL = (
    Layout(
        'mm_grounding_dino',
        'MM-Grounding-DINO',
        ('backbone.', 'language_model.language_backbone.'),
        (
            *_DETECTOR,
            *_language_model(
                r'language_model\.language_backbone\.body\.model\.'
            ),
            _text_projection(r'text_feat_map\.(.+)'),
        ),
    ),
    Layout(
        'mdetr',
        'MDETR',
        ('backbone.0.', 'transformer.text_encoder.', 'class_embed.'),
        (
            *_MDETR,
            Rule(
                r'(?:backbone\.1|transformer\.(?:encoder|decoder|CLS)'
                r'|(?:query|class|isfinal|qa)_embed|answer_\w+|mask_head'
                r'|contrastive_\w+|bbox_attention)\..+',
                _REASONING,
            ),
        ),
    ),
    Layout(
        'tubedetr',
        'TubeDETR',
        ('backbone.0.', 'transformer.text_encoder.'),
        (
            *_MDETR,
            Rule(
                r'(?:backbone\.1|transformer\.(?:encoder|decoder|time_embed'
                r'|fast_encoder|fast_residual)|(?:query|sted)_embed)\..+',
                _REASONING,
            ),
        ),
    ),
    Layout(
        'stcat',
        'STCAT',
        ('vis_encoder.0.', 'text_encoder.body.'),
        (
            *_detr(
                r'vis_encoder\.0\.body\.',
                r'text_encoder\.body\.',
                r'text_encoder\.resizer\.',
            ),
            Rule(
                r'(?:vis_encoder\.1|ground_encoder|ground_decoder'
                r'|(?:temp|action)_embed)\..+',
                _REASONING,
            ),
        ),
    ),
    Layout(
        'mmdetection',
        'a detector of mmdet or a classifier of mmpretrain',
        ('backbone.',),
        _DETECTOR,
    ),
    Layout(
        'resnet',
        'a ResNet of torchvision or timm',
        ('conv1.', 'layer1.0.'),
        (
            Rule(
                r'fc\..+',
                'classifier',
                why_not='HERO classifies no pictures',
            ),
            Rule(
                r'((?:conv1|bn1|layer[1-4])\..+)',
                'backbone',
                BACKBONE + r'\1',
            ),
        ),
    ),
)
LAYOUTS = {layout.name: layout for layout in _ALL}
