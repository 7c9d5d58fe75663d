# A small HERO for footage of one's own, from scratch on a CPU.
#   python tools/train.py configs/hero_custom.py
# Data: data/own/train.json, data/own/videos (docs/data.md). Three clips of
# seven to ten seconds with 34 sentences cost seven minutes of one core for 50
# epochs; what came of it: docs/real_clips.md.
_base_ = [
    '../_base_/models/hero_small.py',
    '../_base_/schedules/one_cycle.py',
    '../_base_/default_runtime.py',
]
data_root = 'data/own/'
ann_file = data_root + 'train.json'
video_root = data_root + 'videos'
dataset_type = 'GroundingDataset'

sample = dict(type='SampleClipFrames', mode='fps', fps=5, max_frames=64)
resize = dict(type='ResizeClip', scale=(160, 96))
train_pipeline = [
    sample,
    dict(type='DecodeFrames', max_side=1024),
    dict(type='LoadTubes'),
    dict(type='SwapActionPhrase', num_negatives=1),
    resize,
    dict(type='PackGroundingInputs'),
]
test_pipeline = [
    sample,
    dict(type='DecodeFrames', max_side=1024),
    dict(type='LoadTubes'),
    resize,
    dict(type='PackGroundingInputs'),
]
train_dataloader = dict(
    # Clips differ in length; one a batch needs no padding.
    batch_size=1,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        ann_file=ann_file,
        data_prefix=dict(video=video_root),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        ann_file=ann_file,
        data_prefix=dict(video=video_root),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='TubeMetric', protocol='tubedetr')
test_evaluator = val_evaluator

model = dict(
    data_preprocessor=dict(pad_size_divisor=16),
    video_encoder=dict(
        # Cells of 8 and 16 pixels. Normalised by clip: with one clip a batch,
        # batch normalisation would be tested with other statistics than it
        # was trained with.
        backbone=dict(
            channels=(32, 48, 64),
            num_blocks=(1, 1, 2),
            out_indices=(1, 2),
            norm='clip',
        )
    ),
    text_encoder=dict(ann_file=ann_file),
    # Of 20 x 12 cells. More than there are objects: unless the annotation says
    # tracks_complete, nothing teaches the proposals where there is none.
    proposal_generator=dict(num_proposals=48),
    max_regions=24,
    linker=dict(num_slots=24),
)
max_epochs = 50
train_cfg = dict(max_epochs=max_epochs, val_interval=25)
param_scheduler = [
    dict(
        type='OneCycleLR',
        eta_max=3e-3,
        pct_start=0.06,
        by_epoch=True,
        convert_to_iter_based=True,
    )
]
