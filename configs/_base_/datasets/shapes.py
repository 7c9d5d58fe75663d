# The benchmark of moving shapes, which renders itself:
# docs/benchmark_shapes.md.
data_root = 'data/shapes/'
# Taken by tools/train.py and tools/test.py before the runner is built.
prepare = dict(
    type='hero_mm.datasets.shapes.build_shapes', out=data_root, workers=2
)

dataset_type = 'GroundingDataset'
# Seconds of a clip: longer videos are searched in windows like these.
window = 4.0
make_command = f'python tools/dataset_converters/shapes.py --out {data_root}'

train_pipeline = [
    dict(type='SampleClipFrames', num_frames=16, jitter=True),
    # Of the benchmark all are smaller; other videos are reduced.
    dict(type='DecodeFrames', max_side=256),
    dict(type='LoadTubes'),
    dict(type='SwapActionPhrase', num_negatives=1),
    dict(type='RandomFlipClip', prob=0.5),
    dict(type='PackGroundingInputs'),
]
test_pipeline = [
    dict(type='SampleClipFrames', num_frames=16),
    # Of the benchmark all are smaller; other videos are reduced.
    dict(type='DecodeFrames', max_side=256),
    dict(type='LoadTubes'),
    dict(type='PackGroundingInputs'),
]

train_dataloader = dict(
    # Clips of one process; the demo runs two.
    batch_size=4,
    num_workers=1,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        ann_file=data_root + 'train.json',
        data_prefix=dict(video=data_root + 'vidor/video'),
        max_queries=7,
        make_command=make_command,
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=8,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        ann_file=data_root + 'val.json',
        data_prefix=dict(video=data_root + 'vidor/video'),
        test_mode=True,
        make_command=make_command,
        pipeline=test_pipeline,
    ),
)
test_dataloader = dict(
    val_dataloader,
    dataset=dict(
        val_dataloader['dataset'],
        ann_file=data_root + 'test.json',
    ),
)
val_evaluator = dict(type='TubeMetric', protocol='tubedetr')
test_evaluator = dict(type='TubeMetric', protocol='tubedetr')
