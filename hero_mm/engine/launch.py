"""What ``tools/train.py`` and ``tools/test.py`` share.

Configs are read and changed by the flags of MMAction2, processes are joined,
and data that a config can make is made.
"""

import argparse
import os
import pkgutil
from datetime import timedelta
from pathlib import Path
from typing import Any

from mmengine.config import Config, DictAction
from mmengine.logging import print_log

from hero_mm.errors import UserError

from ..compat import init_cpu_launcher
from ..config import read_config
from ..datasets.source import missing_data
from ..pretrained.fetching import replace_loaders
from ..pretrained.reading import add_trust_argument
from ..registry import RUNNERS
from .strategy_runner import scale_by_steps

LAUNCHERS = ('none', 'pytorch', 'slurm', 'mpi')
PREPARATION_LIMIT = timedelta(hours=6)


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that training and testing share."""
    parser.add_argument(
        '--work-dir', help='folder of logs, checkpoints and scores'
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='change the config: train_cfg.max_epochs=3, '
        'key="[a,b]" or key="[(a,b),(c,d)]" without spaces',
    )
    add_trust_argument(parser)
    parser.add_argument(
        '--launcher', choices=LAUNCHERS, default='none', help='job launcher'
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)


def load_config(args: argparse.Namespace) -> Config:
    """Read the config of a tool and apply the shared flags.

    The work dir is, in this order: ``--work-dir``, the config's own, and
    ``work_dirs/<name of the config>``.
    """
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    options = {'launcher': args.launcher, **(args.cfg_options or {})}
    cfg = read_config(args.config, options)
    mend_loaders(cfg)
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs') / Path(args.config).stem)
    return cfg


def mend_loaders(cfg: Config) -> None:
    """Leave out what workers are asked for where there are none."""
    for name, loader in cfg.items():
        if not name.endswith('_dataloader') or not isinstance(loader, dict):
            continue
        if loader.get('num_workers', 0):
            continue
        for key in ('persistent_workers', 'prefetch_factor'):
            if loader.pop(key, None):
                said = f'{name} has no workers (num_workers=0)'
                print_log(f'{said}: {key} is left out', logger='current')


def check_batches(runner: Any) -> None:
    """Refuse a training without a single batch."""
    loader = runner.train_dataloader
    if len(loader):
        return
    world = runner.world_size
    raise UserError(
        f'the training data has {len(loader.dataset)} clips, fewer than '
        f'{(loader.batch_size or 1) * world}: {world} processes take '
        f'{loader.batch_size} each, and drop_last leaves out what is less. '
        'Lower train_dataloader.batch_size, or set '
        'train_dataloader.drop_last=False'
    )


def join_processes(cfg: Config) -> None:
    """Join the process group of the launcher, on any device."""
    from mmengine.dist import init_dist, is_distributed

    init_cpu_launcher(cfg)
    if cfg.launcher != 'none' and not is_distributed():
        init_dist(cfg.launcher, **cfg.get('env_cfg', {}).get('dist_cfg', {}))


def leave_processes() -> None:
    """Leave the process group, after all others have done their work.

    What a process leaves to its exit may abort it there. Errors do not come
    here: to wait for the others would be to hang.
    """
    from torch import distributed

    if distributed.is_available() and distributed.is_initialized():
        distributed.barrier()
        distributed.destroy_process_group()


def prepare_data(cfg: Config) -> None:
    """Make the data of a config that knows how to.

    ``prepare`` in a config is a step or a list of steps, each a dict with
    ``type``, the full name of a function, and its arguments. The first
    process takes the steps, the others wait.
    """
    steps = cfg.get('prepare') or []
    if not steps:
        return
    from mmengine.dist import is_distributed, is_main_process

    if is_main_process():
        for step in [steps] if isinstance(steps, dict) else steps:
            take_step(dict(step))
    if is_distributed():
        import torch.distributed as dist

        # Rendering may outlast the timeout of the group of the training.
        dist.barrier(dist.new_group(backend='gloo', timeout=PREPARATION_LIMIT))


def take_step(step: dict[str, Any]) -> None:
    """Call the function that a step of ``prepare`` names."""
    name = step.pop('type', None)
    try:
        function = pkgutil.resolve_name(str(name))
    except (AttributeError, ImportError, ValueError) as error:
        raise UserError(
            f'prepare in the config: {name!r} is no function ({error}); give '
            'its full name, for instance hero_mm.datasets.shapes.build_shapes'
        ) from error
    function(**step)


def check_data(cfg: Config, *loaders: str) -> None:
    """Say what data is missing, before anything large is built."""
    found: dict[str, None] = {}
    for name in loaders:
        dataset = (cfg.get(name) or {}).get('dataset')
        if isinstance(dataset, dict):
            found.update(dict.fromkeys(missing_data(dataset)))
    if found:
        raise FileNotFoundError('\n'.join(found))


def build_runner(cfg: Config) -> Any:
    """Build the runner of a config, MMEngine's own or that it names."""
    # This process is ours, whatever the config imports.
    replace_loaders()
    if 'runner_type' in cfg:
        return RUNNERS.build(cfg)
    from mmengine.runner import Runner

    runner = Runner.from_cfg(cfg)
    runner.auto_scale_lr = scale_by_steps(cfg)
    return runner
