"""The large config at the size of its pictures: its losses, and its gradients.

Random weights, two random clips of three frames by turns, on the CPU.
``pytest -s -m slow tests/test_models/test_real_size.py`` prints each step.
"""

import sys

import numpy as np
import pytest
import torch
from mmengine.optim import build_optim_wrapper

from hero_mm.apis.random_clips import config_without_data, make_item
from hero_mm.registry import MODELS

STEPS, CLIP = 20, 35.0
# Of so few frames none is left out, and the targets of 64 would be alike.
OPTIONS = {
    'model.video_encoder.backbone.init_cfg': None,
    'model.retrieval.train_prob': 0.0,
    'model.tube_head.loss_span.sigma': 0.5,
}


def shortcuts(backbone):
    """The levels of a ResNet whose blocks add nothing to their shortcuts.

    Before training the last norm of each block is zero, and it is frozen:
    this is what it computes, in a fifth of the time.
    """

    def forward(x):
        x = backbone.maxpool(backbone.relu(backbone.norm1(backbone.conv1(x))))
        levels = []
        for name in backbone.res_layers:
            first = getattr(backbone, name)[0]
            assert not first.norm3.weight.any()
            x = first.downsample(x).relu()
            levels.append(x)
        return tuple(levels[number] for number in backbone.out_indices)

    return forward


@pytest.mark.slow
def test_losses_are_alike_and_fall_in_twenty_steps(repo_root):
    cfg = config_without_data(repo_root / 'configs/hero_vidstg.py', OPTIONS)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    backbone = model.video_encoder.backbone
    backbone.forward = shortcuts(backbone)
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    warm_up = torch.optim.lr_scheduler.LinearLR(
        wrapper.optimizer, 0.01, total_iters=15
    )
    items = [make_item(3, (560, 420), 2, seed) for seed in (0, 1)]
    model.train()
    steps = []
    for number in range(STEPS):
        item = items[number % 2]
        data = dict(
            inputs=[item['inputs']],
            data_samples=[item['data_samples'].clone()],
        )
        losses = model(**model.data_preprocessor(data, True), mode='loss')
        total, _ = model.parse_losses(losses)
        wrapper.zero_grad()
        total.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        wrapper.optimizer.step()
        warm_up.step()
        # A step is one clip: there is no other one.
        step = {
            name[5:]: value.item()
            for name, value in losses.items()
            if name.startswith('loss_') and name != 'loss_elsewhere'
        }
        steps.append((total.item(), norm.item(), step))
        parts = ' '.join(f'{name} {value:.2f}' for name, value in step.items())
        sys.stdout.write(f'{number:2} {total:.2f} {norm:.0f} {parts}\n')
    first = steps[0][2].values()
    assert len(first) == 12 and max(first) <= 10 * min(first)
    assert max(norm for _, norm, _ in steps) <= 10 * CLIP
    before, after = (
        np.mean([total for total, *_ in part])
        for part in (steps[:5], steps[-5:])
    )
    assert after < 0.95 * before
