"""The moving average whose memory grows."""

import pytest
from torch import nn

from hero_mm.registry import MODELS


def run(steps: int, momentum: float, values=None) -> float:
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 100.0)
    average = MODELS.build(
        dict(type='RampedAverage', momentum=momentum),
        default_args=dict(model=model),
    )
    for step in range(steps):
        nn.init.constant_(model.weight, values(step) if values else 1.0)
        average.update_parameters(model)
    return average.module.weight.item()


def test_the_random_start_is_forgotten_early():
    # mmengine's own average with this momentum would still be above 90.
    assert run(40, 0.0002) == pytest.approx(1.0, abs=0.05)


def test_the_first_steps_weigh_nine_tenths_and_less():
    # Copied at step 0; then by 9 / 11: 100 * 2 / 11 of the start is left.
    assert run(2, 0.0002, lambda step: 0.0 if step else 100.0) == (
        pytest.approx(100 * 2 / 11)
    )


def test_the_momentum_is_a_floor():
    assert run(500, 0.5, values=float) == pytest.approx(498, abs=0.1)
