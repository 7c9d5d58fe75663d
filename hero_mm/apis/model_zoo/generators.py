"""Small proposal generators: heads and detectors of mmdet, shrunk.

Detectors are those of the config files that mmdet ships, so that what runs
here runs with the whole of them.
"""

import copy
from pathlib import Path
from typing import Any, Optional

import torch
from mmengine.config import Config
from mmengine.utils import get_installed_path

DETECTORS = {
    'Faster R-CNN': 'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
    'Cascade R-CNN': 'cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py',
    'RetinaNet': 'retinanet/retinanet_r50_fpn_1x_coco.py',
    'ATSS': 'atss/atss_r50_fpn_1x_coco.py',
    'FCOS': 'fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py',
    'DETR': 'detr/detr_r50_8xb2-150e_coco.py',
    'Deformable DETR': 'deformable_detr/deformable-detr_r50_16xb2-50e_coco.py',
    'DINO': 'dino/dino-4scale_r50_8xb2-12e_coco.py',
    'Grounding DINO': (
        'mm_grounding_dino/grounding_dino_swin-t_pretrain_obj365.py'
    ),
}
WIDTH = 16
# What a name in a config becomes; anything else stays. Of an untrained
# detector every box is wanted.
SMALL: dict[str, Any] = dict(
    allowed_border=-1,
    embed_dim=WIDTH,
    fc_out_channels=WIDTH,
    feedforward_channels=WIDTH,
    max_per_img=12,
    max_text_len=24,
    nms_pre=40,
    num_classes=3,
    num_cp=0,
    num_dn_queries=4,
    num_heads=2,
    num_queries=12,
    octave_base_scale=1,
    scales=[1],
    score_thr=0.0,
    stacked_convs=1,
)
GROUPS = dict(type='GN', num_groups=4)
RESNET = {64: 4, 256: 4, 512: 8, 1024: 16, 2048: 32}
SWIN = {192: 16, 384: 32, 768: 64}


def small_detector(name: str, language_model: Optional[Path] = None) -> dict:
    """Config of a small detector.

    Args:
        name (str): One of :data:`DETECTORS`.
        language_model (Path, optional): Folder of a small BERT, for those
            that are prompted; see :func:`save_small_bert`.

    Raises:
        FileNotFoundError: mmdet came without its configs.
    """
    configs = Path(get_installed_path('mmdet')) / '.mim/configs'
    model = Config.fromfile(configs / DETECTORS[name]).model
    widths = _shrink_backbone(model.backbone)
    # Of the DINOs the width is written in mmdet's code.
    width = 256 if 'dn_cfg' in model else WIDTH
    for part in model:
        if part in SMALL:
            model[part] = SMALL[part]
        elif isinstance(model[part], dict) and part not in (
            'backbone',
            'language_model',
        ):
            _shrink(model[part], widths, width)
    if 'language_model' in model:
        model.language_model.update(name=str(language_model), max_tokens=24)
    head = model.get('bbox_head', {})
    if head.get('type') in ('DeformableDETRHead', 'DINOHead'):
        head.embed_dims = width
    if head.get('type') in ('ATSSHead', 'FCOSHead'):
        head.norm_cfg = GROUPS
    return model.to_dict()


def _shrink_backbone(backbone: Any) -> dict[int, int]:
    """A small backbone, in place, and what its channels became."""
    backbone.init_cfg = None
    if backbone.type == 'SwinTransformer':
        backbone.update(
            embed_dims=8,
            depths=[1] * 4,
            num_heads=[1] * 4,
            window_size=4,
            with_cp=False,
            convert_weights=False,
        )
        return SWIN
    backbone.update(depth=18, base_channels=4)
    return RESNET


def _shrink(config: Any, widths: dict[int, int], width: int) -> None:
    """Make a part small without changing its kind, in place."""
    for name, value in list(config.items()):
        if name == 'in_channels' and isinstance(value, (list, tuple)):
            config[name] = [widths[channels] for channels in value]
        elif name in ('in_channels', 'out_channels', 'feat_channels') or (
            name in ('embed_dims', 'v_dim', 'l_dim') and value == 256
        ):
            config[name] = width
        elif name == 'num_layers':
            config[name] = min(value, 2)
        elif name == 'norm_cfg' and value and value.type == 'GN':
            value.num_groups = 4
        elif name == 'num_feats':
            config[name] = width // 2
        elif name in SMALL:
            config[name] = SMALL[name]
        elif isinstance(value, dict):
            _shrink(value, widths, width)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for part in value:
                _shrink(part, widths, width)


def save_small_bert(folder: Path, words: str) -> Path:
    """Save a small BERT with random weights, and its tokenizer.

    Args:
        folder (Path): Where to.
        words (str): Those that the tokenizer shall know.

    Returns:
        Path: The folder.
    """
    import tokenizers
    import transformers

    special = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '.', '?']
    tokens = [*special, *sorted(set(words.split()))]
    tokenizer = tokenizers.Tokenizer(
        tokenizers.models.WordLevel(
            {word: place for place, word in enumerate(tokens)}, '[UNK]'
        )
    )
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = tokenizers.processors.BertProcessing(
        ('[SEP]', 3), ('[CLS]', 2)
    )
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token='[PAD]',
        unk_token='[UNK]',
        cls_token='[CLS]',
        sep_token='[SEP]',
        model_input_names=['input_ids', 'token_type_ids', 'attention_mask'],
    ).save_pretrained(folder)
    config = transformers.BertConfig(
        vocab_size=len(tokens),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=40,
    )
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        transformers.BertModel(config).save_pretrained(folder)
    return folder


def _anchors(**changes: Any) -> dict:
    return dict(
        type='AnchorGenerator', ratios=[1.0], strides=[8, 16], **changes
    )


_OVERLAP = dict(type='MaxIoUAssigner', pos_iou_thr=0.5)
_CODER = dict(
    bbox_coder=dict(type='DeltaXYWHBBoxCoder'), loss_bbox=dict(type='L1Loss')
)
# Kind of a head -> its own arguments, and how boxes are given to it.
HEADS: dict[str, tuple[dict, dict]] = {
    'RPNHead': (
        dict(
            anchor_generator=_anchors(scales=[1, 2]),
            loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True),
            **_CODER,
        ),
        dict(
            assigner=dict(_OVERLAP, neg_iou_thr=0.3, min_pos_iou=0.3),
            sampler=dict(
                type='RandomSampler',
                num=16,
                pos_fraction=0.5,
                add_gt_as_proposals=False,
            ),
        ),
    ),
    'RetinaHead': (
        dict(
            anchor_generator=_anchors(scales=[1, 2]),
            num_classes=1,
            stacked_convs=1,
            **_CODER,
        ),
        dict(
            assigner=dict(_OVERLAP, neg_iou_thr=0.4, min_pos_iou=0),
            sampler=dict(type='PseudoSampler'),
        ),
    ),
    'ATSSHead': (
        dict(
            anchor_generator=_anchors(scales=[2]),
            num_classes=1,
            stacked_convs=1,
            norm_cfg=GROUPS,
            loss_bbox=dict(type='GIoULoss'),
        ),
        dict(assigner=dict(type='ATSSAssigner', topk=4)),
    ),
    'FCOSHead': (
        dict(
            strides=[8, 16],
            regress_ranges=((-1, 16), (16, 1e8)),
            num_classes=1,
            stacked_convs=1,
            norm_cfg=GROUPS,
        ),
        {},
    ),
}


def small_head(kind: str) -> dict:
    """Config of a small dense head on two levels, of strides 8 and 16.

    Args:
        kind (str): One of :data:`HEADS`.
    """
    # Who gets it may change it.
    own, train = copy.deepcopy(HEADS[kind])
    return dict(
        type=f'mmdet.{kind}',
        in_channels=WIDTH,
        feat_channels=WIDTH,
        **own,
        train_cfg=dict(allowed_border=-1, pos_weight=-1, **train),
        test_cfg=dict(
            nms_pre=40,
            max_per_img=12,
            min_bbox_size=0,
            score_thr=0.0,
            nms=dict(type='nms', iou_threshold=0.7),
        ),
    )
