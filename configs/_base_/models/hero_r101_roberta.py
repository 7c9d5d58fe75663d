# HERO at the sizes of the field: ResNet-101 and RoBERTa-base, width 256.
embed_dims = 256
model = dict(
    type='HERO',
    data_preprocessor=dict(
        type='GroundingDataPreprocessor', pad_size_divisor=32
    ),
    video_encoder=dict(
        type='VideoEncoder',
        embed_dims=embed_dims,
        backbone=dict(
            type='mmdet.ResNet',
            depth=101,
            num_stages=4,
            out_indices=(1, 2, 3),
            frozen_stages=1,
            norm_cfg=dict(type='BN', requires_grad=False),
            norm_eval=True,
            style='pytorch',
            init_cfg=dict(
                type='Pretrained', checkpoint='torchvision://resnet101'
            ),
        ),
        # Strides 16 and 32 fused; one region is 16 x 16 pixels.
        neck=dict(
            type='mmdet.FPN',
            in_channels=[512, 1024, 2048],
            out_channels=embed_dims,
            start_level=1,
            num_outs=2,
        ),
        level=0,
        in_channels=embed_dims,
        # Details of regions are read at stride 8.
        detail_level=0,
    ),
    region_detail=dict(type='RegionDetail', dims=64),
    # A folder or a name on the hub; without internet: docs/pretrained.md,
    # section Offline.
    text_encoder=dict(
        type='HFTextEncoder', embed_dims=embed_dims, name='roberta-base'
    ),
    action_head=dict(
        type='ContrastiveActionHead', embed_dims=embed_dims, common_dims=128
    ),
    neck=dict(
        type='HierarchicalReasoningNeck',
        embed_dims=embed_dims,
        num_heads=8,
        num_clip_layers=2,
        num_layers=4,
        spatial_window=7,
        temporal_window=16,
        scales=(1, 3, 5, 0),
        ffn_ratio=4.0,
    ),
    tube_head=dict(
        type='TubeHead',
        embed_dims=embed_dims,
        num_span_layers=4,
        num_heads=8,
        sigma=2.0,
    ),
    # Of 26 x 37 regions a frame, those that may hold an object.
    max_regions=64,
)
