"""Train a model: ``python tools/train.py configs/hero_shapes.py``."""

import argparse
import sys
from pathlib import Path
from typing import Optional

from mmengine.config import Config
from mmengine.device import get_device
from torch import Tensor

from hero_mm.errors import UserError, explained, run_tool

with explained():
    from hero_mm.apis.checkpoint import (
        check_resumable,
        check_weights,
        is_sharded,
        read_checkpoint,
        read_resumable,
    )
    from hero_mm.engine import launch
    from hero_mm.engine.optim_wrappers import has_bfloat16
    from hero_mm.engine.work_lock import hold_work_dir

AMP_OF = {'OptimWrapper', 'AmpOptimWrapper', 'BFloat16OptimWrapper'}


def parse_args() -> argparse.Namespace:
    """Read the command line; the flags are those of MMAction2."""
    parser = argparse.ArgumentParser(description='Train a grounding model')
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='go on from a checkpoint, or from the last one in the work dir',
    )
    parser.add_argument(
        '--rescale-schedule',
        action='store_true',
        help='with --resume: go on with the schedule of the config where '
        'processes, clips a step or epochs are others than before',
    )
    parser.add_argument(
        '--amp', action='store_true', help='train in mixed precision'
    )
    parser.add_argument(
        '--no-validate', action='store_true', help='train without validation'
    )
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate by the batch size, see '
        'auto_scale_lr.base_batch_size in the config',
    )
    parser.add_argument('--seed', type=int, help='random seed')
    parser.add_argument(
        '--diff-rank-seed',
        action='store_true',
        help='give every process a seed of its own',
    )
    parser.add_argument(
        '--deterministic',
        action='store_true',
        help='use deterministic algorithms',
    )
    launch.add_common_arguments(parser)
    return parser.parse_args()


def merge_args(cfg: Config, args: argparse.Namespace) -> None:
    """Apply the flags of training to a config."""
    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    if args.amp:
        use_amp(cfg)
    if args.resume is not None:
        cfg.resume = True
        cfg.load_from = None if args.resume == 'auto' else args.resume
    if args.rescale_schedule:
        hook = cfg.get('default_hooks', {}).get('schedule')
        if hook is None or not cfg.get('resume'):
            raise UserError(
                '--rescale-schedule goes with --resume and '
                'default_hooks.schedule of configs/_base_/default_runtime.py'
            )
        hook.rescale = True
    if args.auto_scale_lr:
        scale_rate(cfg, args.config)
    randomness = {'seed': None, **(cfg.get('randomness') or {})}
    for name in ('seed', 'diff_rank_seed', 'deterministic'):
        value = getattr(args, name)
        if value is not None and value is not False:
            randomness[name] = value
    cfg.randomness = randomness


def scale_rate(cfg: Config, path: str) -> None:
    """Let MMEngine scale the learning rate of the optimizer."""
    if 'base_batch_size' not in cfg.get('auto_scale_lr', {}):
        raise UserError(
            '--auto-scale-lr needs auto_scale_lr=dict(base_batch_size=N) '
            f'in {path}'
        )
    schedules = cfg.get('param_scheduler') or []
    if not isinstance(schedules, (list, tuple)):
        schedules = [schedules]
    for schedule in schedules:
        if str(schedule.get('type')).endswith('OneCycleLR'):
            raise UserError(
                '--auto-scale-lr scales the rate of the optimizer, and '
                f'OneCycleLR in {path} sets its own: scale its eta_max '
                f'({schedule.get("eta_max")}) instead, by batch size / '
                f'{cfg.auto_scale_lr.base_batch_size}'
            )
    cfg.auto_scale_lr.enable = True


def use_amp(cfg: Config) -> None:
    """Put a wrapper for mixed precision in the place of the plain one."""
    kind = cfg.optim_wrapper.get('type', 'OptimWrapper')
    if kind.rpartition('.')[2] not in AMP_OF:
        raise UserError(
            f'--amp goes with {", ".join(sorted(AMP_OF))}, and the config '
            f'has optim_wrapper of type {kind!r}'
        )
    if get_device() == 'cpu' or has_bfloat16():
        cfg.optim_wrapper.type = 'hero_mm.BFloat16OptimWrapper'
        cfg.optim_wrapper.everywhere = True
        for name in ('loss_scale', 'dtype', 'use_fsdp'):
            cfg.optim_wrapper.pop(name, None)
    else:
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.pop('everywhere', None)
        cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')


def take_up(cfg: Config) -> tuple[Optional[str], dict[str, Tensor]]:
    """Read the checkpoint that a training goes on from, if any.

    Its seed becomes that of the config, for samplers are built before
    MMEngine reads the checkpoint. A folder of shards is left to the strategy
    of the config.
    """
    path = cfg.get('load_from')
    if not cfg.get('resume') or is_sharded(path):
        return None, {}
    if path:
        checkpoint = read_checkpoint(path)
        check_resumable(checkpoint, path)
    else:
        path, checkpoint = read_resumable(cfg.work_dir)
        cfg.load_from = path
    if not checkpoint:
        return None, {}
    seed = (checkpoint.get('meta') or {}).get('seed')
    if seed is not None:
        cfg.randomness.seed = seed
    return path, checkpoint['state_dict']


def main() -> None:
    """Train by the command line."""
    args = parse_args()
    cfg = launch.load_config(args)
    merge_args(cfg, args)
    launch.join_processes(cfg)
    launch.prepare_data(cfg)
    launch.check_data(cfg, 'train_dataloader', 'val_dataloader')
    # Makes the folder, which nobody wants where data is missing.
    hold_work_dir(cfg.work_dir, Path(cfg.filename).name)
    path, weights = take_up(cfg)
    runner = launch.build_runner(cfg)
    launch.check_batches(runner)
    if path is not None:
        check_weights(runner.model, weights, path)
    runner.train()
    launch.leave_processes()


if __name__ == '__main__':
    sys.exit(run_tool(main))
