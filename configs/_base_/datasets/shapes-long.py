# The benchmark of moving shapes in its long profile, which renders itself:
# 96 x 96 pixels, 96 frames, of which a model sees every second one;
# docs/benchmark_shapes.md.
_base_ = './shapes.py'
data_root = 'data/shapes-long/'
prepare = dict(out=data_root, profile='long')
make_command = (
    'python tools/dataset_converters/shapes.py --profile long '
    f'--out {data_root}'
)
data_prefix = dict(video=data_root + 'vidor/video')
window = 12.0

train_pipeline = [
    dict(type='SampleClipFrames', num_frames=48, jitter=True),
    *_base_.train_pipeline[1:],
]
test_pipeline = [
    dict(type='SampleClipFrames', num_frames=48),
    *_base_.test_pipeline[1:],
]

train_dataloader = dict(
    # Clips of one process, each of seven times the pixels of data/shapes.
    batch_size=2,
    dataset=dict(
        ann_file=data_root + 'train.json',
        data_prefix=data_prefix,
        make_command=make_command,
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=2,
    dataset=dict(
        ann_file=data_root + 'val.json',
        data_prefix=data_prefix,
        make_command=make_command,
        pipeline=test_pipeline,
    ),
)
test_dataloader = dict(
    batch_size=2,
    dataset=dict(
        ann_file=data_root + 'test.json',
        data_prefix=data_prefix,
        make_command=make_command,
        pipeline=test_pipeline,
    ),
)
