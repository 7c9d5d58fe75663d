# VID-sentence: official lists, tracks and pictures; docs/data.md.
data_root = 'data/vid_sentence/'
video_root = 'data/ILSVRC/Data/VID'
dataset_type = 'GroundingDataset'
make_command = (
    'python tools/dataset_converters/vid_sentence.py '
    f'{data_root}ILSVRC --split {{0}} --videos {video_root} '
    f'--out {data_root}{{0}}.json'
)
num_frames = 64
# Short side, and the longest long side, in pixels: 16:9 keeps the short one.
resize = dict(type='ResizeClip', short_side=420, max_long=747)

# What is searched are the frames of the tube: there is nothing to cut in time.
train_pipeline = [
    dict(type='SampleClipFrames', num_frames=num_frames, jitter=True),
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
        max_queries=8,
        make_command=make_command.format('train'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        ann_file=data_root + 'val.json',
        data_prefix=dict(video=video_root),
        test_mode=True,
        max_queries=16,
        make_command=make_command.format('val'),
        pipeline=test_pipeline,
    ),
)
test_dataloader = dict(
    val_dataloader,
    dataset=dict(
        val_dataloader['dataset'],
        ann_file=data_root + 'test.json',
        make_command=make_command.format('test'),
    ),
)
val_evaluator = dict(type='TubeMetric', protocol='vid_sentence')
test_evaluator = dict(type='TubeMetric', protocol='vid_sentence')
