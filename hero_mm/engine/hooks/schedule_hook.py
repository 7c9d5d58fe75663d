"""The learning rate is that of the schedule, also after a resume.

MMEngine stores schedules counted in iterations. With another number of
processes, clips or epochs they would go on in silence, and be wrong.
"""

import logging
import math
import warnings
from typing import Any

from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import EpochBasedTrainLoop, Runner

from hero_mm.errors import UserError
from hero_mm.registry import HOOKS

KEY = 'schedule'
# What moves while a scheduler is stepped.
MOVING = {'last_step', 'verbose'}


@HOOKS.register_module()
class ScheduleHook(Hook):
    """Compares the schedule of a checkpoint with that of the config.

    Schedulers must reach to the end of the training, and a training is
    resumed with the schedule that it had. With ``rescale`` it goes on at its
    epoch (or iteration) with the schedule of the config instead. The schedules
    of several optimizers are left alone.

    Args:
        rescale (bool): Take the schedule of the config where it differs from
            that of the checkpoint. ``tools/train.py --rescale-schedule`` sets
            it. Defaults to False.
    """

    def __init__(self, rescale: bool = False) -> None:
        self.rescale = rescale

    def before_run(self, runner: Runner) -> None:
        """Find what is resumed; MMEngine goes by the place written down."""
        if runner._resume and runner._load_from is None:
            from hero_mm.apis.checkpoint import find_resumable

            runner._load_from = find_resumable(runner.work_dir)

    def before_train(self, runner: Runner) -> None:
        """Refuse schedules that end before the training."""
        for scheduler in _schedulers(runner):
            by_epoch = scheduler.by_epoch
            whole = runner.max_epochs if by_epoch else runner.max_iters
            for key in ('total_steps', 'T_max'):
                if not hasattr(scheduler, key):
                    continue
                last = scheduler.begin + getattr(scheduler, key)
                said = (
                    f'{type(scheduler).__name__} ends after {last} '
                    f'{"epochs" if by_epoch else "iterations"} ({key}), the '
                    f'training after {whole}'
                )
                cure = f'leave {key} out, and it follows the training'
                if last < min(whole, scheduler.end):
                    raise UserError(f'{said}: {cure}, or give its end')
                if last > whole:
                    print_log(
                        f'{said}: the rate does not come to its end; {cure}',
                        logger='current',
                        level=logging.WARNING,
                    )

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Keep how many clips a step has."""
        checkpoint['meta'][KEY] = _facts(runner)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Say what a new training takes over, refuse another schedule."""
        if not hasattr(getattr(runner, '_train_loop', None), '_iter'):
            return
        from hero_mm.apis.checkpoint import check_resumable, taken_over

        if not runner._resume:
            weights = checkpoint.get('state_dict', checkpoint)
            said = taken_over(runner.model, weights)
            runner.logger.info(f'{runner._load_from}: {said}')
            return
        check_resumable(checkpoint, runner._load_from or 'the checkpoint')
        meta, now = checkpoint['meta'], _facts(runner)
        then = {**now, **meta.get(KEY, {})}
        differences = _other_schedulers(runner, checkpoint)
        if _clips(then) != _clips(now):
            differences.append(
                f'{_clips(then)} clips a step, now {_clips(now)}'
            )
        length = now['epoch_length']
        is_by_epoch = isinstance(runner.train_loop, EpochBasedTrainLoop)
        if is_by_epoch and then['epoch_length'] != length:
            meta['iter'] = meta['epoch'] * length
            differences.append(
                f'{then["epoch_length"]} iterations an epoch, now {length}'
            )
        if not differences or not _schedulers(runner):
            return
        said = '; '.join(differences)
        if not self.rescale:
            raise UserError(
                f'the checkpoint was trained with another schedule: {said}. '
                'The learning rate would be wrong from here on. Train with '
                'what it had, or add --rescale-schedule (in a config: '
                'default_hooks.schedule.rescale=True): it then goes on at '
                'its epoch with the schedule of the config'
            )
        _rescale(runner, checkpoint)
        runner.logger.info(f'The schedule is that of the config: {said}')


def _schedulers(runner: Any) -> list[Any]:
    """Schedulers of a runner, which has built them, of one optimizer."""
    found = runner.param_schedulers
    return found if isinstance(found, list) else []


def _facts(runner: Any) -> dict[str, int]:
    loader = runner.train_dataloader
    batch = getattr(loader, 'batch_size', None)
    sampler = getattr(loader, 'batch_sampler', None)
    return dict(
        processes=get_world_size(),
        clips=batch or getattr(sampler, 'batch_size', 0),
        accumulated=getattr(runner.optim_wrapper, '_accumulative_counts', 1),
        epoch_length=len(loader),
    )


def _clips(facts: dict[str, int]) -> int:
    """Clips of a step of the optimizer."""
    return math.prod(
        facts[key] for key in ('processes', 'clips', 'accumulated')
    )


def _other_schedulers(runner: Any, checkpoint: dict) -> list[str]:
    """What differs in the schedulers, but for where they stand."""
    stored = checkpoint.get('param_schedulers') or []
    fresh = _schedulers(runner)
    if len(stored) != len(fresh):
        return [f'{len(stored)} schedulers, now {len(fresh)}']
    found = []
    for scheduler, then in zip(fresh, stored):
        for key, value in scheduler.state_dict().items():
            if key in MOVING or key.startswith('_') or callable(value):
                continue
            old, new = _rounded(then.get(key)), _rounded(value)
            if old != new:
                name = f'{type(scheduler).__name__}.{key}'
                found.append(f'{name} {old!s:.60}, now {new!s:.60}')
    return found


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_rounded(one) for one in value]
    return float(f'{value:.8g}') if isinstance(value, float) else value


def _rescale(runner: Any, checkpoint: dict) -> None:
    """Step the fresh schedulers to where the training is."""
    meta, length = checkpoint['meta'], len(runner.train_dataloader)
    schedulers = _schedulers(runner)
    with warnings.catch_warnings():
        # There is no step of the optimizer before that of the schedule.
        warnings.simplefilter('ignore')
        for step in range(1, meta['iter'] + 1):
            for scheduler in schedulers:
                if not scheduler.by_epoch or step % length == 0:
                    scheduler.step()
    names = {scheduler.param_name for scheduler in schedulers}
    wanted = [p + n for p in ('', 'initial_', 'max_', 'min_') for n in names]
    stored = checkpoint['optimizer']
    places = [*stored['param_groups'], stored.get('base_param_settings') or {}]
    for old, new in zip(places, runner.optim_wrapper.param_groups):
        old.update({key: new[key] for key in wanted if key in new})
    checkpoint['param_schedulers'] = [one.state_dict() for one in schedulers]
