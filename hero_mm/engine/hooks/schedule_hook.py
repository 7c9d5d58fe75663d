"""The learning rate is that of the schedule, also after a resume.

MMEngine stores schedules counted in iterations. With another number of
processes, clips or epochs they would go on in silence, and be wrong.
"""

import logging
import math
import warnings
from collections.abc import Iterator
from typing import Any

from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import EpochBasedTrainLoop, Runner

from hero_mm.config import check_settings
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
    epoch (or iteration) with the schedule of the config instead. Learning
    rates that MMEngine scales by the batch (``auto_scale_lr``) count gradients
    that are accumulated, too.

    Args:
        rescale (bool): Take the schedule of the config where it differs from
            that of the checkpoint. ``tools/train.py --rescale-schedule`` sets
            it. Defaults to False.
    """

    def __init__(self, rescale: bool = False) -> None:
        self.rescale = rescale
        self._scaled = False

    def before_run(self, runner: Runner) -> None:
        """Scale the rate, find what is resumed; refuse what has no effect."""
        if not isinstance(runner.optim_wrapper, OptimWrapper):
            return
        check_settings(runner.cfg)
        if runner._resume and runner._load_from is None:
            from hero_mm.apis.checkpoint import find_resumable

            # MMEngine's own way goes by the place that was written down.
            runner._load_from = find_resumable(runner.work_dir)
        scale = runner.auto_scale_lr or {}
        count = _accumulation(runner)
        if scale.get('enable') and count > 1 and not self._scaled:
            self._scaled = True
            for _, wrapper in _wrappers(runner):
                for group in wrapper.optimizer.param_groups:
                    for key in {'lr', 'initial_lr'} & group.keys():
                        group[key] *= count
            for _, scheduler in _schedulers(runner):
                if scheduler.param_name == 'lr':
                    groups = scheduler.optimizer.param_groups
                    scheduler.base_values = [g['initial_lr'] for g in groups]
            runner.logger.info(
                f'The rate is scaled by another {count}: the gradients of '
                f'{count} iterations are a step'
            )

    def before_train(self, runner: Runner) -> None:
        """Refuse schedules that end before the training."""
        for name, scheduler in _schedulers(runner):
            whole = _length(runner, scheduler)
            for key in ('total_steps', 'T_max'):
                if not hasattr(scheduler, key):
                    continue
                last = scheduler.begin + getattr(scheduler, key)
                unit = 'epochs' if scheduler.by_epoch else 'iterations'
                said = (
                    f'{name} ends after {last} {unit} ({key}), the training '
                    f'after {whole}'
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
        differences = [
            *_other_facts(meta.get(KEY) or {}, now),
            *_other_schedulers(runner, checkpoint),
        ]
        if isinstance(runner.train_loop, EpochBasedTrainLoop):
            length = now['epoch_length']
            then = meta.get(KEY, {}).get('epoch_length')
            if then is None:
                # Of another hook; BudgetTrainLoop cuts its last epoch.
                then = meta['iter'] / max(meta['epoch'], 1) or length
            if then != length:
                meta['iter'] = meta['epoch'] * length
                differences.append(
                    f'{then:g} iterations an epoch, now {length}'
                )
        if not differences or not list(_schedulers(runner)):
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


def _wrappers(runner: Any) -> Iterator[tuple[str, Any]]:
    """Optimizer wrappers of a runner by name."""
    if isinstance(runner.optim_wrapper, OptimWrapperDict):
        yield from runner.optim_wrapper.items()
    else:
        yield '', runner.optim_wrapper


def _schedulers(runner: Any) -> Iterator[tuple[str, Any]]:
    """Schedulers of a runner, which has built them, by name."""
    found = runner.param_schedulers or []
    groups = found if isinstance(found, dict) else {'': found}
    for name, schedulers in groups.items():
        for one in schedulers:
            yield f'{name}.{type(one).__name__}'.lstrip('.'), one


def _length(runner: Any, scheduler: Any) -> int:
    return runner.max_epochs if scheduler.by_epoch else runner.max_iters


def _accumulation(runner: Any) -> int:
    """Iterations whose gradients are one step."""
    return max(
        getattr(wrapper, '_accumulative_counts', 1)
        for _, wrapper in _wrappers(runner)
    )


def _facts(runner: Any) -> dict[str, int]:
    loader = runner.train_dataloader
    batch = getattr(loader, 'batch_size', None)
    sampler = getattr(loader, 'batch_sampler', None)
    return dict(
        processes=get_world_size(),
        clips=batch or getattr(sampler, 'batch_size', 0),
        accumulated=_accumulation(runner),
        epoch_length=len(loader),
    )


def _other_facts(then: dict[str, int], now: dict[str, int]) -> list[str]:
    """How the clips of a step differ."""
    sizes, words = [], []
    for facts in (then, now):
        size = math.prod(
            facts.get(key, 1) for key in ('processes', 'clips', 'accumulated')
        )
        sizes.append(size)
        words.append(
            f'{size} clips a step (of {facts.get("processes")} processes '
            f'with {facts.get("clips")} clips, {facts.get("accumulated")} '
            'times)'
        )
    if not then or sizes[0] == sizes[1]:
        return []
    return [f'{words[0]}, now {words[1]}']


def _other_schedulers(runner: Any, checkpoint: dict) -> list[str]:
    """What differs in the schedulers, but for where they stand."""
    stored = checkpoint.get('param_schedulers') or []
    if isinstance(stored, dict):
        stored = [one for group in stored.values() for one in group]
    fresh = list(_schedulers(runner))
    if len(stored) != len(fresh):
        return [f'{len(stored)} schedulers, now {len(fresh)}']
    found = []
    for (name, scheduler), then in zip(fresh, stored):
        for key, value in scheduler.state_dict().items():
            if key in MOVING or key.startswith('_') or callable(value):
                continue
            if key not in then:
                found.append(f'a scheduler of another kind, now {name}')
                break
            old = then[key]
            if _alike(old, value):
                continue
            if isinstance(value, list):
                # A number for each group of parameters.
                pairs = [p for p in zip(old, value) if not _alike(*p)]
                old, value = pairs[0] if pairs else (len(old), len(value))
            found.append(f'{name}.{key} {_short(old)}, now {_short(value)}')
    return found


def _short(value: Any) -> str:
    return f'{value:.6g}' if isinstance(value, float) else f'{value!s:.60}'


def _alike(one: Any, other: Any) -> bool:
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_alike, one, other))
    if one is None or other is None:
        return one is other
    if isinstance(one, float) or isinstance(other, float):
        return abs(one - other) <= 1e-9 * max(abs(one), abs(other))
    return bool(one == other)


def _rescale(runner: Any, checkpoint: dict) -> None:
    """Step the fresh schedulers to where the training is."""
    if isinstance(runner.optim_wrapper, OptimWrapperDict):
        raise UserError(
            'the schedules of several optimizers are not rescaled: train '
            'with what the checkpoint had'
        )
    meta, length = checkpoint['meta'], len(runner.train_dataloader)
    schedulers = [scheduler for _, scheduler in _schedulers(runner)]
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
