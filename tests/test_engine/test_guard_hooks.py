"""Hooks that watch a run: seeds of epochs, losses, broken videos."""

import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop

from hero_mm.engine.hooks import (
    BrokenVideoHook,
    EpochSeedHook,
    FiniteLossHook,
    guard_hooks,
)
from hero_mm.registry import HOOKS
from hero_mm.structures import GroundingDataSample


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
    name = 'hero_mm.engine.hooks.guard_hooks.get_rank'
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


@pytest.mark.parametrize(
    ('loop', 'batch'), [(IterBasedTrainLoop, 0), (EpochBasedTrainLoop, 1)]
)
def test_later_batches_and_loops_of_iterations_go_on_drawing(loop, batch):
    data = Data()
    before = torch.get_rng_state()
    runner = make_runner(data, loop=loop)
    EpochSeedHook().before_train_epoch(runner)
    EpochSeedHook().before_train_iter(runner, batch)
    assert len(data.told) == batch
    assert torch.equal(torch.get_rng_state(), before)


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
    monkeypatch.setattr(
        'hero_mm.engine.hooks.guard_hooks.all_reduce',
        lambda tensor, op: tensor.fill_(1),
    )
    with pytest.raises(FloatingPointError, match='finite in another process'):
        step(FiniteLossHook(interval=1), 0, 1.0)


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


def _data(*names, ann_file='a.json'):
    return SimpleNamespace(broken_videos=list(names), ann_file=ann_file)


def _runner(dataset, stage='train'):
    loader = SimpleNamespace(dataset=dataset)
    return SimpleNamespace(**{f'{stage}_dataloader': loader})


@pytest.fixture
def told(monkeypatch):
    lines = []
    monkeypatch.setattr(
        guard_hooks,
        'print_log',
        lambda message, **unused: lines.append(message),
    )
    return lines


@pytest.mark.parametrize(
    ('stage', 'what'),
    [
        ('train', 'were left out'),
        ('val', 'were left out and scored 0'),
        ('test', 'were left out and scored 0'),
    ],
)
def test_count_and_names(told, stage, what):
    hook = getattr(BrokenVideoHook(), f'after_{stage}')
    hook(_runner(_data('v1', 'v7'), stage))
    assert told == [f'2 broken videos of a.json {what}: v1, v7']
    for nothing in (_data(), [1]):
        hook(_runner(nothing, stage))
    assert len(told) == 1


def test_many(told):
    names = [f'v{number:02}' for number in range(52)]
    BrokenVideoHook().after_train(_runner(_data(*names)))
    assert told[0].endswith('v48, v49 and 2 more')


def test_all_processes_and_data_sets_in_wrappers(told, monkeypatch):
    monkeypatch.setattr(
        guard_hooks,
        'all_gather_object',
        lambda own: [own, [('a.json', ['b', 'c'])], [('x.json', ['d'])]],
    )
    other = _data('w', ann_file='x.json')
    many = SimpleNamespace(datasets=[_data('c', 'a'), other, [1]])
    BrokenVideoHook().after_train(_runner(SimpleNamespace(dataset=many)))
    assert told == [
        '3 broken videos of a.json were left out: a, b, c',
        '2 broken videos of x.json were left out: d, w',
    ]
