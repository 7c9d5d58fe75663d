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
OTHERS = Path(__file__).with_name('golden_variants.json')
RENEW = 'HERO_MM_RENEW_GOLDEN'
# Untrained proposals are sure of nothing.
FOUND = dict(min_score=0.0)
VARIANTS = {
    'default': {},
    'joint': dict(
        neck=dict(attention='joint'), region_encoder=dict(attention='joint')
    ),
    'reason': dict(
        retrieval=dict(depth='reason', train_prob=1.0),
        action_head=dict(supervision='span'),
    ),
    'scout': dict(retrieval=dict(depth='scout', train_prob=1.0)),
    'bare': dict(
        linker=None,
        neck=None,
        region_encoder=dict(num_layers=0),
        tube_head=dict(expected_iou=True),
    ),
    'large': dict(
        tube_head=dict(mask_slots=True, silent_start=True, min_share=0.25),
        region_encoder=dict(num_layers=2),
        neck=dict(words=False),
    ),
}


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


@pytest.fixture(params=VARIANTS)
def variant(request) -> str:
    return request.param


@pytest.fixture()
def numbers(variant, build_hero, make_clip, collate) -> dict:
    """Outputs, losses and gradients of one batch."""
    model = build_hero(
        seed=0, shake=0.1, proposal_generator=FOUND, **VARIANTS[variant]
    )
    # Left out in training alone.
    if variant in ('reason', 'scout'):
        model.retrieval.train()
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


def test_golden(variant, numbers):
    path = GOLDEN if variant == 'default' else OTHERS
    known = json.loads(path.read_text())
    if os.environ.get(RENEW):
        known = numbers if path == GOLDEN else {**known, variant: numbers}
        indent = 1 if path == GOLDEN else None
        path.write_text(json.dumps(known, indent=indent) + '\n')
    golden = known if path == GOLDEN else known[variant]
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
