# configs/hero_vidstg.py with mmdet's PVTv2-B2 and FPN.
#   python tools/train.py configs/hero/hero_pvtv2-b2_vidstg.py
_base_ = './hero_r101-roberta_8xb2-64f-10e_vidstg.py'

weights = 'https://github.com/whai362/PVT/releases/download/v2/pvt_v2_b2.pth'
model = dict(
    video_encoder=dict(
        _delete_=True,
        type='VideoEncoder',
        embed_dims=256,
        backbone=dict(
            type='mmdet.PyramidVisionTransformerV2',
            embed_dims=64,
            num_layers=[3, 4, 6, 3],
            out_indices=(1, 2, 3),
            init_cfg=dict(type='Pretrained', checkpoint=weights),
        ),
        neck=dict(type='mmdet.FPN', out_channels=256, num_outs=3),
        level=1,
        finer_levels=(0,),
    )
)
