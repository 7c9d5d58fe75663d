# configs/hero_vidstg.py with mmaction2's ViT-B of VideoMAE, short side 224.
#   python tools/train.py configs/hero/hero_vit-b-videomae_vidstg.py
# Its position embeddings are those of 16 frames, so that clips are cut into
# windows of 16; in space they are interpolated.
_base_ = [
    '../_base_/datasets/vidstg_224.py',
    '../_base_/models/hero_r101_roberta.py',
    '../_base_/schedules/grounding_10e.py',
    '../_base_/default_runtime.py',
]

weights = (
    'https://download.openmmlab.com/mmaction/v1.0/recognition/'
    'videomae/'
    'vit-base-p16_videomae-k400-pre_16x4x1_kinetics-400_20221013-860a3cd3.p'
    'th'
)
model = dict(
    video_encoder=dict(
        _delete_=True,
        type='VideoEncoder',
        embed_dims=256,
        backbone=dict(
            type='mmaction.VisionTransformer',
            img_size=224,
            patch_size=16,
            embed_dims=768,
            depth=12,
            num_heads=12,
            num_frames=16,
            # Without it, one vector a clip.
            return_feat_map=True,
            use_mean_pooling=False,
        ),
        # Of the whole recogniser: the keys of its backbone fit.
        init_cfg=dict(type='Pretrained', checkpoint=weights),
    ),
)
