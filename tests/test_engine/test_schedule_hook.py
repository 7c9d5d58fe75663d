"""A resumed training has the learning rate of its schedule."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from tiny_runner import loader, make_runner

from hero_mm.apis.checkpoint import find_resumable
from hero_mm.engine.hooks import schedule_hook
from hero_mm.registry import HOOKS

ONE_CYCLE = dict(
    type='OneCycleLR', eta_max=0.1, by_epoch=True, convert_to_iter_based=True
)
COSINE = dict(
    type='CosineAnnealingLR',
    eta_min_ratio=0.01,
    by_epoch=True,
    convert_to_iter_based=True,
)
pytestmark = pytest.mark.usefixtures('our_loaders')
WARM_UP = dict(type='LinearLR', start_factor=0.01, by_epoch=False, end=3)


class Rates(Hook):
    """The rate of each iteration."""

    priority = 'VERY_HIGH'

    def __init__(self):
        self.seen = {}

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.seen[runner.iter] = runner.optim_wrapper.get_lr()['lr'][0]


def train(
    work,
    epochs=4,
    batch=2,
    stop=None,
    schedulers=(ONE_CYCLE,),
    rescale=False,
    resume=False,
    accumulated=1,
    rate=0.1,
    **more,
):
    """Rates of a plain runner with our hooks, by iteration."""
    rates = Rates()
    runner = make_runner(
        work,
        epochs,
        optim_wrapper=dict(
            optimizer=dict(type='SGD', lr=rate, momentum=0.9),
            accumulative_counts=accumulated,
            paramwise_cfg=dict(custom_keys=dict(one=dict(lr_mult=0.1))),
        ),
        train_dataloader=loader(16, batch),
        param_scheduler=list(schedulers) or None,
        default_hooks=dict(
            checkpoint=dict(type='hero_mm.SafeCheckpointHook', interval=1),
            schedule=dict(type='hero_mm.ScheduleHook', rescale=rescale),
        ),
        custom_hooks=[rates],
        resume=resume,
        **more,
    )
    if stop is not None:

        class Stop(Hook):
            def after_train_epoch(self, runner):
                runner.train_loop.stop_training = runner.epoch + 1 >= stop

        runner.register_hook(Stop(), 'LOWEST')
    runner.train()
    return rates.seen


COS, BOTH = dict(schedulers=(COSINE,)), dict(schedulers=(WARM_UP, COSINE))
# Another form of it.
MIN = dict(schedulers=(dict(COSINE, eta_min=1e-4, eta_min_ratio=None),))


@pytest.mark.parametrize(
    ('then', 'now', 'said'),
    [
        (dict(), dict(epochs=6), 'OneCycleLR.total_steps 32, now 48'),
        (dict(), dict(batch=4), '8 iterations an epoch, now 4'),
        (dict(), dict(batch=4), '2 clips a step, now 4'),
        (BOTH, BOTH | dict(epochs=5), 'CosineAnnealingLR.T_max 32, now 40'),
        (BOTH, COS, '2 schedulers, now 1'),
        (COS, dict(), 'OneCycleLR.total_steps None, now 32'),
        (MIN, COS, 'CosineAnnealingLR.eta_min 0.0001, now None'),
        (COS, COS | dict(rate=0.2), 'base_values .* 0.1, 0.1.*, now .* 0.2'),
        (COS, COS | dict(accumulated=2), '2 clips a step, now 4'),
    ],
)
def test_another_schedule_is_refused(tmp_path, then, now, said):
    train(tmp_path / 'work', stop=2, **then)
    with pytest.raises(ValueError, match=said):
        train(tmp_path / 'work', resume=True, **now)


@pytest.mark.parametrize('schedulers', [(ONE_CYCLE,), (WARM_UP, COSINE)])
@pytest.mark.parametrize(
    'now', [dict(epochs=6), dict(batch=4), dict(epochs=6, batch=1, rate=0.2)]
)
def test_on_request_it_is_that_of_the_config(tmp_path, now, schedulers):
    """From its epoch on as if it had been so from the start."""
    whole = train(tmp_path / 'whole', schedulers=schedulers, **now)
    train(tmp_path / 'work', schedulers=schedulers, stop=2)
    rates = train(
        tmp_path / 'work',
        schedulers=schedulers,
        resume=True,
        rescale=True,
        **now,
    )
    start = 2 * 16 // now.get('batch', 2)
    assert min(rates) == start and max(rates) == max(whole)
    for place, rate in rates.items():
        assert rate == pytest.approx(whole[place], rel=1e-6), place
    ratio = rates[max(rates)] / max(whole.values())
    assert ratio < 0.03, 'it comes to its end'


def test_the_same_schedule_goes_on(tmp_path, monkeypatch):
    whole = train(tmp_path / 'whole')
    train(tmp_path / 'work', stop=2)
    rates = train(tmp_path / 'work', resume=True)
    assert rates == pytest.approx({k: whole[k] for k in range(16, 32)})
    # Twice the processes with half the clips are as many a step.
    train(tmp_path / 'two', stop=2)
    monkeypatch.setattr(schedule_hook, 'get_world_size', lambda: 2)
    with pytest.raises(ValueError, match='2 clips a step, now 4'):
        train(tmp_path / 'two', resume=True)


def test_without_a_schedule_more_epochs_are_fine(tmp_path):
    train(tmp_path / 'work', stop=2, schedulers=())
    rates = train(tmp_path / 'work', resume=True, epochs=6, schedulers=())
    assert sorted(rates) == list(range(16, 48))
    # The count of iterations follows the length of an epoch.
    rates = train(tmp_path / 'work', resume=True, epochs=7, schedulers=())
    assert sorted(rates) == list(range(48, 56))


def test_an_epoch_that_was_cut_off_is_not_another_length(tmp_path):
    """Of a number of iterations the last epoch is not whole."""
    scheduler = dict(type='OneCycleLR', eta_max=0.1, by_epoch=False)
    loop = dict(
        schedulers=(scheduler,),
        train_cfg=dict(type='hero_mm.BudgetTrainLoop', max_iters=12),
    )
    assert len(train(tmp_path / 'work', **loop)) == 12
    # Done: nothing is left to train, and nothing to complain of.
    assert train(tmp_path / 'work', resume=True, **loop) == {}
    loop['train_cfg']['max_iters'] = 20
    with pytest.raises(ValueError, match='OneCycleLR.total_steps 12, now 20'):
        train(tmp_path / 'work', resume=True, **loop)


def test_a_copy_goes_on_from_itself(tmp_path):
    work = tmp_path / 'work'
    train(work, stop=2)
    copy = work.rename(tmp_path / 'copy')
    train(work, stop=1)
    assert min(train(copy, resume=True)) == 16
    assert find_resumable(copy) == str(copy / 'epoch_4.pth')


@pytest.mark.parametrize('missing', ['optimizer', 'message_hub', 'meta'])
def test_what_no_training_can_go_on_from_is_refused(tmp_path, missing):
    train(tmp_path / 'work', stop=1)
    path = tmp_path / 'part.pth'
    whole = torch.load(tmp_path / 'work/epoch_1.pth', weights_only=False)
    del whole[missing]
    torch.save(whole, path)
    with pytest.raises(ValueError, match=f'part.pth holds no {missing}: no'):
        train(tmp_path / 'work', resume=True, load_from=str(path))


def test_a_schedule_that_ends_early_is_refused(tmp_path):
    for scheduler, key in (
        (dict(ONE_CYCLE, total_steps=3), 'total_steps'),
        (dict(COSINE, T_max=3), 'T_max'),
    ):
        with pytest.raises(
            ValueError,
            match=rf'ends after 24 iterations \({key}\), the training after '
            f'32: leave {key} out',
        ):
            train(tmp_path / 'work', schedulers=(scheduler,))
    two = (
        dict(COSINE, T_max=2, end=2),
        dict(COSINE, T_max=2, begin=2, end=4),
    )
    train(tmp_path / 'work', schedulers=two)


def test_a_runner_without_training_is_left_alone():
    hook = HOOKS.build(dict(type='ScheduleHook'))
    hook.after_load_checkpoint(SimpleNamespace(_resume=False), {})


def test_what_a_new_training_takes_over_is_said(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(MMLogger, 'info', lambda self, text: said.append(text))
    train(tmp_path / 'a', epochs=1)
    path = tmp_path / 'a/epoch_1.pth'
    found = torch.load(path, weights_only=False)
    del found['state_dict']['one.bias']
    found['state_dict']['one.weight'] = torch.ones(2, 1)
    torch.save(found, path)
    assert not any('taken over' in str(text) for text in said)
    train(tmp_path / 'b', epochs=1, load_from=str(path))
    assert f'{path}: 2 of 4 weights are taken over' in said
