# VidSTG with a short side of 224 pixels, for backbones whose attention sees
# whole windows of frames.
_base_ = './vidstg.py'

resize = dict(type='ResizeClip', short_side=224, max_long=399)
train_pipeline = [
    dict(
        type='SampleClipFrames',
        num_frames=64,
        jitter=True,
        crop_prob=0.5,
        min_frames=64,
    ),
    dict(type='DecodeFrames', max_side=1024),
    dict(type='LoadTubes'),
    dict(type='SwapActionPhrase', num_negatives=2),
    dict(type='RandomFlipClip', prob=0.5),
    dict(type='RandomTubeCrop', prob=0.5, min_scale=0.6),
    resize,
    dict(type='PackGroundingInputs'),
]
test_pipeline = [
    dict(type='SampleClipFrames', num_frames=64),
    dict(type='DecodeFrames', max_side=1024),
    dict(type='LoadTubes'),
    resize,
    dict(type='PackGroundingInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
