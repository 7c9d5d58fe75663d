# configs/hero_vidstg.py with mmaction2's SlowFast-50.
#   python tools/train.py configs/hero/hero_slowfast-r50_vidstg.py
# Both pathways: the slow one, of every eighth frame, is interpolated at the
# frames of the fast one, and their channels stand beside each other.
_base_ = './hero_r101-roberta_8xb2-64f-10e_vidstg.py'

weights = (
    'https://download.openmmlab.com/mmaction/v1.0/recognition/slowfast/'
    'slowfast_r50_8xb8-4x16x1-256e_kinetics400-rgb/'
    'slowfast_r50_8xb8-4x16x1-256e_kinetics400-rgb_20220901-701b0f6f.pth'
)
pathway = dict(
    type='resnet3d',
    depth=50,
    pretrained=None,
    conv1_stride_t=1,
    pool1_stride_t=1,
    # One cell is 16 x 16 pixels.
    spatial_strides=(1, 2, 2, 1),
    norm_eval=True,
)
model = dict(
    video_encoder=dict(
        _delete_=True,
        type='VideoEncoder',
        embed_dims=256,
        backbone=dict(
            type='mmaction.ResNet3dSlowFast',
            resample_rate=8,
            speed_ratio=8,
            channel_ratio=8,
            slow_pathway=dict(
                pathway,
                lateral=True,
                conv1_kernel=(1, 7, 7),
                inflate=(0, 0, 1, 1),
            ),
            fast_pathway=dict(
                pathway,
                lateral=False,
                base_channels=8,
                conv1_kernel=(5, 7, 7),
            ),
        ),
        # Of the whole recogniser: the keys of its backbone fit.
        init_cfg=dict(type='Pretrained', checkpoint=weights),
    ),
)
