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
        # Strides 16 and 32 fused: the coarsest level has 16 pixels a cell. 256
        # channels, as detectors have, cost twice as much; 64 are read.
        neck=dict(
            type='mmdet.FPN',
            in_channels=[512, 1024, 2048],
            out_channels=128,
            start_level=1,
            num_outs=2,
        ),
        level=0,
        # Below it the level of the backbone with 8 pixels a cell.
        finer_levels=(0,),
    ),
    # A folder or a name on the hub; without internet: docs/pretrained.md,
    # section Offline.
    text_encoder=dict(
        type='HFTextEncoder', embed_dims=embed_dims, name='roberta-base'
    ),
    # Of 53 x 94 cells a frame.
    proposal_generator=dict(
        type='ObjectProposals',
        embed_dims=embed_dims,
        level=0,
        num_proposals=128,
        # With 128, it takes a sixth of the time behind the pyramid.
        head_dims=64,
        # Before training all are likelier: there are regions from the start.
        min_score=0.01,
        # 80 pixels. A cell is small beside an object: an object has dozens.
        start_size=10.0,
        average='cells',
        loss_object=dict(type='SigmoidFocalLoss', loss_weight=10.0),
        loss_bbox=dict(type='GIoULoss', loss_weight=5.0),
    ),
    max_regions=64,
    linker=dict(type='RegionLinker', num_slots=64),
    region_encoder=dict(
        type='RegionEncoder',
        embed_dims=embed_dims,
        scales=(1.25, 3.0, 0.0),
        # The finest and the coarsest, which may be the same.
        levels=(0, -1, -1),
        points=(5, 3, 1),
        read_dims=32,
        num_layers=2,
        num_heads=8,
        temporal_window=16,
        # With 2.0, most of the loss before training.
        loss_l1=dict(type='L1Loss', loss_weight=1.0),
    ),
    action_head=dict(
        type='ContrastiveActionHead', embed_dims=embed_dims, common_dims=128
    ),
    # As in hero_small.py.
    retrieval=dict(type='FrameRetrieval', depth='reason', keep_ratio=1.0),
    # 26 GFLOPs a sentence for 64 frames; comparing and the tube head 2 more.
    neck=dict(
        type='HierarchicalReasoningNeck',
        embed_dims=embed_dims,
        num_heads=8,
        num_layers=3,
        num_sizes=3,
        temporal_window=16,
    ),
    tube_head=dict(
        type='TubeHead',
        embed_dims=embed_dims,
        mask_slots=True,
        silent_start=True,
        # An answer of one frame in 64 would outweigh all else. VidSTG's fill
        # 39 % of a segment.
        min_share=0.25,
        # Of 64 regions a frame, most of which show something else.
        loss_match=dict(type='SigmoidFocalLoss', loss_weight=1.0),
        loss_early=dict(type='SigmoidFocalLoss', loss_weight=1.0),
        loss_elsewhere=dict(type='SigmoidFocalLoss', loss_weight=1.0),
        loss_span=dict(type='SpanLoss', sigma=2.0),
    ),
)
