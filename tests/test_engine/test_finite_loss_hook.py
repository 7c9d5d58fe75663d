"""A loss that is not finite stops a training, and is named."""

from types import SimpleNamespace

import pytest
import torch

from hero_mm.engine.hooks import FiniteLossHook
from hero_mm.registry import HOOKS
from hero_mm.structures import GroundingDataSample


def step(hook, number: int, loss: float) -> None:
    sample = GroundingDataSample(metainfo=dict(video_id=f'v{number}'))
    hook.after_train_iter(
        SimpleNamespace(iter=number),
        number,
        dict(data_samples=[sample]),
        dict(loss=torch.tensor(loss)),
    )


@pytest.mark.parametrize('bad', [float('nan'), float('inf'), -float('inf')])
def test_the_first_bad_step_is_named(bad):
    hook = HOOKS.build(dict(type='FiniteLossHook', interval=5))
    for number in range(5):
        step(hook, number, 1.0)
    for number, loss in ((5, 1.0), (6, bad), (7, 1.0), (8, bad)):
        # It is looked at, and read at the interval.
        step(hook, number, loss)
    with pytest.raises(FloatingPointError, match='iteration 6, .* videos v6'):
        step(hook, 9, 1.0)


def test_the_end_of_an_epoch_is_read_before_it_is_saved():
    hook = FiniteLossHook(interval=100)
    step(hook, 0, 1.0)
    hook.after_train_epoch(SimpleNamespace())
    step(hook, 1, float('nan'))
    with pytest.raises(FloatingPointError, match='iteration 1, .* videos v1'):
        hook.after_train_epoch(SimpleNamespace())


def test_another_process_stops_this_one(monkeypatch):
    def other(tensor, op):
        assert op == 'max'
        tensor.fill_(7)

    monkeypatch.setattr(
        'hero_mm.engine.hooks.finite_loss_hook.all_reduce', other
    )
    hook = FiniteLossHook(interval=1)
    with pytest.raises(FloatingPointError, match='another process, .* 7'):
        step(hook, 0, 1.0)


def test_what_has_no_loss_is_passed_over():
    hook = FiniteLossHook(interval=1)
    hook.after_train_iter(SimpleNamespace(iter=0), 0, None, None)
    hook.after_train_iter(
        SimpleNamespace(iter=0), 0, None, dict(loss=torch.tensor(1.0))
    )
    with pytest.raises(FloatingPointError, match='videos unknown'):
        hook.after_train_iter(
            SimpleNamespace(iter=1), 1, [], dict(loss=torch.tensor(torch.nan))
        )
    with pytest.raises(ValueError, match='interval must be at least 1'):
        FiniteLossHook(interval=0)
