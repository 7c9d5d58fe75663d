"""Generators of mmdet where one of two processes has no complete clip."""

import pickle

import pytest

SCRIPT = """
import json, os, pickle, sys
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from hero_mm.engine.launch import leave_processes
from hero_mm.registry import MODELS


class Learner(nn.Module):
    def __init__(self, generator):
        super().__init__()
        self.generator = generator

    def forward(self, *given):
        return self.generator.loss_and_predict(*given)[0]


torch.distributed.init_process_group('gloo')
rank = torch.distributed.get_rank()
with open(os.path.join(sys.argv[1], 'setting.pkl'), 'rb') as file:
    config, clips = pickle.load(file)
torch.manual_seed(rank)
model = MODELS.build(config)
model.init_weights()
clip = clips[rank]
batch = model.data_preprocessor(
    dict(inputs=[clip['inputs']], data_samples=[clip['data_samples']])
)
with torch.no_grad():
    pyramid = model.encode(batch['inputs'])
learner = DistributedDataParallel(Learner(model.proposal_generator))
optimizer = torch.optim.SGD(learner.parameters(), lr=0.01)
for _ in range(2):
    # A second step fails where a weight of the first one had no gradient.
    losses = learner(pyramid, batch['inputs'], batch['data_samples'])
    optimizer.zero_grad()
    model.parse_losses(losses)[0].backward()
    optimizer.step()
weights = sum(p.abs().sum().item() for p in learner.parameters())
losses = {k: v.item() for k, v in losses.items() if 'loss' in k}
with open(os.path.join(sys.argv[1], f'{rank}.json'), 'w') as file:
    json.dump(dict(weights=weights, losses=losses), file)
leave_processes()
"""


@pytest.mark.slow
def test_both_take_the_step(
    proposing_config, generator_config, make_clip, run_twice, tmp_path
):
    """One waits for the other's numbers of objects, and it comes."""
    config = proposing_config(generator_config('FCOSHead'))
    clips = [make_clip(3), make_clip(2, seed=1, complete=False)]
    (tmp_path / 'setting.pkl').write_bytes(pickle.dumps((config, clips)))
    one, other = run_twice(SCRIPT, tmp_path)
    # The gradients were averaged: both hold the same weights.
    assert one['weights'] == other['weights']
    assert one['losses'].keys() == other['losses'].keys()
    assert all(value > 0 for value in one['losses'].values())
    assert not any(other['losses'].values())
