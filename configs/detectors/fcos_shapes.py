# A small FCOS that finds the objects of the embedded benchmark in its frames,
# on a CPU; what configs/hero_detector_shapes.py looks through.
#   python tools/train.py configs/detectors/fcos_shapes.py
# Renders data/shapes first where it is missing.
_base_ = [
    '../_base_/models/shapes_detector.py',
    '../_base_/schedules/one_cycle.py',
    '../_base_/default_runtime.py',
]
# The parts of mmdet are found by their bare names.
default_scope = 'mmdet'
custom_imports = dict(
    imports=['hero_mm', 'mmdet.datasets.transforms', 'mmdet.evaluation'],
    allow_failed_imports=False,
)
model = _base_.detector

data_root = 'data/shapes/'
prepare = dict(
    type='hero_mm.datasets.shapes.build_shapes', out=data_root, workers=2
)
dataset_type = 'hero_mm.FrameDetectionDataset'
videos = dict(video=data_root + 'vidor/video')
make_command = f'python tools/dataset_converters/shapes.py --out {data_root}'

train_pipeline = [
    dict(type='mmdet.LoadAnnotations', with_bbox=True),
    dict(type='mmdet.RandomFlip', prob=0.5),
    dict(type='mmdet.PackDetInputs'),
]
test_pipeline = [
    dict(type='mmdet.LoadAnnotations', with_bbox=True),
    dict(
        type='mmdet.PackDetInputs',
        # What CocoMetric scores against without a file of its own.
        meta_keys=(
            'img_id',
            'img_path',
            'ori_shape',
            'img_shape',
            'scale_factor',
            'instances',
        ),
    ),
]
train_dataloader = dict(
    batch_size=32,
    num_workers=1,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        ann_file=data_root + 'train.json',
        data_prefix=videos,
        frames_per_video=2,
        make_command=make_command,
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=32,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        ann_file=data_root + 'val.json',
        data_prefix=videos,
        frames_per_video=2,
        test_mode=True,
        make_command=make_command,
        pipeline=test_pipeline,
    ),
)
test_dataloader = dict(
    batch_size=32,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        ann_file=data_root + 'test.json',
        data_prefix=videos,
        frames_per_video=2,
        test_mode=True,
        make_command=make_command,
        pipeline=test_pipeline,
    ),
)
val_evaluator = dict(type='mmdet.CocoMetric', metric='bbox')
test_evaluator = val_evaluator
default_hooks = dict(checkpoint=dict(save_best='coco/bbox_mAP'))
# Scored and kept is the moving average of the weights, over about the last
# ninth of the training.
custom_hooks = [dict(type='EMAHook', ema_type='hero_mm.RampedAverage')]
visualizer = dict(type='mmdet.DetLocalVisualizer')
