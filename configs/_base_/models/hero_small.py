# HERO, small: 64 x 64 pixels, 16 frames, from scratch on a CPU.
embed_dims = 64
model = dict(
    type='HERO',
    data_preprocessor=dict(type='GroundingDataPreprocessor'),
    video_encoder=dict(
        type='VideoEncoder',
        embed_dims=embed_dims,
        # One region is 8 x 8 pixels.
        backbone=dict(
            type='ShiftConvNet',
            stem_channels=16,
            channels=(32, 64),
            num_blocks=(1, 1),
            out_indices=(0, 1),
        ),
        # Details of 4 x 4 pixels.
        detail_level=0,
    ),
    text_encoder=dict(
        type='WordTextEncoder',
        embed_dims=embed_dims,
        # The vocabulary; a checkpoint carries its own.
        ann_file='data/shapes/train.json',
    ),
    # What regions show at that level, and a frame before and after; None
    # leaves it out, shift_div=0 the other frames.
    region_detail=dict(type='RegionDetail'),
    # Contrastive action correspondence; None leaves it out.
    action_head=dict(type='ContrastiveActionHead', embed_dims=embed_dims),
    # Hierarchical reasoning; None leaves it out, attention='joint' is the
    # fully connected attention that it replaces.
    neck=dict(
        type='HierarchicalReasoningNeck',
        embed_dims=embed_dims,
        num_heads=2,
        num_clip_layers=0,
        num_region_layers=1,
        num_layers=1,
        # One window holds all 16 frames: there is nothing to shift.
        temporal_window=16,
        shift_windows=False,
        # Pyramid alignment; (1,) switches it off.
        scales=(1, 3, 0),
    ),
    tube_head=dict(
        type='TubeHead',
        embed_dims=embed_dims,
        num_heads=2,
        sigma=0.5,
        # While several spans are likely, take the one that agrees with most.
        expected_iou=True,
    ),
    # Regions of a frame that meet the words; None keeps all 64.
    max_regions=8,
)
