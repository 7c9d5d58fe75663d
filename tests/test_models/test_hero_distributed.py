"""HERO on two processes: no unused weight, captions of all processes."""

import json
import os
import pickle
import subprocess
import sys

import pytest

SCRIPT = """
import json, os, pickle, sys
import torch
from torch.nn.parallel import DistributedDataParallel
from hero_mm.registry import MODELS

torch.distributed.init_process_group('gloo')
rank = torch.distributed.get_rank()
folder = sys.argv[1]
with open(os.path.join(folder, 'setting.pkl'), 'rb') as file:
    config, clips = pickle.load(file)
torch.manual_seed(rank)
model = MODELS.build(config)
model.init_weights()
batch = model.data_preprocessor(
    dict(
        inputs=[clips[rank]['inputs']],
        data_samples=[clips[rank]['data_samples']],
    )
)
wrapped = DistributedDataParallel(model)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for _ in range(2):
    # A second step fails where a weight of the first one had no gradient.
    losses = wrapped(**batch, mode='loss')
    total, _ = model.parse_losses(losses)
    optimizer.zero_grad()
    total.backward()
    optimizer.step()
weights = sum(p.abs().sum().item() for p in model.parameters())
told = {key: value.item() for key, value in losses.items()}
with open(os.path.join(folder, f'{rank}.json'), 'w') as file:
    json.dump(dict(weights=weights, losses=told), file)
"""


@pytest.mark.slow
@pytest.mark.parametrize('action_head', [True, False])
def test_two_processes(action_head, hero_config, make_clip, tmp_path):
    config = hero_config(max_regions=6)
    if not action_head:
        config['action_head'] = None
    clips = [
        make_clip(4, texts=['what grows ?'], negatives=False),
        make_clip(5, texts=['what grows ?', 'the red square moves left'] * 2),
    ]
    script = tmp_path / 'train.py'
    script.write_text(SCRIPT)
    (tmp_path / 'setting.pkl').write_bytes(pickle.dumps((config, clips)))
    done = subprocess.run(
        [
            sys.executable,
            '-m',
            'torch.distributed.run',
            '--standalone',
            '--nproc_per_node=2',
            str(script),
            str(tmp_path),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        env=dict(os.environ, OMP_NUM_THREADS='1'),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    one, two = (
        json.loads((tmp_path / f'{rank}.json').read_text()) for rank in (0, 1)
    )
    # The gradients were averaged: both hold the same weights.
    assert one['weights'] == two['weights']
    assert one['losses'].keys() == two['losses'].keys()
    assert one['losses'] != two['losses']
    if action_head:
        # One clip and one caption: alone there would be nothing to contrast
        # and the loss exactly zero.
        assert one['losses']['loss_action_pair'] > 0
