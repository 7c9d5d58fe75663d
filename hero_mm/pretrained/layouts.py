"""How the checkpoints of others are laid out, and what HERO shares of them.

The names are those of the published architectures.
"""

from typing import NamedTuple

BACKBONE = 'video_encoder.backbone.'
NECK = 'video_encoder.neck.'
PROJECTION = 'video_encoder.projects.'
LANGUAGE_MODEL = 'text_encoder.language_model.'
TEXT_PROJECTION = 'text_encoder.pooling.project.0.'
TEXT_NORM = 'text_encoder.pooling.project.1.'


class Layout(NamedTuple):
    """How a checkpoint is laid out.

    Attributes:
        title (str): For messages.
        needed (tuple[str]): Beginnings of names that such a file has.
        shared (dict): From the beginning of a name to HERO's.
    """

    title: str
    needed: tuple[str, ...]
    shared: dict[str, str]


def _detr(body: str, text: str, resizer: str) -> dict[str, str]:
    """What MDETR and its heirs share with HERO."""
    return {
        body: BACKBONE,
        'input_proj.': PROJECTION,
        text: LANGUAGE_MODEL,
        f'{resizer}fc.': TEXT_PROJECTION,
        f'{resizer}layer_norm.': TEXT_NORM,
    }


_DETECTOR = {'backbone.': BACKBONE, 'neck.': NECK}
# A file is of the first layout whose names it has.
LAYOUTS = (
    Layout(
        'MM-Grounding-DINO',
        ('backbone.', 'language_model.language_backbone.'),
        {
            **_DETECTOR,
            'language_model.language_backbone.body.model.': LANGUAGE_MODEL,
            'text_feat_map.': TEXT_PROJECTION,
        },
    ),
    Layout(
        'MDETR or TubeDETR',
        ('backbone.0.', 'transformer.text_encoder.'),
        _detr(
            'backbone.0.body.',
            'transformer.text_encoder.',
            'transformer.resizer.',
        ),
    ),
    Layout(
        'STCAT',
        ('vis_encoder.0.', 'text_encoder.body.'),
        _detr(
            'vis_encoder.0.body.',
            'text_encoder.body.',
            'text_encoder.resizer.',
        ),
    ),
    Layout(
        'a detector of mmdet or a classifier of mmpretrain',
        ('backbone.',),
        _DETECTOR,
    ),
)
