# configs/hero_vidstg.py with mmaction2's MViTv2-S and FPN, short side 224.
#   python tools/train.py configs/hero/hero_mvit-s_vidstg.py
# Windows of 16 frames, as it was trained; a step of two frames.
_base_ = [
    '../_base_/datasets/vidstg_224.py',
    '../_base_/models/hero_r101_roberta.py',
    '../_base_/schedules/grounding_10e.py',
    '../_base_/default_runtime.py',
]

weights = (
    'https://download.openmmlab.com/mmaction/v1.0/recognition/mvit/'
    'mvit-small-p244_32xb16-16x4x1-200e_kinetics400-rgb/'
    'mvit-small-p244_32xb16-16x4x1-200e_kinetics400-rgb_20230201-23284ff3.p'
    'th'
)
model = dict(
    video_encoder=dict(
        _delete_=True,
        type='VideoEncoder',
        embed_dims=256,
        clip_len=16,
        backbone=dict(
            type='mmaction.MViT',
            arch='small',
            drop_path_rate=0.2,
            out_scales=[1, 2, 3],
        ),
        neck=dict(type='mmdet.FPN', out_channels=256, num_outs=3),
        level=1,
        finer_levels=(0,),
        # Of the whole recogniser: the keys of its backbone fit.
        init_cfg=dict(type='Pretrained', checkpoint=weights),
    )
)
