# HERO on the embedded benchmark of moving shapes, from pixels, on the CPU.
#   bash tools/dist_train.sh configs/hero_shapes.py 2       (two cores)
#   python tools/train.py configs/hero_shapes.py            (one process)
# Renders data/shapes first where it is missing.
_base_ = [
    '../_base_/datasets/shapes.py',
    '../_base_/models/hero_small.py',
    '../_base_/schedules/one_cycle.py',
    '../_base_/default_runtime.py',
]
# The vocabulary is that of its own sentences.
model = dict(text_encoder=dict(ann_file=_base_.data_root + 'train.json'))
