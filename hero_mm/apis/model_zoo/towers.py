"""Small video encoders: backbones and necks of the family, shrunk.

Few layers and channels make a model small without changing its kind.
"""

import copy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Union

from mmengine.config import Config

# Of the variants in configs/hero, what makes a backbone of each type small.
SMALL: dict[str, dict] = dict(
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
    backbone.update(copy.deepcopy(SMALL.get(kind, {})))
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
DETECTORS: dict[str, Any] = dict(
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
        backbone=_mmdet('DetectoRS_ResNet', **DETECTORS, out_indices=LEVELS),
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
        backbone=_mmaction('TANet', depth=50, num_segments=4, **STAGES)
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
            _mmdet('BFP', num_levels=3, refine_level=1, refine_type='conv'),
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
    'neck FPG': dict(
        backbone=ALL_LEVELS,
        neck=_mmdet(
            'FPG',
            out_channels=16,
            inter_channels=8,
            num_outs=5,
            stack_times=1,
            paths=['bu'],
            same_down_trans=None,
            across_up_trans=None,
            across_skip_trans=dict(type='conv', kernel_size=1, inplace=False),
            same_up_trans=dict(
                type='conv', kernel_size=3, stride=2, padding=1, inplace=False
            ),
            across_lateral_trans=dict(
                type='conv', kernel_size=1, inplace=False
            ),
            across_down_trans=dict(
                type='interpolation_conv', kernel_size=3, inplace=False
            ),
            output_trans=dict(
                type='last_conv',
                kernel_size=3,
                order=('act', 'conv', 'norm'),
                inplace=False,
            ),
            skip_inds=[(0,), (0,), (0,), (0,), ()],
        ),
        level=1,
    ),
    'neck RFP': dict(
        backbone=_mmdet('DetectoRS_ResNet', **DETECTORS, output_img=True),
        neck=_mmdet(
            'RFP',
            rfp_steps=2,
            aspp_out_channels=4,
            in_channels=[32, 64, 128, 256],
            out_channels=16,
            num_outs=4,
            rfp_backbone=dict(
                type='DetectoRS_ResNet', **DETECTORS, rfp_inplanes=16
            ),
        ),
        level=1,
    ),
    'neck YOLOV3Neck': dict(
        backbone=RESNET,
        neck=_mmdet('YOLOV3Neck', num_scales=3, out_channels=[32, 16, 16]),
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
    'mmdet FPN of other channels': dict(
        backbone=RESNET, neck=dict(FPN, in_channels=[8, 16, 32]), level=1
    ),
    'mmdet FPN, level 3 of 3': dict(backbone=RESNET, neck=FPN, level=3),
}
