# HC-STVG, version 1: official annotations and videos; docs/data.md.
data_root = 'data/hcstvg/'
video_root = data_root + 'video'
dataset_type = 'GroundingDataset'
make_command = (
    f'python tools/dataset_converters/hcstvg.py {data_root}raw/{{0}}.json '
    f'--videos {video_root} --out {data_root}{{0}}.json'
)
# Of 20 seconds; longer videos are searched in windows of so many.
window = 20.0
num_frames = 64
# Short side, and the longest long side, in pixels: 16:9 keeps the short one.
resize = dict(type='ResizeClip', short_side=420, max_long=747)

train_pipeline = [
    dict(
        type='SampleClipFrames',
        num_frames=num_frames,
        jitter=True,
        crop_prob=0.5,
        min_frames=num_frames,
    ),
    dict(type='DecodeFrames', max_side=1024),
    dict(type='LoadTubes'),
    dict(type='RandomFlipClip', prob=0.5),
    dict(type='RandomTubeCrop', prob=0.5, min_scale=0.6),
    resize,
    dict(type='PackGroundingInputs'),
]
test_pipeline = [
    dict(type='SampleClipFrames', num_frames=num_frames),
    dict(type='DecodeFrames', max_side=1024),
    dict(type='LoadTubes'),
    resize,
    dict(type='PackGroundingInputs'),
]

train_dataloader = dict(
    batch_size=2,
    num_workers=8,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        ann_file=data_root + 'train.json',
        data_prefix=dict(video=video_root),
        make_command=make_command.format('train'),
        pipeline=train_pipeline,
    ),
)
# There is no val split: the field validates on test, and so does this.
val_dataloader = dict(
    batch_size=1,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        ann_file=data_root + 'test.json',
        data_prefix=dict(video=video_root),
        test_mode=True,
        make_command=make_command.format('test'),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='TubeMetric', protocol='hcstvg')
test_evaluator = val_evaluator
