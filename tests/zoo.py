"""The model zoo: every backbone, neck, generator and language model.

A test matrix: few layers and channels make a model small without changing its
kind. ``tools/analysis_tools/model_zoo.py`` writes docs/model_zoo.md from it.
Detectors are whole: those of the config files that mmdet ships.
"""

import copy
import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Callable, Optional

import torch
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.registry import DefaultScope
from torch import nn
from zoo_detectors import (
    DETECTORS,
    HEADS,
    PROMPTED,
    REFUSED_DETECTORS,
    SCALES,
    WIDTH,
    small_head,
    whole_detector,
)
from zoo_language import (
    LANGUAGE_MODELS,
    REFUSED_LANGUAGE,
    save_language_model,
)

from hero_mm.apis.complexity import (
    count_encoder_flops,
    count_flops,
    count_parameters,
)
from hero_mm.apis.random_clips import WORDS, make_item
from hero_mm.registry import MODELS

# Of the variants in configs/hero, what makes a backbone of each type small.
ONES = [1] * 4
SMALL_BACKBONES: dict[str, dict] = dict(
    ConvNeXt=dict(arch=dict(depths=ONES, channels=[8, 16, 24, 32])),
    MViT=dict(
        arch=dict(
            embed_dims=16,
            num_layers=4,
            num_heads=1,
            downscale_indices=[1, 2, 3],
        )
    ),
    PyramidVisionTransformerV2=dict(embed_dims=16, num_layers=ONES),
    ResNet=dict(depth=18, base_channels=16, stem_channels=16),
    ResNet3dSlowOnly=dict(depth=18, base_channels=16),
    ResNetTSM=dict(depth=18),
    SwinTransformer=dict(embed_dims=24, depths=ONES, num_heads=ONES),
    SwinTransformer3D=dict(
        arch=dict(embed_dims=24, depths=ONES, num_heads=ONES)
    ),
    UniFormer=dict(depth=ONES, embed_dim=[16] * 4, head_dim=8),
    VisionTransformer=dict(embed_dims=48, depth=1, num_heads=3),
)


def shrink_tower(tower: Any) -> None:
    """Few layers and channels, in place; weights are not fetched.

    ``tower``: ``model.video_encoder`` of a config, or the ``motion`` in it.
    """
    backbone = tower['backbone']
    for part in (tower, backbone):
        part.pop('init_cfg', None)
    kind = backbone['type'].rpartition('.')[2]
    if kind == 'ResNet3dSlowFast':
        for path in (backbone['slow_pathway'], backbone['fast_pathway']):
            path.update(base_channels=path.get('base_channels', 64) // 4)
            path.update(depth=18)
    backbone.update(copy.deepcopy(SMALL_BACKBONES.get(kind, {})))
    if isinstance(tower.get('neck'), dict):
        # They are found.
        tower['neck'].pop('in_channels', None)
    if tower.get('motion'):
        shrink_tower(tower['motion'])


def variant_tower(config: Path) -> dict:
    """Video encoder of a variant in ``configs/hero``."""
    return Config.fromfile(str(config)).model.video_encoder.to_dict()


def _mmdet(kind: str, **arguments: Any) -> dict:
    return dict(type=f'mmdet.{kind}', **arguments)


def _mmaction(kind: str, **arguments: Any) -> dict:
    return dict(type=f'mmaction.{kind}', **arguments)


def _mmpretrain(kind: str, **arguments: Any) -> dict:
    return dict(type=f'mmpretrain.{kind}', **arguments)


LEVELS = (1, 2, 3)
# Where the width is fixed, two stages are as telling as four.
STAGES = dict(num_stages=2, out_indices=(1,), strides=(1, 2), dilations=(1, 1))
RESNET = _mmdet(
    'ResNet', depth=18, base_channels=8, stem_channels=8, out_indices=LEVELS
)
ALL_LEVELS = dict(RESNET, out_indices=(0, 1, 2, 3))
LAST = dict(RESNET, out_indices=(3,))
FPN = _mmdet('FPN', out_channels=16, num_outs=3)
SLOW = dict(
    depth=18,
    base_channels=8,
    pretrained=None,
    conv1_kernel=(1, 7, 7),
    conv1_stride_t=1,
    pool1_stride_t=1,
)
SLOW_ONLY = _mmaction('ResNet3dSlowOnly', **SLOW, lateral=False)
R2PLUS1D = _mmaction(
    'ResNet2Plus1d',
    **dict(SLOW, conv1_kernel=(3, 7, 7)),
    pretrained2d=False,
    conv_cfg=dict(type='Conv2plus1d'),
)
SWIN_3D = _mmaction(
    'SwinTransformer3D', arch=dict(embed_dims=24, depths=ONES, num_heads=ONES)
)
VIDEO_MAE = _mmaction(
    'VisionTransformer',
    embed_dims=48,
    depth=1,
    num_heads=3,
    num_frames=16,
    return_feat_map=True,
    use_mean_pooling=False,
)
SMALL_CSP = dict(deepen_factor=0.33, widen_factor=0.125)
HRNET = {
    f'stage{number}': dict(
        num_modules=1,
        num_branches=number,
        block='BASIC' if number > 1 else 'BOTTLENECK',
        num_blocks=(1,) * number,
        num_channels=(8, 16, 32, 64)[:number],
    )
    for number in (1, 2, 3, 4)
}


def _neck(neck: Any, level: int = 1, backbone: dict = RESNET) -> dict:
    return dict(backbone=backbone, neck=neck, level=level)


# A backbone alone, or the whole config of a tower.
TOWERS: dict[str, dict] = {
    # Backbones that see a frame at a time.
    'mmdet ResNeXt': _mmdet('ResNeXt', depth=50, groups=2, base_width=2),
    'mmdet Res2Net': _mmdet('Res2Net', depth=50, scales=4, base_width=4),
    'mmdet ResNeSt': _mmdet(
        'ResNeSt', depth=50, stem_channels=8, base_channels=8
    ),
    'mmdet ResNetV1d': dict(RESNET, type='mmdet.ResNetV1d'),
    'mmdet RegNet': _mmdet('RegNet', arch='regnetx_400mf'),
    'mmdet HRNet': _neck(
        _mmdet('HRFPN', out_channels=16), 2, _mmdet('HRNet', extra=HRNET)
    ),
    'mmdet MobileNetV2': _mmdet('MobileNetV2', widen_factor=0.25),
    'mmdet EfficientNet': _neck(
        FPN, 1, _mmdet('EfficientNet', arch='b0', out_indices=(3, 4, 5))
    ),
    'mmdet CSPDarknet': _mmdet('CSPDarknet', **SMALL_CSP),
    'mmdet CSPNeXt': _mmdet('CSPNeXt', **SMALL_CSP),
    'mmdet PVT': _mmdet(
        'PyramidVisionTransformer', embed_dims=16, num_layers=ONES
    ),
    'mmaction2 ResNet': _mmaction('ResNet', depth=18, **STAGES),
    'mmaction2 MobileNetV2': _mmaction('MobileNetV2', widen_factor=0.25),
    'mmpretrain ViT': _mmpretrain(
        'VisionTransformer',
        arch=dict(
            embed_dims=48, num_layers=1, num_heads=3, feedforward_channels=48
        ),
        out_type='featmap',
    ),
    'mmpretrain EfficientNet': _mmpretrain('EfficientNet', arch='b0'),
    # Backbones that see frames of one clip together.
    'mmaction2 TSM, temporal pooling': _mmaction(
        'ResNetTSM', depth=18, temporal_pool=True
    ),
    'mmaction2 MobileNetV2-TSM': _mmaction(
        'MobileNetV2TSM', widen_factor=0.25
    ),
    'mmaction2 TANet': dict(
        backbone=_mmaction('TANet', depth=50, num_segments=4, **STAGES),
        clip_len=4,
    ),
    # Backbones that see clips.
    'mmaction2 I3D': _neck(
        _mmdet('FPN', out_channels=16, num_outs=2),
        0,
        _mmaction(
            'ResNet3d',
            depth=18,
            base_channels=8,
            pretrained=None,
            conv1_stride_t=2,
            pool1_stride_t=2,
            out_indices=(2, 3),
        ),
    ),
    'mmaction2 R(2+1)D': dict(R2PLUS1D, temporal_strides=(1, 2, 2, 2)),
    'mmaction2 CSN': _mmaction(
        'ResNet3dCSN',
        depth=50,
        base_channels=8,
        pretrained=None,
        with_pool2=False,
    ),
    'mmaction2 C2D': _mmaction('C2D', depth=50, **STAGES),
    'mmaction2 X3D': _mmaction('X3D', gamma_w=0.5, gamma_b=1, gamma_d=1),
    'mmaction2 OmniResNet': _mmaction('OmniResNet', layers=ONES),
    'mmaction2 SlowOnly, windows of 8': dict(backbone=SLOW_ONLY, clip_len=8),
    'mmaction2 Video Swin, stride of 4 in time': dict(
        SWIN_3D, patch_size=(4, 4, 4)
    ),
    'mmaction2 ViT (VideoMAE), patches of 14': dict(VIDEO_MAE, patch_size=14),
    # Looks and motion.
    'mmdet ResNet + mmaction2 Video Swin': dict(
        _neck(FPN), motion=dict(backbone=SWIN_3D)
    ),
    'mmdet ResNet + mmaction2 ViT (VideoMAE)': dict(
        backbone=dict(RESNET, out_indices=(2,)),
        motion=dict(backbone=VIDEO_MAE),
    ),
    'ours + mmaction2 SlowOnly': dict(
        backbone=dict(type='ShiftConvNet', stem_channels=8, channels=(8, 16)),
        motion=dict(backbone=SLOW_ONLY),
    ),
    # Necks.
    'neck FPN, 5 levels': _neck(dict(FPN, num_outs=5), 0),
    'neck PAFPN': _neck(dict(FPN, type='mmdet.PAFPN')),
    'neck ChannelMapper': _neck(_mmdet('ChannelMapper', out_channels=16), -1),
    'necks FPN and BFP': _neck(
        [
            FPN,
            _mmdet(
                'BFP',
                in_channels=16,
                num_levels=3,
                refine_level=1,
                refine_type='conv',
            ),
        ]
    ),
    'neck NASFPN': _neck(
        _mmdet('NASFPN', out_channels=16, num_outs=5, stack_times=1),
        1,
        ALL_LEVELS,
    ),
    'neck YOLOV3Neck': _neck(
        _mmdet(
            'YOLOV3Neck',
            num_scales=3,
            # The coarsest first.
            in_channels=[64, 32, 16],
            out_channels=[32, 16, 16],
        )
    ),
    'neck YOLOXPAFPN': _neck(
        _mmdet('YOLOXPAFPN', out_channels=16, num_csp_blocks=1)
    ),
    'neck CSPNeXtPAFPN': _neck(
        _mmdet('CSPNeXtPAFPN', out_channels=16, num_csp_blocks=1)
    ),
    'neck SSH': _neck(_mmdet('SSH', num_scales=3, out_channels=[16, 16, 16])),
    'neck DilatedEncoder': _neck(
        _mmdet(
            'DilatedEncoder',
            in_channels=64,
            out_channels=16,
            block_mid_channels=8,
            num_residual_blocks=2,
            block_dilations=[2, 4],
        ),
        0,
        LAST,
    ),
}

# Each says why, and what to do.
REFUSED: dict[str, dict] = {
    'mmaction2 TimeSformer': _mmaction('TimeSformer'),
    'mmaction2 UniFormerV2': _mmaction('UniFormerV2'),
    'mmaction2 C3D': _mmaction('C3D'),
    'mmaction2 ViT (VideoMAE), pooled': dict(
        VIDEO_MAE, return_feat_map=False, use_mean_pooling=True
    ),
    'mmaction2 ViT (VideoMAE), windows of 8': dict(
        backbone=VIDEO_MAE, clip_len=8
    ),
    'mmaction2 Video Swin, windows of 5': dict(backbone=SWIN_3D, clip_len=5),
    'mmaction2 R(2+1)D, its third stage': dict(R2PLUS1D, out_indices=(2,)),
    'neck TPN': _neck(_mmaction('TPN'), -1, SLOW_ONLY),
    'mmdet FPN of other channels': _neck(dict(FPN, in_channels=[8, 16, 32])),
    'mmdet FPN, level 3 of 3': _neck(FPN, 3),
}


# The clip that small models are counted on.
FRAMES, SIZE, QUERIES = 5, (96, 64), 2
FULL_FRAMES, FULL_SIZE = 64, (224, 224)
# Detectors are whole, so that they see little of it.
FEW_FRAMES, FEW_SIZE = 2, (64, 64)
# Kind of a row -> the part that it is about, where it is no video encoder.
PARTS = dict(
    generator='proposal_generator',
    detector='proposal_generator',
    language='text_encoder',
)
OURS = dict(
    type='VideoEncoder',
    embed_dims=WIDTH,
    backbone=dict(
        type='ShiftConvNet',
        stem_channels=8,
        channels=(8, 16),
        num_blocks=(1, 1),
        out_indices=(0, 1),
        shift_div=4,
    ),
    finer_levels=(0,),
)
GENERATOR = dict(
    type='ObjectProposals',
    embed_dims=WIDTH,
    num_proposals=12,
    # Untrained, it is sure of nothing.
    min_score=0.0,
)


@dataclass(frozen=True)
class Row:
    """A row of a table."""

    kind: str
    name: str
    # Gives the parts of a small HERO that it is about; for files a folder.
    parts: Callable[[Path], dict[str, Any]]
    # Of a variant, and whether it shall be refused in words.
    config: Optional[Path] = None
    refused: bool = False


@dataclass
class Result:
    """What is found of a row."""

    # Why it does not run; whether a package lacks, or it is said in words.
    problem: Optional[str] = None
    missing: bool = False
    refused: bool = False
    trained: bool = False
    predicted: bool = False
    encoder: Any = None
    parameters: int = 0
    # Of a clip; of a generator, of all that is done once a clip.
    flops: int = 0

    def is_right_for(self, row: Row) -> bool:
        """Whether a row runs, or is refused where it shall be."""
        shall = self.refused if row.refused else self.problem is None
        return shall or self.missing


def all_rows(configs: Path) -> list[Row]:
    """Every row of the tables; ``configs`` is the folder of that name."""
    named = sorted((configs / 'hero').glob('hero_*_vidstg.py'))
    # The others name batch, frames and epochs, too.
    variants = [path for path in named if path.stem.count('_') == 2]
    assert variants, f'{configs}/hero holds no config'
    rows = [
        Row('variant', path.stem, partial(_variant, path), path)
        for path in variants
    ]
    for kind, parts, names, refused in (
        ('tower', _tower, TOWERS, ()),
        ('generator', _generator, GENERATORS, ()),
        ('detector', _detector, DETECTORS, REFUSED_DETECTORS),
        ('language', _language, LANGUAGE_MODELS, REFUSED_LANGUAGE),
        ('refused', _tower, REFUSED, REFUSED),
    ):
        rows += [
            Row(kind, name, partial(parts, name), refused=name in refused)
            for name in names
        ]
    return rows


GENERATORS: dict[str, dict] = {
    f'head {kind}': dict(
        type='DenseHeadProposals', head=small_head(kind), num_levels=2
    )
    for kind in HEADS
}
GENERATORS |= {'files': dict(type='FileProposals'), "HERO's own": GENERATOR}


def _generator(name: str, folder: Path) -> dict[str, Any]:
    return dict(proposal_generator=copy.deepcopy(GENERATORS[name]))


def _variant(path: Path, folder: Path) -> dict[str, Any]:
    tower = variant_tower(path)
    shrink_tower(tower)
    return dict(video_encoder=dict(tower, embed_dims=WIDTH))


def _tower(name: str, folder: Path) -> dict[str, Any]:
    tower = {**TOWERS, **REFUSED}[name]
    whole = tower if 'backbone' in tower else dict(backbone=tower)
    small = dict(whole, type='VideoEncoder', embed_dims=WIDTH)
    return dict(video_encoder=small)


def _detector(name: str, folder: Path) -> dict[str, Any]:
    bert = None
    if name in PROMPTED:
        size = dict(
            hidden_size=768,
            num_attention_heads=12,
            max_position_embeddings=256,
        )
        bert = save_language_model(folder, 'BERT', WORDS, **size)
    generator = dict(
        type='DetectorProposals',
        detector=whole_detector(name, bert),
        scale=SCALES.get(name, 1.0),
    )
    return dict(proposal_generator=generator)


def _language(kind: str, folder: Path) -> dict[str, Any]:
    save_language_model(folder, kind, WORDS)
    name = str(folder)
    encoder = dict(type='HFTextEncoder', embed_dims=WIDTH, name=name)
    return dict(text_encoder=encoder)


def small_hero(**parts: Any) -> dict:
    """Config of a small HERO, with some parts in place of its own."""
    config = dict(
        type='HERO',
        video_encoder=OURS,
        text_encoder=dict(
            type='WordTextEncoder',
            embed_dims=WIDTH,
            vocabulary=[WORDS],
            num_layers=1,
            num_heads=2,
        ),
        proposal_generator=GENERATOR,
        max_regions=6,
        linker=dict(type='RegionLinker', num_slots=6),
        region_encoder=dict(
            type='RegionEncoder',
            embed_dims=WIDTH,
            read_dims=8,
            num_heads=2,
            temporal_window=2,
        ),
        action_head=dict(
            type='ContrastiveActionHead', embed_dims=WIDTH, common_dims=8
        ),
        retrieval=dict(type='FrameRetrieval'),
        neck=dict(
            type='HierarchicalReasoningNeck',
            embed_dims=WIDTH,
            num_heads=2,
            num_layers=1,
            temporal_window=2,
        ),
        tube_head=dict(type='TubeHead', embed_dims=WIDTH),
        data_preprocessor=dict(
            type='GroundingDataPreprocessor', pad_size_divisor=8
        ),
    )
    return {**config, **parts}


def try_row(row: Row) -> Result:
    """Build a model, train it for a step, ask it, count it."""
    result = Result()
    scope = DefaultScope.overwrite_default_scope('hero_mm')
    with tempfile.TemporaryDirectory() as folder, scope, _one_thread():
        try:
            torch.manual_seed(0)
            model = MODELS.build(small_hero(**row.parts(Path(folder))))
            model.init_weights()
            _try_model(row, model, result)
        except Exception as error:  # A row that fails is a row of the table.
            said = str(error).strip().partition('\n')[0]
            result.problem = said.replace(folder, 'FOLDER')
            cause = error.__cause__ or error
            result.missing = isinstance(cause, ModuleNotFoundError)
            result.refused = isinstance(error, ValueError)
            if not result.refused:
                result.problem = f'{type(error).__name__}: {result.problem}'
    return result


@contextmanager
def _one_thread() -> Iterator[None]:
    """With more, oneDNN 3.12 of torch 2.13 writes past its memory.

    It does so in the backward pass of a 1 x 1 convolution with stride 2 of 8
    channels, which some of these small networks have.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _try_model(row: Row, model: Any, result: Result) -> None:
    """Train, ask and count an initialised model."""
    whole = row.kind == 'detector'
    items = [
        make_item(FEW_FRAMES, FEW_SIZE, QUERIES, 0)
        if whole
        else make_item(FRAMES, SIZE, QUERIES, 0),
        make_item(1 if whole else 3, (70, 61), 1, 1),
    ]
    model.train()
    # As the runner does; TOOD and YOLOX ask for it.
    hub = MessageHub.get_current_instance()
    hub.update_info_dict(dict(epoch=0, iter=0))
    data = model.data_preprocessor(_batch(items), True)
    total, _ = model.parse_losses(model(**data, mode='loss'))
    total.backward()
    # As the schedules do; some networks of random weights explode.
    nn.utils.clip_grad_norm_(model.parameters(), 0.1)
    torch.optim.SGD(model.parameters(), lr=1e-3).step()
    if not math.isfinite(total.item()):
        raise ValueError(f'the loss is {total.item()}')
    result.trained = True
    model.eval()
    with torch.no_grad():
        data = model.data_preprocessor(_batch(items), False)
        samples = model(**data, mode='predict')
    for sample in samples:
        if not sample.pred_queries.bboxes.isfinite().all():
            raise ValueError('a predicted box is not finite')
    result.predicted = True
    part = PARTS.get(row.kind, 'video_encoder')
    result.parameters, _ = count_parameters(model).get(part, (0, 0))
    result.encoder = model.video_encoder
    if row.kind in ('detector', 'language'):
        return
    flops = count_flops(model, items[:1])
    result.flops = flops['backbone'] + flops['pyramid']
    if row.kind == 'generator':
        result.flops += flops['rest of the clip']


def _batch(items: list[dict]) -> dict[str, list]:
    """Collated; answers are written into copies of the samples."""
    return dict(
        inputs=[item['inputs'] for item in items],
        data_samples=[item['data_samples'].clone() for item in items],
    )


def count_variant(config: Path) -> tuple[int, int]:
    """Parameters and operations of the whole video encoder of a variant."""
    with DefaultScope.overwrite_default_scope('hero_mm'):
        encoder = MODELS.build(variant_tower(config))
    parameters = sum(p.numel() for p in encoder.parameters())
    return parameters, count_encoder_flops(encoder, FULL_FRAMES, FULL_SIZE)
