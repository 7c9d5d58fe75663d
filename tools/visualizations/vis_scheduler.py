r"""Plot the learning rate of a config, iteration by iteration.

The training is simulated by MMEngine's runner, with the schedulers, the hooks
and the multipliers of the config and a model of one number.

Example::

    python tools/visualizations/vis_scheduler.py configs/hero_vidstg.py \
        --dataset-size 36202 --ngpus 8 --not-show --save-path lr.png
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional

import torch
from mmengine.config import Config, DictAction
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader

from hero_mm.errors import UserError, explained, run_tool

with explained():
    from hero_mm.config import read_config
    from hero_mm.datasets.source import missing_data
    from hero_mm.evaluation.functional.table import align_rows
    from hero_mm.registry import DATASETS
    from hero_mm.visualization.charts import close_figure, open_axes

NAMES = dict(lr='Learning Rate', momentum='Momentum')


class KeyModel(BaseModel):
    """One number for each key of ``paramwise_cfg``, and one for the rest.

    Args:
        keys (Sequence[str]): Parts of names of parameters.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        super().__init__()
        self.data_preprocessor = nn.Identity()
        self.rest = nn.Parameter(torch.zeros(1))
        # Below a part, so that keys that begin with a dot are found too.
        self.part = nn.Module()
        for key in keys:
            owner = self.part
            for name in key.strip('.').split('.'):
                if name not in dict(owner.named_children()):
                    owner.add_module(name, nn.Module())
                owner = getattr(owner, name)
            owner.number = nn.Parameter(torch.zeros(1))

    def forward(self, *args: Any, **kwargs: Any) -> None:
        """Nothing is computed."""

    def train_step(self, data: Any, optim_wrapper: Any) -> dict[str, Any]:
        """Nothing is learned: there are no gradients."""
        optim_wrapper.step()
        return {}


class RecordHook(Hook):
    """Keep what each group of parameters is trained with.

    Args:
        parameter (str): ``'lr'`` or ``'momentum'``.
    """

    priority = 'VERY_HIGH'

    def __init__(self, parameter: str) -> None:
        self.parameter = parameter
        self.rows: list[list[float]] = []

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None
    ) -> None:
        """Keep the values that an iteration is trained with."""
        wrapper: Any = runner.optim_wrapper
        found = getattr(wrapper, f'get_{self.parameter}')()
        self.rows.append(list(found[self.parameter]))


def parse_args(argv: Optional[Sequence[str]] = None) -> argparse.Namespace:
    """Read the command line; the flags are those of MMAction2."""
    parser = argparse.ArgumentParser(
        description='Plot the schedule of a training'
    )
    add = parser.add_argument
    add('config', help='config file')
    add('-p', '--parameter', default='lr', choices=list(NAMES), help='(lr)')
    add('-d', '--dataset-size', type=int, help='clips; default: counted')
    add('-n', '--ngpus', type=int, default=1, help='processes (1)')
    add('-s', '--save-path', type=Path, help='file of the figure')
    add('--title', help='title of the figure')
    add('--not-show', action='store_true', help='open no window')
    add('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE')
    args = parser.parse_args(argv)
    for name in ('ngpus', 'dataset_size'):
        value = getattr(args, name)
        if value is not None and value < 1:
            flag = name.replace('_', '-')
            parser.error(f'--{flag} must be 1 or more, got {value}')
    return args


def dataset_size(cfg: Config) -> int:
    """Build the training data of a config and count its clips."""
    dataset = cfg.train_dataloader.dataset
    missing = list(missing_data(dataset))
    if missing:
        raise FileNotFoundError(
            '\n'.join(missing) + '\n  or say how many clips it has with '
            '--dataset-size'
        )
    return len(DATASETS.build(dataset))


def epoch_length(cfg: Config, size: int, ngpus: int) -> int:
    """Iterations of an epoch of ``size`` clips that processes share."""
    loader = cfg.train_dataloader
    # Every process gets as many; some clips come twice.
    share = -(-size // ngpus)
    count = share // loader.batch_size
    if not loader.get('drop_last'):
        count = -(-share // loader.batch_size)
    if count < 1:
        raise UserError(
            f'{size} clips on {ngpus} process(es) are no whole batch of '
            f'{loader.batch_size}: an epoch would have no iteration'
        )
    return int(count)


def counts_iterations(cfg: Config) -> bool:
    """Whether a training knows no epochs."""
    kind = str(cfg.train_cfg.get('type', ''))
    by_epoch = cfg.train_cfg.get('by_epoch', True)
    return kind.endswith('IterBasedTrainLoop') or not by_epoch


def plain_wrapper(cfg: Config) -> dict[str, Any]:
    """The optimizer of a config without mixed precision, which needs a GPU."""
    wrapper = dict(cfg.optim_wrapper)
    if str(wrapper.get('type')).endswith('AmpOptimWrapper'):
        wrapper['type'] = 'OptimWrapper'
        for name in ('loss_scale', 'dtype', 'use_fsdp'):
            wrapper.pop(name, None)
    return wrapper


def simulate(
    cfg: Config, length: int, args: argparse.Namespace
) -> dict[str, list[float]]:
    """Run the schedule of a config."""
    paramwise = cfg.optim_wrapper.get('paramwise_cfg') or {}
    model = KeyModel(list(paramwise.get('custom_keys') or {}))
    record = RecordHook(args.parameter)
    batch = cfg.train_dataloader.batch_size * args.ngpus
    none = ('runtime_info', 'timer', 'logger', 'checkpoint', 'sampler_seed')
    hooks = dict.fromkeys(none) | dict(
        param_scheduler=cfg.get('default_hooks', {}).get(
            'param_scheduler', dict(type='ParamSchedulerHook')
        ),
        # Scales the rate by gradients that are accumulated.
        schedule=dict(type='hero_mm.ScheduleHook'),
    )
    with tempfile.TemporaryDirectory() as folder:
        runner = Runner(
            model=model,
            work_dir=folder,
            train_dataloader=DataLoader(range(length * batch), batch),
            train_cfg=cfg.train_cfg,
            optim_wrapper=plain_wrapper(cfg),
            param_scheduler=cfg.get('param_scheduler'),
            auto_scale_lr=cfg.get('auto_scale_lr'),
            default_hooks=hooks,
            custom_hooks=[*(cfg.get('custom_hooks') or []), record],
            default_scope=cfg.get('default_scope', 'hero_mm'),
            log_level='WARNING',
            visualizer=dict(type='Visualizer', vis_backends=[]),
            experiment_name=Path(folder).name,
        )
        runner.train()
    columns = [list(column) for column in zip(*record.rows)]
    names = [name for name, _ in model.named_parameters()]
    if len(columns) != len(names):
        # No multipliers: one group for all parameters.
        names = ['rest']
    return {
        name.removeprefix('part.').removesuffix('.number'): column
        for name, column in zip(names, columns)
    }


def summary(curves: dict[str, list[float]]) -> list[list[str]]:
    """The table of first, largest and last values."""
    rows = [['parameters', 'first', 'largest', 'at iteration', 'last']]
    for name, values in curves.items():
        top = max(range(len(values)), key=values.__getitem__)
        numbers = [f'{values[k]:.4g}' for k in (0, top, -1)]
        rows.append([name, *numbers[:2], str(top), numbers[2]])
    return rows


def draw(
    axes: Any,
    curves: dict[str, list[float]],
    length: int,
    args: argparse.Namespace,
) -> None:
    """Draw the curves and write or show them."""
    for name, values in curves.items():
        axes.plot(values, linewidth=1, label=name)
    if len(curves) > 1:
        axes.legend()
    axes.set_xlabel('Iters')
    if length:
        axes.xaxis.tick_top()
        axes.xaxis.set_label_position('top')
        epochs = axes.secondary_xaxis(
            'bottom',
            functions=(lambda x: x / length, lambda x: x * length),
        )
        epochs.set_xlabel('Epochs')
    name = NAMES[args.parameter]
    axes.set_ylabel(name)
    axes.set_title(args.title or f'{Path(args.config).name} {name} curve')
    close_figure(axes, not args.not_show, args.save_path)
    if args.save_path is not None:
        print(f'The {name} graph is saved at {args.save_path}')


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Simulate, print a table, draw."""
    args = parse_args(argv)
    cfg = read_config(args.config, args.cfg_options)
    init_default_scope(cfg.get('default_scope', 'hero_mm'))
    # First, so that a wrong flag is named before the work is done.
    axes = open_axes(not args.not_show, args.save_path)
    by_epoch = not counts_iterations(cfg)
    if by_epoch:
        size = args.dataset_size or dataset_size(cfg)
        length = epoch_length(cfg, size, args.ngpus)
        print(f'Clips:                {size}')
        print(f'Clips of a batch:     {cfg.train_dataloader.batch_size}')
        print(f'Processes:            {args.ngpus}')
        print(f'Iterations per epoch: {length}')
    else:
        length = cfg.train_cfg.max_iters
        print(f'Iterations:           {length}')
    curves = simulate(cfg, length, args)
    print('\n'.join(align_rows(summary(curves))))
    draw(axes, curves, length if by_epoch else 0, args)


if __name__ == '__main__':
    sys.exit(run_tool(main))
