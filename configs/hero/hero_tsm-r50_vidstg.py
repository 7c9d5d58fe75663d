# configs/hero_vidstg.py with mmaction2's TSM ResNet-50 and FPN.
#   python tools/train.py configs/hero/hero_tsm-r50_vidstg.py
# num_segments follows the number of frames of a clip.
_base_ = './hero_r101-roberta_8xb2-64f-10e_vidstg.py'

weights = (
    'https://download.openmmlab.com/mmaction/v1.0/recognition/tsm/'
    'tsm_imagenet-pretrained-r50_8xb16-1x1x8-100e_kinetics400-rgb/'
    'tsm_imagenet-pretrained-r50_8xb16-1x1x8-100e_kinetics400-rgb_20220831-'
    'a6db1e5d.pth'
)
model = dict(
    video_encoder=dict(
        _delete_=True,
        type='VideoEncoder',
        embed_dims=256,
        backbone=dict(
            type='mmaction.ResNetTSM',
            depth=50,
            pretrained2d=False,
            shift_div=8,
            out_indices=(1, 2, 3),
            norm_eval=True,
        ),
        # Of strides 16 and 32; below them stands stride 8 of the backbone.
        neck=dict(
            type='mmdet.FPN', out_channels=256, start_level=1, num_outs=2
        ),
        level=0,
        finer_levels=(0,),
        # Of the whole recogniser: the keys of its backbone fit.
        init_cfg=dict(type='Pretrained', checkpoint=weights),
    )
)
