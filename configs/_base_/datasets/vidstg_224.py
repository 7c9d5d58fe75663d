# VidSTG with a short side of 224 pixels, for backbones whose attention sees
# whole windows of frames.
_base_ = './vidstg.py'

resize = dict(type='ResizeClip', short_side=224, max_long=399)
train_pipeline = [
    *_base_.train_pipeline[:-2],
    resize,
    dict(type='PackGroundingInputs'),
]
test_pipeline = [
    *_base_.test_pipeline[:-2],
    resize,
    dict(type='PackGroundingInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
