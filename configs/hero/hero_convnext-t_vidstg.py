# configs/hero_vidstg.py with mmpretrain's ConvNeXt-T and FPN.
#   python tools/train.py configs/hero/hero_convnext-t_vidstg.py
# mmpretrain is none of the requirements: pip install mmpretrain
_base_ = './hero_r101-roberta_8xb2-64f-10e_vidstg.py'

weights = (
    'https://download.openmmlab.com/mmclassification/v0/convnext/downstream/'
    'convnext-tiny_3rdparty_32xb128-noema_in1k_20220301-795e9634.pth'
)
model = dict(
    video_encoder=dict(
        _delete_=True,
        type='VideoEncoder',
        embed_dims=256,
        backbone=dict(
            type='mmpretrain.ConvNeXt',
            arch='tiny',
            out_indices=[1, 2, 3],
            drop_path_rate=0.4,
            layer_scale_init_value=1.0,
            gap_before_final_norm=False,
            init_cfg=dict(
                type='Pretrained', checkpoint=weights, prefix='backbone.'
            ),
        ),
        neck=dict(type='mmdet.FPN', out_channels=256, num_outs=3),
        level=1,
        finer_levels=(0,),
    )
)
