# configs/hero_vidstg.py with mmaction2's SlowOnly-50 and a ChannelMapper.
#   python tools/train.py configs/hero/hero_slowonly-r50_vidstg.py
# A 3-D backbone that keeps every frame. The last stage does not stride, as for
# AVA: one cell is 16 x 16 pixels.
_base_ = './hero_r101-roberta_8xb2-64f-10e_vidstg.py'

weights = (
    'https://download.openmmlab.com/mmaction/v1.0/recognition/slowonly/'
    'slowonly_imagenet-pretrained-r50_8xb16-8x8x1-steplr-150e_kinetics400-r'
    'gb/'
    'slowonly_imagenet-pretrained-r50_8xb16-8x8x1-steplr-150e_kinetics400-r'
    'gb_20220901-df42dc84.pth'
)
model = dict(
    video_encoder=dict(
        _delete_=True,
        type='VideoEncoder',
        embed_dims=256,
        backbone=dict(
            type='mmaction.ResNet3dSlowOnly',
            depth=50,
            pretrained=None,
            lateral=False,
            spatial_strides=(1, 2, 2, 1),
            norm_eval=True,
        ),
        neck=dict(
            type='mmdet.ChannelMapper',
            out_channels=256,
            kernel_size=1,
            norm_cfg=dict(type='GN', num_groups=32),
        ),
        # Of the whole recogniser: the keys of its backbone fit.
        init_cfg=dict(type='Pretrained', checkpoint=weights),
    ),
)
