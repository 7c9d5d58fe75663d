# configs/hero_vidstg.py with mmdet's Swin-T and FPN.
#   python tools/train.py configs/hero/hero_swin-t_vidstg.py
_base_ = './hero_r101-roberta_8xb2-64f-10e_vidstg.py'

weights = (
    'https://github.com/SwinTransformer/storage/releases/download/v1.0.0/'
    'swin_tiny_patch4_window7_224.pth'
)
model = dict(
    video_encoder=dict(
        _delete_=True,
        type='VideoEncoder',
        embed_dims=256,
        backbone=dict(
            type='mmdet.SwinTransformer',
            embed_dims=96,
            depths=[2, 2, 6, 2],
            num_heads=[3, 6, 12, 24],
            window_size=7,
            drop_path_rate=0.2,
            out_indices=(1, 2, 3),
            convert_weights=True,
            init_cfg=dict(type='Pretrained', checkpoint=weights),
        ),
        neck=dict(type='mmdet.FPN', out_channels=256, num_outs=3),
        level=1,
        finer_levels=(0,),
    )
)
