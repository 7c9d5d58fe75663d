# configs/hero_vidstg.py with mmdet's ResNet-101 and PAFPN.
#   python tools/train.py configs/hero/hero_r101_vidstg.py
# PAFPN passes features down and up again, as BiFPN does; its last level, of
# stride 32, is left out by choosing the middle one, of stride 16.
_base_ = './hero_r101-roberta_8xb2-64f-10e_vidstg.py'

model = dict(
    video_encoder=dict(
        _delete_=True,
        type='VideoEncoder',
        embed_dims=256,
        backbone=dict(
            type='mmdet.ResNet',
            depth=101,
            out_indices=(1, 2, 3),
            frozen_stages=1,
            norm_cfg=dict(type='BN', requires_grad=False),
            norm_eval=True,
            init_cfg=dict(
                type='Pretrained', checkpoint='torchvision://resnet101'
            ),
        ),
        neck=dict(type='mmdet.PAFPN', out_channels=256, num_outs=3),
        level=1,
        finer_levels=(0,),
    )
)
