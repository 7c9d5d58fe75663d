"""The model zoo: every backbone, neck, generator and language model.

A test matrix: few layers and channels make a model small without changing its
kind. ``tools/analysis_tools/model_zoo.py`` writes docs/model_zoo.md from it.
Detectors are whole: those of the config files that mmdet ships.
"""

import copy
import math
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Callable, Optional, Union

import torch
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.registry import DefaultScope
from torch import nn
from zoo_detectors import (
    DETECTORS,
    HEADS,
    REFUSED_DETECTORS,
    SCALES,
    WIDTH,
    is_prompted,
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
from hero_mm.compat import package_folder
from hero_mm.registry import MODELS

# Of the variants in configs/hero, what makes a backbone of each type small.
SMALL_BACKBONES: dict[str, dict] = dict(
    ConvNeXt=dict(arch=dict(depths=[1] * 4, channels=[8, 16, 24, 32])),
    MViT=dict(
        arch=dict(
            embed_dims=16,
            num_layers=4,
            num_heads=1,
            downscale_indices=[1, 2, 3],
        )
    ),
    PyramidVisionTransformerV2=dict(embed_dims=16, num_layers=[1] * 4),
    ResNet=dict(depth=18, base_channels=16, stem_channels=16),
    ResNet3dSlowOnly=dict(depth=18, base_channels=16),
    ResNetTSM=dict(depth=18),
    SwinTransformer=dict(embed_dims=24, depths=[1] * 4, num_heads=[1] * 4),
    SwinTransformer3D=dict(
        arch=dict(embed_dims=24, depths=[1] * 4, num_heads=[1] * 4)
    ),
    UniFormer=dict(depth=[1] * 4, embed_dim=[16] * 4, head_dim=8),
    VisionTransformer=dict(embed_dims=48, depth=1, num_heads=3),
)


def shrink_tower(tower: Any) -> None:
    """Few layers and channels, in place; weights are not fetched.

    Args:
        tower (dict): ``model.video_encoder`` of a config, or the ``motion``
            in it.
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
    tower.pop('in_channels', None)
    if tower.get('motion'):
        shrink_tower(tower['motion'])


def variant_configs(folder: Union[str, Path]) -> list[Path]:
    """The variants in ``configs/hero``: the large config, other backbones.

    Args:
        folder (str | Path): The folder ``configs``.

    Raises:
        FileNotFoundError: When there are none.
    """
    named = sorted((Path(folder) / 'hero').glob('hero_*_vidstg.py'))
    # The others name batch, frames and epochs, too.
    found = [path for path in named if path.stem.count('_') == 2]
    if not found:
        raise FileNotFoundError(f'{folder}/hero holds no config')
    return found


def variant_tower(config: Union[str, Path]) -> dict:
    """Video encoder of a variant.

    Args:
        config (str | Path): The file.
    """
    encoder = Config.fromfile(str(config)).model.video_encoder
    return encoder.to_dict()


def needed_packages(config: Any) -> Iterator[str]:
    """Packages of the prefixes in a config.

    Args:
        config (Any): A dict of dicts and lists.
    """
    if isinstance(config, Mapping):
        kind = config.get('type')
        if isinstance(kind, str) and '.' in kind:
            yield kind.partition('.')[0]
        config = list(config.values())
    if isinstance(config, (list, tuple)):
        for value in config:
            yield from needed_packages(value)


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
SWIN_3D = _mmaction(
    'SwinTransformer3D',
    arch=dict(embed_dims=24, depths=[1] * 4, num_heads=[1] * 4),
)
VIDEO_MAE = _mmaction(
    'VisionTransformer',
    embed_dims=48,
    depth=1,
    num_heads=3,
    return_feat_map=True,
    use_mean_pooling=False,
)
DETECTO_RS: dict[str, Any] = dict(
    depth=50, base_channels=8, stem_channels=8, conv_cfg=dict(type='ConvAWS')
)
BRANCHES = [(8,), (8, 16), (8, 16, 32), (8, 16, 32, 64)]

TOWERS: dict[str, dict] = {
    # Backbones that see a frame at a time.
    'mmdet ResNeXt': dict(
        backbone=_mmdet('ResNeXt', depth=50, groups=2, base_width=2)
    ),
    'mmdet Res2Net': dict(
        backbone=_mmdet('Res2Net', depth=50, scales=4, base_width=4)
    ),
    'mmdet ResNeSt': dict(
        backbone=_mmdet('ResNeSt', depth=50, stem_channels=8, base_channels=8)
    ),
    'mmdet ResNetV1d': dict(backbone=dict(RESNET, type='mmdet.ResNetV1d')),
    'mmdet RegNet': dict(backbone=_mmdet('RegNet', arch='regnetx_400mf')),
    'mmdet HRNet': dict(
        backbone=_mmdet(
            'HRNet',
            extra={
                f'stage{len(widths)}': dict(
                    num_modules=1,
                    num_branches=len(widths),
                    block='BASIC' if len(widths) > 1 else 'BOTTLENECK',
                    num_blocks=(1,) * len(widths),
                    num_channels=widths,
                )
                for widths in BRANCHES
            },
        ),
        neck=_mmdet('HRFPN', out_channels=16),
        level=2,
    ),
    'mmdet MobileNetV2': dict(
        backbone=_mmdet('MobileNetV2', widen_factor=0.25)
    ),
    'mmdet EfficientNet': dict(
        backbone=_mmdet('EfficientNet', arch='b0', out_indices=(3, 4, 5)),
        neck=FPN,
        level=1,
    ),
    'mmdet CSPDarknet': dict(
        backbone=_mmdet('CSPDarknet', deepen_factor=0.33, widen_factor=0.125)
    ),
    'mmdet CSPNeXt': dict(
        backbone=_mmdet('CSPNeXt', deepen_factor=0.33, widen_factor=0.125)
    ),
    'mmdet DetectoRS_ResNet': dict(
        backbone=_mmdet('DetectoRS_ResNet', **DETECTO_RS, out_indices=LEVELS),
        neck=FPN,
        level=1,
    ),
    'mmdet HourglassNet': dict(
        backbone=_mmdet(
            'HourglassNet',
            downsample_times=2,
            num_stacks=1,
            stage_channels=(16, 16, 24),
            stage_blocks=(1, 1, 1),
            feat_channel=16,
        )
    ),
    'mmdet PVT': dict(
        backbone=_mmdet(
            'PyramidVisionTransformer', embed_dims=16, num_layers=[1] * 4
        )
    ),
    'mmdet SSDVGG': dict(
        backbone=_mmdet(
            'SSDVGG',
            depth=11,
            with_last_pool=False,
            ceil_mode=True,
            out_indices=(4,),
            out_feature_indices=(14,),
        )
    ),
    'mmaction2 ResNet': dict(backbone=_mmaction('ResNet', depth=18, **STAGES)),
    'mmaction2 MobileNetV2': dict(
        backbone=_mmaction('MobileNetV2', widen_factor=0.25)
    ),
    'mmpretrain ViT': dict(
        backbone=_mmpretrain(
            'VisionTransformer',
            arch=dict(
                embed_dims=48,
                num_layers=1,
                num_heads=3,
                feedforward_channels=48,
            ),
            out_type='featmap',
        )
    ),
    'mmpretrain EfficientNet': dict(
        backbone=_mmpretrain('EfficientNet', arch='b0')
    ),
    # Backbones that see frames of one clip together.
    'mmaction2 TSM, temporal pooling': dict(
        backbone=_mmaction('ResNetTSM', depth=18, temporal_pool=True)
    ),
    'mmaction2 MobileNetV2-TSM': dict(
        backbone=_mmaction('MobileNetV2TSM', widen_factor=0.25)
    ),
    'mmaction2 TANet': dict(
        backbone=_mmaction('TANet', depth=50, num_segments=4, **STAGES),
        clip_len=4,
    ),
    # Backbones that see clips.
    'mmaction2 I3D': dict(
        backbone=_mmaction(
            'ResNet3d',
            depth=18,
            base_channels=8,
            pretrained=None,
            conv1_stride_t=2,
            pool1_stride_t=2,
            out_indices=(2, 3),
        ),
        neck=_mmdet('FPN', out_channels=16, num_outs=2),
        level=0,
    ),
    'mmaction2 R(2+1)D': dict(
        backbone=_mmaction(
            'ResNet2Plus1d',
            **dict(SLOW, conv1_kernel=(3, 7, 7)),
            pretrained2d=False,
            conv_cfg=dict(type='Conv2plus1d'),
            temporal_strides=(1, 2, 2, 2),
        )
    ),
    'mmaction2 CSN': dict(
        backbone=_mmaction(
            'ResNet3dCSN',
            depth=50,
            base_channels=8,
            pretrained=None,
            with_pool2=False,
        )
    ),
    'mmaction2 C2D': dict(backbone=_mmaction('C2D', depth=50, **STAGES)),
    'mmaction2 X3D': dict(
        backbone=_mmaction('X3D', gamma_w=0.5, gamma_b=1, gamma_d=1)
    ),
    'mmaction2 OmniResNet': dict(
        backbone=_mmaction('OmniResNet', layers=[1] * 4)
    ),
    'mmaction2 SlowOnly, windows of 8': dict(backbone=SLOW_ONLY, clip_len=8),
    'mmaction2 Video Swin, stride of 4 in time': dict(
        backbone=dict(SWIN_3D, patch_size=(4, 4, 4))
    ),
    'mmaction2 ViT (VideoMAE), patches of 14': dict(
        backbone=dict(VIDEO_MAE, patch_size=14)
    ),
    # Looks and motion.
    'mmdet ResNet + mmaction2 Video Swin': dict(
        backbone=RESNET, neck=FPN, level=1, motion=dict(backbone=SWIN_3D)
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
    'neck FPN, 5 levels': dict(
        backbone=RESNET, neck=dict(FPN, num_outs=5), level=0
    ),
    'neck PAFPN': dict(
        backbone=RESNET, neck=dict(FPN, type='mmdet.PAFPN'), level=1
    ),
    'neck ChannelMapper': dict(
        backbone=RESNET, neck=_mmdet('ChannelMapper', out_channels=16)
    ),
    'necks FPN and BFP': dict(
        backbone=RESNET,
        neck=[
            FPN,
            _mmdet(
                'BFP',
                in_channels=16,
                num_levels=3,
                refine_level=1,
                refine_type='conv',
            ),
        ],
        level=1,
    ),
    'neck NASFPN': dict(
        backbone=ALL_LEVELS,
        neck=_mmdet('NASFPN', out_channels=16, num_outs=5, stack_times=1),
        level=1,
    ),
    'neck NASFCOS_FPN': dict(
        backbone=ALL_LEVELS,
        neck=_mmdet('NASFCOS_FPN', out_channels=16, num_outs=3, start_level=1),
        level=1,
    ),
    'neck FPN_DropBlock': dict(
        backbone=RESNET,
        neck=dict(
            FPN,
            type='mmdet.FPN_DropBlock',
            plugin=dict(type='DropBlock', drop_prob=0.3, block_size=3),
        ),
        level=1,
    ),
    'neck YOLOV3Neck': dict(
        backbone=RESNET,
        neck=_mmdet(
            'YOLOV3Neck',
            num_scales=3,
            # The coarsest first.
            in_channels=[64, 32, 16],
            out_channels=[32, 16, 16],
        ),
        level=1,
    ),
    'neck YOLOXPAFPN': dict(
        backbone=RESNET,
        neck=_mmdet('YOLOXPAFPN', out_channels=16, num_csp_blocks=1),
        level=1,
    ),
    'neck CSPNeXtPAFPN': dict(
        backbone=RESNET,
        neck=_mmdet('CSPNeXtPAFPN', out_channels=16, num_csp_blocks=1),
        level=1,
    ),
    'neck SSH': dict(
        backbone=RESNET,
        neck=_mmdet('SSH', num_scales=3, out_channels=[16, 16, 16]),
        level=1,
    ),
    'neck SSDNeck': dict(
        backbone=dict(RESNET, out_indices=(1, 2)),
        neck=_mmdet(
            'SSDNeck',
            in_channels=(16, 32),
            out_channels=(16, 32, 16),
            level_strides=(2,),
            level_paddings=(1,),
        ),
        level=1,
    ),
    'neck DilatedEncoder': dict(
        backbone=LAST,
        neck=_mmdet(
            'DilatedEncoder',
            in_channels=64,
            out_channels=16,
            block_mid_channels=8,
            num_residual_blocks=2,
            block_dilations=[2, 4],
        ),
    ),
    'neck CTResNetNeck': dict(
        backbone=LAST,
        neck=_mmdet(
            'CTResNetNeck',
            in_channels=64,
            num_deconv_filters=(32, 16),
            num_deconv_kernels=(4, 4),
            use_dcn=False,
        ),
    ),
}

# Each says why, and what to do.
REFUSED: dict[str, dict] = {
    'mmaction2 TimeSformer': dict(
        backbone=_mmaction(
            'TimeSformer', num_frames=8, img_size=64, patch_size=16
        )
    ),
    'mmaction2 UniFormerV2': dict(backbone=_mmaction('UniFormerV2')),
    'mmaction2 C3D': dict(backbone=_mmaction('C3D')),
    'mmaction2 ViT (VideoMAE), pooled': dict(
        backbone=dict(VIDEO_MAE, return_feat_map=False, use_mean_pooling=True)
    ),
    'mmaction2 ViT (VideoMAE), windows of 8': dict(
        backbone=VIDEO_MAE, clip_len=8
    ),
    'mmaction2 Video Swin, windows of 5': dict(backbone=SWIN_3D, clip_len=5),
    'mmdet TridentResNet': dict(
        backbone=_mmdet(
            'TridentResNet',
            depth=50,
            base_channels=4,
            stem_channels=4,
            num_stages=3,
            strides=(1, 2, 2),
            dilations=(1, 1, 1),
            trident_dilations=(1, 2, 3),
            out_indices=(2,),
            test_branch_idx=1,
            num_branch=3,
        )
    ),
    'mmaction2 R(2+1)D, its third stage': dict(
        backbone=_mmaction(
            'ResNet2Plus1d',
            **dict(SLOW, conv1_kernel=(3, 7, 7)),
            pretrained2d=False,
            conv_cfg=dict(type='Conv2plus1d'),
            out_indices=(2,),
        )
    ),
    'neck TPN': dict(backbone=SLOW_ONLY, neck=_mmaction('TPN')),
    'mmdet FPN of other channels': dict(
        backbone=RESNET, neck=dict(FPN, in_channels=[8, 16, 32]), level=1
    ),
    'mmdet FPN, level 3 of 3': dict(backbone=RESNET, neck=FPN, level=3),
}


# The clip that small models are counted on.
FRAMES, SIZE, QUERIES = 5, (96, 64), 2
FULL_FRAMES, FULL_SIZE = 64, (224, 224)
# Detectors are whole, so that they see little of it.
FEW_FRAMES, FEW_SIZE = 2, (64, 64)
KINDS = ('variant', 'tower', 'generator', 'detector', 'language', 'refused')
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
    """A row of the table.

    Attributes:
        kind (str): One of :data:`KINDS`.
        name (str): What the row is called.
        parts (Callable): Gives the parts of a small :class:`HERO` that the
            row is about, by name. Called with a folder for files.
        config (Path, optional): The whole config of a variant.
        needs (tuple[str, ...]): Packages that the parts do not name.
        frozen (Callable, optional): As ``parts``, without what cannot be
            trained.
        refused (bool): Whether it shall be refused in words.
    """

    kind: str
    name: str
    parts: Callable[[Path], dict[str, Any]]
    config: Optional[Path] = None
    needs: tuple[str, ...] = ()
    frozen: Optional[Callable[[Path], dict[str, Any]]] = None
    refused: bool = False


@dataclass
class Result:
    """What is found of a row.

    Attributes:
        problem (str, optional): Why it does not run; None where it does.
        missing (bool): Whether the problem is a package that is not
            installed.
        refused (bool): Whether the problem is told in words.
        untaught (str, optional): Why its own weights cannot be trained.
        trained (bool): Whether a training step was done.
        predicted (bool): Whether it answered.
        encoder (nn.Module, optional): The small video encoder.
        parameters (int): Of what the row is about.
        flops (int): Of the video encoder for a clip; of a generator, of all
            that is done once a clip; of others none are counted.
    """

    problem: Optional[str] = None
    missing: bool = False
    refused: bool = False
    untaught: Optional[str] = None
    trained: bool = False
    predicted: bool = False
    encoder: Any = None
    parameters: int = 0
    flops: int = 0


def is_as_it_should(row: Row, result: Result) -> bool:
    """Whether a row runs, or is refused where it shall be.

    Args:
        row (Row): What was tried.
        result (Result): What was found.
    """
    if result.missing:
        return True
    return result.refused if row.refused else result.problem is None


def all_rows(configs: Union[str, Path]) -> list[Row]:
    """Every row of the table.

    Args:
        configs (str | Path): The folder ``configs``.
    """
    rows = [
        Row('variant', path.stem, partial(_variant, path), path)
        for path in variant_configs(configs)
    ]
    rows += [
        Row('tower', name, partial(_tower, tower))
        for name, tower in TOWERS.items()
    ]
    rows += _generators()
    rows += [
        Row(
            'language',
            name,
            partial(_language, name),
            needs=('transformers',),
            refused=name in REFUSED_LANGUAGE,
        )
        for name in LANGUAGE_MODELS
    ]
    rows += [
        Row('refused', name, partial(_tower, tower), refused=True)
        for name, tower in REFUSED.items()
    ]
    return rows


def _generators() -> Iterator[Row]:
    needs = ('mmcv', 'mmdet')
    for kind in HEADS:
        head = partial(_head, kind)
        yield Row('generator', f'head {kind}', head, needs=needs)
    yield Row('generator', 'files', _files)
    yield Row('generator', "HERO's own", _own)
    for name in DETECTORS:
        more = ('transformers',) if is_prompted(name) else ()
        more += ('torchvision',) if name == 'CrowdDet' else ()
        yield Row(
            'detector',
            name,
            partial(_detector, name, False),
            needs=(*needs, *more),
            frozen=partial(_detector, name, True),
            refused=name in REFUSED_DETECTORS,
        )


def _files(folder: Path) -> dict[str, Any]:
    return dict(proposal_generator=dict(type='FileProposals'))


def _own(folder: Path) -> dict[str, Any]:
    return dict(proposal_generator=GENERATOR)


def _variant(path: Path, folder: Path) -> dict[str, Any]:
    tower = variant_tower(path)
    shrink_tower(tower)
    return _tower(tower, folder)


def _tower(tower: dict, folder: Path) -> dict[str, Any]:
    small = dict(tower, type='VideoEncoder', embed_dims=WIDTH)
    return dict(video_encoder=small)


def _head(kind: str, folder: Path) -> dict[str, Any]:
    return dict(
        proposal_generator=dict(
            type='DenseHeadProposals', head=small_head(kind), num_levels=2
        )
    )


def _detector(name: str, frozen: bool, folder: Path) -> dict[str, Any]:
    prompt, bert = None, None
    if is_prompted(name):
        size = dict(
            hidden_size=768,
            num_attention_heads=12,
            max_position_embeddings=256,
        )
        bert = save_language_model(folder, 'BERT', WORDS, **size)
        prompt = None if frozen else WORDS
    return dict(
        proposal_generator=dict(
            type='DetectorProposals',
            detector=whole_detector(name, bert),
            frozen=frozen,
            text=prompt,
            scale=SCALES.get(name, 1.0),
        )
    )


def _language(kind: str, folder: Path) -> dict[str, Any]:
    save_language_model(folder, kind, WORDS)
    return dict(
        text_encoder=dict(
            type='HFTextEncoder', embed_dims=WIDTH, name=str(folder)
        )
    )


def small_hero(**parts: Any) -> dict:
    """Config of a small HERO.

    Args:
        **parts: Of it, in place of its own.
    """
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
    """Build a model, train it for a step, ask it, count it.

    Args:
        row (Row): What to try.

    Returns:
        Result: Errors are caught and reported.
    """
    result = _try_parts(row, row.parts)
    if row.frozen is None or not result.refused:
        return result
    frozen = _try_parts(row, row.frozen)
    frozen.untaught = result.problem
    return frozen


def _try_parts(
    row: Row, make_parts: Callable[[Path], dict[str, Any]]
) -> Result:
    result = Result()
    with tempfile.TemporaryDirectory() as folder:
        try:
            missing = _missing(row.needs)
            parts = {} if missing else make_parts(Path(folder))
            missing = missing or _missing(needed_packages(parts))
            if missing:
                result.problem = f'{", ".join(missing)} not installed'
                result.missing = True
                return result
            scope = DefaultScope.overwrite_default_scope('hero_mm')
            with scope, _one_thread():
                torch.manual_seed(0)
                model = MODELS.build(small_hero(**parts))
                model.init_weights()
                _try_model(row, model, result)
        except Exception as error:  # A row that fails is a row of the table.
            said = str(error).strip().partition('\n')[0]
            said = said.replace(folder, 'FOLDER')
            result.refused = isinstance(error, ValueError)
            if not result.refused:
                said = f'{type(error).__name__}: {said}'
            result.problem = said
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


def _missing(packages: Iterable[str]) -> list[str]:
    return sorted({one for one in packages if package_folder(one) is None})


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
    """Count the whole video encoder of a variant, of random weights.

    Args:
        config (Path): The file.

    Returns:
        tuple[int, int]: Parameters, and operations for a clip of
        :data:`FULL_FRAMES` frames of :data:`FULL_SIZE`.
    """
    with DefaultScope.overwrite_default_scope('hero_mm'):
        encoder = MODELS.build(variant_tower(config))
    parameters = sum(p.numel() for p in encoder.parameters())
    return parameters, count_encoder_flops(encoder, FULL_FRAMES, FULL_SIZE)
