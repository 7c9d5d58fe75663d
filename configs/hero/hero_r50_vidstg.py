# configs/hero_vidstg.py with mmdet's ResNet-50 and FPN.
#   python tools/train.py configs/hero/hero_r50_vidstg.py
# Strides 16 and 32 fused; a cell is 16 x 16 pixels.
_base_ = './hero_r101-roberta_8xb2-64f-10e_vidstg.py'

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
    )
)
