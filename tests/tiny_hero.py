"""A config of HERO that trains in seconds, on the benchmark of the tests."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONFIG = """
_base_ = {base!r}
model = dict(
    video_encoder=dict(
        embed_dims=16, backbone=dict(stem_channels=8, channels=(8, 16))),
    text_encoder=dict(
        embed_dims=16, num_layers=1, num_heads=2, unknown_prob=0.1,
        ann_file='{data}/train.json'),
    proposal_generator=dict(embed_dims=16),
    region_encoder=dict(embed_dims=16),
    action_head=dict(embed_dims=16),
    neck=dict(embed_dims=16),
    tube_head=dict(embed_dims=16))
videos = dict(video='{data}/vidor/video')
train_dataloader = dict(
    dataset=dict(ann_file='{data}/train.json', data_prefix=videos))
val_dataloader = dict(
    dataset=dict(ann_file='{data}/val.json', data_prefix=videos))
test_dataloader = dict(
    dataset=dict(ann_file='{data}/test.json', data_prefix=videos))
train_cfg = dict(max_epochs=1)
"""


def write_config(path, data='data', more=''):
    """Write it for a folder of data; ``more`` is Python behind it."""
    base = str(ROOT / 'configs/hero_shapes.py')
    path.write_text(CONFIG.format(base=base, data=data) + more)
