"""Seeds of epochs."""

import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop

from hero_mm.engine.hooks import EpochSeedHook
from hero_mm.registry import HOOKS


class Data:
    """Keeps what it is told."""

    def __init__(self):
        self.told = []

    def set_epoch(self, epoch, seed):
        self.told.append((epoch, seed))


def make_runner(dataset, epoch=2, seed=5, loop=EpochBasedTrainLoop):
    return SimpleNamespace(
        train_loop=loop.__new__(loop),
        epoch=epoch,
        seed=seed,
        train_dataloader=SimpleNamespace(dataset=dataset),
    )


def draw():
    return random.random(), np.random.rand(), torch.rand(1).item()


@pytest.fixture(autouse=True)
def leave_the_states_alone():
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    yield
    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.set_rng_state(states[2])


def test_epoch_and_seed_fix_what_is_drawn():
    hook = HOOKS.build(dict(type='EpochSeedHook'))
    drawn = []
    for epoch, seed in [(2, 5), (2, 5), (3, 5), (2, 6)]:
        draw()
        hook.before_train_iter(make_runner(Data(), epoch, seed), 0)
        drawn.append(draw())
    assert drawn[0] == drawn[1]
    for place in range(3):
        assert len({numbers[place] for numbers in drawn}) == 3


def test_processes_draw_differently(monkeypatch):
    name = 'hero_mm.engine.hooks.epoch_seed_hook.get_rank'
    drawn = set()
    for rank in (0, 1):
        monkeypatch.setattr(name, lambda rank=rank: rank)
        EpochSeedHook().before_train_iter(make_runner(Data()), 0)
        drawn.add(draw())
    assert len(drawn) == 2


def test_data_sets_are_told():
    one, other = Data(), Data()
    EpochSeedHook().before_train_epoch(make_runner(one))
    many = SimpleNamespace(datasets=[one, other, object()])
    EpochSeedHook().before_train_epoch(make_runner(many, epoch=3))
    assert one.told == [(2, 5), (3, 5)] and other.told == [(3, 5)]


def test_a_loop_of_iterations_is_left_alone():
    data = Data()
    torch.manual_seed(0)
    before = torch.get_rng_state()
    runner = make_runner(data, loop=IterBasedTrainLoop)
    EpochSeedHook().before_train_epoch(runner)
    EpochSeedHook().before_train_iter(runner, 0)
    assert data.told == []
    assert torch.equal(torch.get_rng_state(), before)


def test_later_batches_go_on_drawing():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    EpochSeedHook().before_train_iter(make_runner(Data()), 1)
    assert torch.equal(torch.get_rng_state(), before)
