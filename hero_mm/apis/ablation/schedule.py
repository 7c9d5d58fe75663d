"""Configs of the trainings and tests of a run."""

from collections.abc import Mapping
from typing import Any

from mmengine.config import Config
from mmengine.fileio import join_path

from hero_mm.datasets.source import unwrapped
from hero_mm.errors import UserError

# What a schedule counts, by name of its argument.
COUNTS = ('begin', 'end', 'total_steps', 'T_max', 'total_iters', 'step_size')
WARMUP_ITERS = 8
CALIBRATION_CLIPS = 160


def iterations_of(clips: float, cfg: Config) -> int:
    """Steps in which a number of clips is trained, at least one."""
    loader = cfg.get('train_dataloader') or {}
    sampler = loader.get('batch_sampler') or {}
    size = loader.get('batch_size') or sampler.get('batch_size')
    if not size:
        raise UserError(
            f'{cfg.filename} does not say how many clips a batch has: '
            'train_dataloader.batch_size is missing'
        )
    return max(1, round(clips / size))


def fit_training(cfg: Config, iterations: int, warmup: int = 0) -> None:
    """Let a config train a number of iterations, and count the cost.

    The schedules of the learning rate are stretched or pressed to it, so that
    the rate comes to the end of its cycle. Validation stays where it is: at
    the end of each epoch, and of the training.
    """
    old = cfg.train_cfg
    schedules = cfg.get('param_scheduler') or []
    if isinstance(schedules, Mapping):
        schedules = [schedules]
    fitted = [
        _fit(dict(one), iterations, old.get('max_epochs'), cfg.filename)
        for one in schedules
    ]
    cfg.param_scheduler = fitted or None
    cfg.train_cfg = dict(
        type='hero_mm.BudgetTrainLoop',
        max_iters=iterations,
        val_interval=old.get('val_interval', 1),
    )
    cfg.custom_hooks = [
        *(cfg.get('custom_hooks') or []),
        dict(type='hero_mm.TrainingCostHook', warmup=warmup),
        dict(type='hero_mm.DeadlineHook'),
    ]


def _fit(
    one: dict[str, Any], iterations: int, epochs: Any, path: Any
) -> dict[str, Any]:
    """A schedule by iterations, from one by epochs."""
    kind = str(one.get('type')).rpartition('.')[2]
    if not one.get('by_epoch', True):
        for key in COUNTS:
            if one.get(key, 0) > iterations:
                raise UserError(
                    f'{path}: {kind} counts {one[key]} iterations ({key}), '
                    f'and the budget is {iterations}; write it by epochs, or '
                    'give a larger budget'
                )
        return one
    if not epochs or 'milestones' in one:
        raise UserError(
            f'{path}: {kind} cannot be fitted to a number of clips; write it '
            'by epochs, with train_cfg.max_epochs and without milestones'
        )
    one.pop('convert_to_iter_based', None)
    for key in COUNTS:
        if one.get(key) is not None:
            one[key] = round(one[key] * iterations / epochs)
    if kind.startswith('OneCycle') and 'end' not in one:
        one.setdefault('total_steps', iterations)
    one['by_epoch'] = False
    return one


def fit_calibration(cfg: Config) -> None:
    """Let a config train a little, only to measure the cost of a clip."""
    steps = WARMUP_ITERS + iterations_of(CALIBRATION_CLIPS, cfg)
    fit_training(cfg, steps, WARMUP_ITERS)
    cfg.default_hooks.checkpoint = None


def annotation_of(cfg: Config) -> tuple[str, str]:
    """Annotation file and protocol of the tests of a config."""
    dataset = unwrapped(cfg, 'test', 'ann_file')
    path = dataset.get('ann_file') or ''
    if path and dataset.get('data_root'):
        path = join_path(dataset['data_root'], path)
    evaluators = cfg.test_evaluator
    for one in [evaluators] if isinstance(evaluators, Mapping) else evaluators:
        if str(one.get('type')).endswith('TubeMetric'):
            return path, one.get('protocol', 'tubedetr')
    return path, ''
