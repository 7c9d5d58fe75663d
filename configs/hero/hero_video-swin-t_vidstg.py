# configs/hero_vidstg.py with mmaction2's Video Swin-T and FPN.
#   python tools/train.py configs/hero/hero_video-swin-t_vidstg.py
# A step of two frames, interpolated at the frames.
_base_ = './hero_r101-roberta_8xb2-64f-10e_vidstg.py'

weights = (
    'https://download.openmmlab.com/mmaction/v1.0/recognition/swin/'
    'swin-tiny-p244-w877_in1k-pre_8xb8-amp-32x2x1-30e_kinetics400-rgb/'
    'swin-tiny-p244-w877_in1k-pre_8xb8-amp-32x2x1-30e_kinetics400-rgb_20220'
    '930-241016b2.pth'
)
model = dict(
    video_encoder=dict(
        _delete_=True,
        type='VideoEncoder',
        embed_dims=256,
        backbone=dict(
            type='mmaction.SwinTransformer3D',
            arch='tiny',
            pretrained2d=False,
            patch_size=(2, 4, 4),
            window_size=(8, 7, 7),
            drop_path_rate=0.1,
            out_indices=(1, 2, 3),
        ),
        neck=dict(type='mmdet.FPN', out_channels=256, num_outs=3),
        level=1,
        finer_levels=(0,),
        # Of the whole recogniser: the keys of its backbone fit.
        init_cfg=dict(type='Pretrained', checkpoint=weights),
    )
)
