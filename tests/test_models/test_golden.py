"""Numbers of a tiny seeded model: a change that should not change them.

Renew them after a change that should::

    python tests/test_models/test_golden.py --renew
"""

import json
import os
import sys
from pathlib import Path

import pytest
import torch

GOLDEN = Path(__file__).with_name('golden_tiny.json')
RENEW = 'HERO_MM_RENEW_GOLDEN'
# Untrained proposals are sure of nothing.
FOUND = dict(min_score=0.0)


def statistics(value: torch.Tensor) -> dict:
    """Mean and spread of what is finite, and how much is."""
    value = value.detach().double()
    finite = value[value.isfinite()]
    return dict(
        shape=list(value.shape),
        finite=len(finite),
        mean=finite.mean().item(),
        std=finite.std(correction=0).item(),
    )


@pytest.fixture()
def numbers(build_hero, make_clip, collate) -> dict:
    """Outputs, losses and gradients of one batch."""
    model = build_hero(seed=0, shake=0.1, proposal_generator=FOUND)
    batch = collate(model, make_clip(4), make_clip(6, (24, 32), seed=1))
    # Boxes that nobody found are jittered.
    torch.manual_seed(0)
    losses = model(**batch, mode='loss')
    model.parse_losses(losses)[0].backward()
    gradients: dict = {}
    for name, parameter in model.named_parameters():
        part = '.'.join(name.split('.')[:2])
        if parameter.grad is None:
            continue
        square = parameter.grad.double().square().sum().item()
        gradients[part] = gradients.get(part, 0.0) + square
    with torch.no_grad():
        output = model(**batch, mode='tensor')
        samples = model(**batch, mode='predict')
    tubes = [sample.pred_queries for sample in samples]
    return dict(
        parameters=sum(p.numel() for p in model.parameters()),
        losses={name: value.item() for name, value in losses.items()},
        gradients={part: total**0.5 for part, total in gradients.items()},
        outputs={
            name: statistics(value)
            for name, value in vars(output).items()
            if isinstance(value, torch.Tensor)
        },
        predictions={
            name: statistics(torch.cat([t[name].flatten() for t in tubes]))
            for name in sorted(tubes[0].keys())
        },
    )


def test_golden(numbers):
    if os.environ.get(RENEW):
        GOLDEN.write_text(json.dumps(numbers, indent=1) + '\n')
    golden = json.loads(GOLDEN.read_text())
    for group, wanted in golden.items():
        compare(numbers[group], wanted, group)
    assert numbers.keys() == golden.keys()


def compare(got, wanted, where: str) -> None:
    """Numbers may differ by rounding, names and shapes may not."""
    if not isinstance(wanted, dict):
        near = pytest.approx(wanted, rel=2e-3, abs=1e-4)
        assert got == near, f'{where} has changed; see {Path(__file__).name}'
        return
    assert got.keys() == wanted.keys(), where
    for name, value in wanted.items():
        compare(got[name], value, f'{where}.{name}')


if __name__ == '__main__':
    if sys.argv[1:] != ['--renew']:
        sys.exit(__doc__)
    os.environ[RENEW] = '1'
    sys.exit(pytest.main([__file__, '-q', '-k', 'test_golden']))
