# HERO, small: 64 x 64 pixels, 16 frames, from scratch on a CPU.
embed_dims = 64
model = dict(
    type='HERO',
    data_preprocessor=dict(type='GroundingDataPreprocessor'),
    video_encoder=dict(
        type='VideoEncoder',
        embed_dims=embed_dims,
        backbone=dict(
            type='ShiftConvNet',
            stem_channels=16,
            channels=(32, 64),
            num_blocks=(1, 1),
            out_indices=(0, 1),
        ),
        # A pyramid of 4 and 8 pixels a cell.
        finer_levels=(0,),
    ),
    text_encoder=dict(
        type='WordTextEncoder',
        embed_dims=embed_dims,
        # The vocabulary; a checkpoint carries its own.
        ann_file='data/shapes/train.json',
    ),
    proposal_generator=dict(
        type='ObjectProposals',
        embed_dims=embed_dims,
        num_proposals=16,
    ),
    # Regions of a frame that go on.
    max_regions=6,
    # Slot n follows one object; None leaves the regions unlinked.
    linker=dict(type='RegionLinker', num_slots=7),
    # What a region shows: its box, what is around it, the frame. One scale
    # alone leaves the pyramid out.
    region_encoder=dict(
        type='RegionEncoder',
        embed_dims=embed_dims,
        scales=(1.25, 3.0, 0.0),
        levels=(0, 1, 1),
        points=(7, 3, 1),
        num_layers=2,
        num_heads=2,
        temporal_window=8,
    ),
    # Contrastive action correspondence; None leaves it out.
    action_head=dict(
        type='ContrastiveActionHead',
        embed_dims=embed_dims,
        # Of few slots, the maximum may be smooth.
        temperature=0.2,
    ),
    # Trained with some frames left out of the reasoning; keep_ratio < 1 leaves
    # them out at test time, too. 'weigh' leaves out none; 'scout' shows
    # them to the first layers of the encoder alone.
    retrieval=dict(type='FrameRetrieval', depth='reason', keep_ratio=1.0),
    # Hierarchical reasoning; None leaves it out, attention='joint' is the
    # fully connected attention that it replaces.
    neck=dict(
        type='HierarchicalReasoningNeck',
        embed_dims=embed_dims,
        num_heads=2,
        num_layers=1,
        num_sizes=3,
        temporal_window=8,
    ),
    tube_head=dict(
        type='TubeHead',
        embed_dims=embed_dims,
        loss_span=dict(type='SpanLoss', sigma=0.5),
        # While several spans are likely, take the one that agrees with most.
        expected_iou=True,
    ),
)
