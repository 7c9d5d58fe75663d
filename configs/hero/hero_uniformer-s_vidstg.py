# configs/hero_vidstg.py with mmaction2's UniFormer-S, short side 224.
#   python tools/train.py configs/hero/hero_uniformer-s_vidstg.py
# Windows of 16 frames, as it was trained; a step of two frames. It gives its
# last level alone: one cell is 32 x 32 pixels.
_base_ = [
    '../_base_/datasets/vidstg_224.py',
    '../_base_/models/hero_r101_roberta.py',
    '../_base_/schedules/grounding_10e.py',
    '../_base_/default_runtime.py',
]

weights = (
    'https://download.openmmlab.com/mmaction/v1.0/recognition/'
    'uniformerv1/'
    'uniformer-small_imagenet1k-pre_16x4x1_kinetics400-rgb_20221219-c630a03'
    '7.pth'
)
model = dict(
    data_preprocessor=dict(
        mean=[114.75, 114.75, 114.75], std=[57.375, 57.375, 57.375]
    ),
    video_encoder=dict(
        _delete_=True,
        type='VideoEncoder',
        embed_dims=256,
        clip_len=16,
        backbone=dict(
            type='mmaction.UniFormer',
            depth=[3, 4, 8, 3],
            embed_dim=[64, 128, 320, 512],
            head_dim=64,
            drop_path_rate=0.1,
            pretrained2d=False,
        ),
        # Of the whole recogniser: the keys of its backbone fit.
        init_cfg=dict(type='Pretrained', checkpoint=weights),
    ),
)
