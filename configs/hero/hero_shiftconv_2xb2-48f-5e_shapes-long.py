# HERO on the long profile of the embedded benchmark: 96 x 96 pixels, 48 of 96
# frames, from scratch on the CPU.
#   bash tools/dist_train.sh configs/hero_shapes-long.py 2       (two cores)
#   python tools/train.py configs/hero_shapes-long.py            (one process)
# Renders data/shapes-long first where it is missing.
_base_ = [
    '../_base_/datasets/shapes-long.py',
    '../_base_/models/hero_small.py',
    '../_base_/schedules/one_cycle.py',
    '../_base_/default_runtime.py',
]

model = dict(
    text_encoder=dict(ann_file=_base_.data_root + 'train.json'),
    # Windows of a third of the frames.
    region_encoder=dict(temporal_window=16),
    neck=dict(temporal_window=16),
)

max_epochs = 5
train_cfg = dict(max_epochs=max_epochs)
