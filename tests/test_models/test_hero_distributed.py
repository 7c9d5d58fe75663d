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


GATHER = """
import json, sys
import torch
from hero_mm.models.heads.contrastive_action_head import _gather_captions

torch.distributed.init_process_group('gloo')
rank = torch.distributed.get_rank()
# Three clips with four captions on one, two clips with two on the other.
clips = [[0, 1, 1, 2], [0, 1]][rank]
owner = torch.tensor(clips)
action = (torch.arange(len(clips)) + 10.0 * rank)[:, None].requires_grad_()
told = _gather_captions(action, owner, owner + 100 * rank, [3, 2][rank])
actions, owners, kinds, mine = told
actions.sum().backward()
with open(f'{sys.argv[1]}/{rank}.json', 'w') as file:
    json.dump(
        dict(
            actions=actions[:, 0].tolist(),
            owners=owners.tolist(),
            kinds=kinds.tolist(),
            mine=mine,
            learned=action.grad.sum().item(),
        ),
        file,
    )
"""


def run_twice(script: str, folder) -> list[dict]:
    """What two processes write; the script is told the folder."""
    (folder / 'script.py').write_text(script)
    words = '-m torch.distributed.run --standalone --nproc_per_node=2'
    done = subprocess.run(
        [sys.executable, *words.split(), folder / 'script.py', folder],
        capture_output=True,
        text=True,
        timeout=300,
        env=dict(os.environ, OMP_NUM_THREADS='1'),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [
        json.loads((folder / f'{rank}.json').read_text()) for rank in (0, 1)
    ]


@pytest.mark.slow
def test_captions_find_their_clips_whatever_their_number(tmp_path):
    one, two = run_twice(GATHER, tmp_path)
    assert one['actions'] == two['actions'] == [0, 1, 2, 3, 10, 11]
    assert one['kinds'] == two['kinds'] == [0, 1, 1, 2, 100, 101]
    # Clips count from the first one of the process.
    assert one['owners'] == [0, 1, 1, 2, 3, 4] and one['mine'] == 0
    assert two['owners'] == [-3, -2, -2, -1, 0, 1] and two['mine'] == 4
    # Captions of the other process carry no gradient.
    assert (one['learned'], two['learned']) == (4, 2)


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
    (tmp_path / 'setting.pkl').write_bytes(pickle.dumps((config, clips)))
    one, two = run_twice(SCRIPT, tmp_path)
    # The gradients were averaged: both hold the same weights.
    assert one['weights'] == two['weights']
    assert one['losses'].keys() == two['losses'].keys()
    assert one['losses'] != two['losses']
    if action_head:
        # One clip and one caption: alone there would be nothing to contrast
        # and the loss exactly zero.
        assert one['losses']['loss_action_pair'] > 0
