"""Tiny generators of every kind; detectors are mmdet's own, shrunk."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.structures import InstanceData

from hero_mm.models import VideoFeatures
from hero_mm.models.proposals import ProposalSet

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
HEADS = ('RPNHead', 'RetinaHead', 'ATSSHead', 'FCOSHead')
PROMPTS = ('the red square moves left', 'what grows?', 'object . circle .')

# What a name of a config becomes; anything else stays. Of an untrained
# detector every box is wanted.
WIDTH = 16
CHANNELS = ('in_channels', 'out_channels', 'feat_channels')
DIMS = ('embed_dims', 'v_dim', 'l_dim')
SMALL = dict(
    fc_out_channels=WIDTH,
    feedforward_channels=WIDTH,
    embed_dim=WIDTH,
    num_heads=2,
    num_queries=12,
    num_dn_queries=4,
    num_classes=3,
    stacked_convs=1,
    num_cp=0,
    max_text_len=24,
    allowed_border=-1,
    scales=[1],
    octave_base_scale=1,
    score_thr=0.0,
    max_per_img=12,
    nms_pre=40,
)
DONE = ('backbone', 'language_model')
RESNET = {64: 4, 256: 4, 512: 8, 1024: 16, 2048: 32}
SWIN = {192: 16, 384: 32, 768: 64}


def shrink(config, widths: dict, width: int) -> None:
    """Make a model small without changing its kind, in place."""
    for name, value in list(config.items()):
        if name == 'in_channels' and isinstance(value, (list, tuple)):
            config[name] = [widths[channels] for channels in value]
        elif name in CHANNELS or (name in DIMS and value == 256):
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
            shrink(value, widths, width)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for part in value:
                shrink(part, widths, width)


def shrink_backbone(backbone) -> dict:
    """A small backbone and what its channels became."""
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


@pytest.fixture(scope='session')
def bert(tmp_path_factory) -> Path:
    """Folder of a tiny BERT with random weights and its tokenizer."""
    transformers = pytest.importorskip('transformers')
    tokenizers = pytest.importorskip('tokenizers')
    folder = tmp_path_factory.mktemp('bert')
    words = {word for text in PROMPTS for word in text.split()}
    tokens = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '.', '?', *sorted(words)]
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
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=40,
    )
    torch.manual_seed(0)
    transformers.BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope='session')
def detector_config(bert):
    """Function: the config of a tiny detector, by its usual name."""
    from mmengine.utils import get_installed_path

    configs = Path(get_installed_path('mmdet')) / '.mim/configs'

    def make(name: str) -> ConfigDict:
        model = Config.fromfile(configs / DETECTORS[name]).model
        widths = shrink_backbone(model.backbone)
        # Of the DINOs the width is written in mmdet's code.
        width = 256 if 'dn_cfg' in model else WIDTH
        for part in model:
            if part in SMALL:
                model[part] = SMALL[part]
            elif isinstance(model[part], dict) and part not in DONE:
                shrink(model[part], widths, width)
        if 'language_model' in model:
            model.language_model.update(name=str(bert), max_tokens=24)
        head = model.get('bbox_head', {})
        if head.get('type') in ('DeformableDETRHead', 'DINOHead'):
            head.embed_dims = width
        if head.get('type') in ('ATSSHead', 'FCOSHead'):
            head.norm_cfg = dict(type='GN', num_groups=4)
        return model

    return make


def _anchors(**changes) -> dict:
    return dict(
        type='AnchorGenerator', ratios=[1.0], strides=[8, 16], **changes
    )


@pytest.fixture(scope='session')
def head_config():
    """Function: the config of a tiny dense head on two levels."""

    def make(kind: str) -> dict:
        head = dict(type=f'mmdet.{kind}', in_channels=16, feat_channels=16)
        test = dict(
            nms_pre=40,
            max_per_img=20,
            min_bbox_size=0,
            score_thr=0.0,
            nms=dict(type='nms', iou_threshold=0.7),
        )
        overlap = dict(type='MaxIoUAssigner', pos_iou_thr=0.5)
        train = dict(allowed_border=-1, pos_weight=-1)
        coder = dict(type='DeltaXYWHBBoxCoder')
        if kind == 'RPNHead':
            head.update(anchor_generator=_anchors(scales=[1, 2]))
            train.update(
                assigner=dict(overlap, neg_iou_thr=0.3, min_pos_iou=0.3),
                sampler=dict(
                    type='RandomSampler',
                    num=16,
                    pos_fraction=0.5,
                    add_gt_as_proposals=False,
                ),
            )
        elif kind == 'RetinaHead':
            head.update(anchor_generator=_anchors(scales=[1, 2]))
            train.update(
                assigner=dict(overlap, neg_iou_thr=0.4, min_pos_iou=0),
                sampler=dict(type='PseudoSampler'),
            )
        elif kind == 'ATSSHead':
            head.update(anchor_generator=_anchors(scales=[2]))
            head.update(loss_bbox=dict(type='GIoULoss'))
            train.update(assigner=dict(type='ATSSAssigner', topk=4))
        elif kind == 'FCOSHead':
            head.update(strides=[8, 16], regress_ranges=((-1, 16), (16, 1e8)))
        if kind != 'RPNHead':
            head.update(num_classes=1, stacked_convs=2)
            head.update(norm_cfg=dict(type='GN', num_groups=4))
        if kind in ('RPNHead', 'RetinaHead'):
            head.update(bbox_coder=coder, loss_bbox=dict(type='L1Loss'))
        if kind == 'RetinaHead':
            head.pop('norm_cfg')
        if kind == 'RPNHead':
            head.update(
                loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True)
            )
        return dict(head, train_cfg=train, test_cfg=test)

    return make


@pytest.fixture(scope='session')
def generator_config(detector_config, head_config):
    """Function: the config of a generator, by the name of what it uses."""

    def make(name: str, **changes) -> dict:
        if name == 'file':
            return dict(type='FileProposals', **changes)
        if name in HEADS:
            return dict(
                type='DenseHeadProposals',
                head=head_config(name),
                num_levels=2,
                **changes,
            )
        return dict(
            type='DetectorProposals',
            detector=detector_config(name),
            **changes,
        )

    return make


@pytest.fixture(scope='session')
def build_proposing(build_hero, generator_config):
    """Function: a tiny HERO on proposals of a generator."""

    def build(name: str, hero: dict | None = None, **changes):
        options = dict(
            shake=0.05, max_regions=6, roi_encoder=dict(num_train=8)
        )
        options.update(hero or {})
        return build_hero(
            proposal_generator=generator_config(name, **changes), **options
        )

    return build


@pytest.fixture(scope='session')
def with_proposals():
    """Function: a clip with random proposals, as from files."""

    def add(clip: dict, number: int = 7, seed: int = 0) -> dict:
        rng = np.random.default_rng(seed)
        sample = clip['data_samples']
        height, width = sample.img_shape
        shape = (len(sample.frame_inds), number)
        low = rng.uniform(0, 0.6, (*shape, 2))
        boxes = np.concatenate(
            [low, low + rng.uniform(0.1, 0.4, low.shape)], -1
        )
        boxes *= np.array([width, height] * 2)
        sample.proposals = InstanceData(
            bboxes=torch.tensor(boxes, dtype=torch.float32),
            scores=torch.tensor(rng.uniform(0.1, 1, shape)).float(),
            valid=torch.tensor(rng.uniform(size=shape) < 0.8),
        )
        return clip

    return add


@pytest.fixture(scope='session')
def make_set():
    """Function: proposals from nested lists of boxes, clip by clip."""

    def make(clips: list, scores: list | None = None) -> ProposalSet:
        most = max(len(frame) for clip in clips for frame in clip)
        longest = max(map(len, clips))
        boxes = torch.zeros(len(clips), longest, max(most, 1), 4)
        told = torch.zeros(boxes.shape[:3])
        valid = torch.zeros(boxes.shape[:3], dtype=torch.bool)
        for b, clip in enumerate(clips):
            for t, frame in enumerate(clip):
                for k, box in enumerate(frame):
                    boxes[b, t, k] = torch.tensor(box, dtype=torch.float32)
                    told[b, t, k] = scores[b][t][k] if scores else 1.0
                    valid[b, t, k] = True
        return ProposalSet(boxes, told, valid)

    return make


@pytest.fixture(scope='session')
def constant_video(make_video):
    """Function: features of a grid that are the same everywhere."""

    def make(clips: int, frames: int, height: int, width: int, dims: int = 4):
        video: VideoFeatures = make_video(
            torch.ones(clips, frames, height, width, dims)
        )
        return video

    return make
