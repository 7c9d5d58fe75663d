# configs/hero_vidstg.py: looks of ResNet-50, motion of SlowOnly-50.
#   python tools/train.py configs/hero/hero_r50-slowonly-r50_vidstg.py
# The map of the 3-D backbone is resized to that of the 2-D one; both are
# projected together.
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
            type='mmdet.ResNet',
            depth=50,
            out_indices=(1, 2, 3),
            frozen_stages=1,
            norm_cfg=dict(type='BN', requires_grad=False),
            norm_eval=True,
            init_cfg=dict(
                type='Pretrained', checkpoint='torchvision://resnet50'
            ),
        ),
        # Of strides 16 and 32; below them stands stride 8 of the backbone.
        neck=dict(
            type='mmdet.FPN', out_channels=256, start_level=1, num_outs=2
        ),
        level=0,
        finer_levels=(0,),
        motion=dict(
            backbone=dict(
                type='mmaction.ResNet3dSlowOnly',
                depth=50,
                pretrained=None,
                lateral=False,
                norm_eval=True,
            ),
            # Of the whole recogniser: the keys of its backbone fit.
            init_cfg=dict(type='Pretrained', checkpoint=weights),
        ),
    )
)
