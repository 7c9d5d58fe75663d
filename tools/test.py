"""Test a model: ``python tools/test.py CONFIG CHECKPOINT --dump F.json``."""

import argparse
import os
import sys
from pathlib import Path

from mmengine.config import Config

from hero_mm.errors import UserError, explained, run_tool

with explained():
    from hero_mm.apis.checkpoint import (
        check_weights,
        find_checkpoint,
        read_checkpoint,
    )
    from hero_mm.engine import launch


def parse_args() -> argparse.Namespace:
    """Read the command line; the flags are those of MMAction2."""
    parser = argparse.ArgumentParser(description='Test a grounding model')
    parser.add_argument('config', help='config file')
    parser.add_argument(
        'checkpoint', help='checkpoint file, or a work dir: its best one'
    )
    parser.add_argument(
        '--dump',
        metavar='FILE.json',
        help='write the predicted tubes (.json; FILE.DATASET.json where '
        'several data sets are scored), or what the model gave (.pkl)',
    )
    parser.add_argument(
        '--show-dir', help='folder to draw the predicted tubes in'
    )
    parser.add_argument(
        '--interval', type=int, default=1, help='draw every n-th clip'
    )
    launch.add_common_arguments(parser)
    return parser.parse_args()


def merge_args(cfg: Config, args: argparse.Namespace) -> None:
    """Apply the flags of testing to a config."""
    if args.show_dir is not None:
        draw_into(cfg, args.show_dir, args.interval)
    if args.dump is not None:
        dump_into(cfg, args.dump, args.checkpoint)


def draw_into(cfg: Config, folder: str, interval: int) -> None:
    """Turn the drawing hook of a config on."""
    hook = cfg.get('default_hooks', {}).get('visualization')
    if hook is None:
        raise UserError(
            '--show-dir needs a hook that draws, and the config has no '
            'default_hooks.visualization; take it from '
            'configs/_base_/default_runtime.py'
        )
    hook.update(enable=True, out_dir=folder, interval=interval)


def dump_into(cfg: Config, path: str, checkpoint: str) -> None:
    """Let the evaluator of a config write the predictions."""
    evaluators = cfg.test_evaluator
    if not isinstance(evaluators, (list, tuple)):
        evaluators = [evaluators]
    evaluators = list(evaluators)
    if path.endswith(('.pkl', '.pickle')):
        evaluators.append(dict(type='DumpResults', out_file_path=path))
    elif path.endswith('.json'):
        tubes = [e for e in evaluators if e['type'].endswith('TubeMetric')]
        if not tubes:
            raise UserError(
                "--dump FILE.json needs a TubeMetric in the config's "
                'test_evaluator'
            )
        for metric in tubes if tubes[0].get('dataset') else tubes[:1]:
            name = metric.get('dataset')
            metric['dump'] = f'{path[:-5]}.{name}.json' if name else path
            if os.path.isfile(checkpoint):
                metric['checkpoint'] = checkpoint
    else:
        raise UserError(
            f'--dump {path!r}: the name must end in .json (tubes) or .pkl '
            '(everything)'
        )
    cfg.test_evaluator = evaluators


def main() -> None:
    """Test by the command line."""
    args = parse_args()
    path = args.checkpoint = find_checkpoint(args.checkpoint)
    if args.work_dir is None and Path(path).is_file():
        # The folder of a training keeps its own config.
        args.work_dir = str(Path(path).parent / 'test')
    # Without a file name MMEngine writes the config under the time of the
    # test, and replaces that of no other test.
    cfg = Config(launch.load_config(args).to_dict())
    cfg.setdefault('experiment_name', Path(args.config).stem)
    merge_args(cfg, args)
    # Loaded by the runner, so that its hooks (moving averages) are ready.
    cfg.load_from, cfg.resume = path, False
    launch.join_processes(cfg)
    launch.prepare_data(cfg)
    launch.check_data(cfg, 'test_dataloader')
    runner = launch.build_runner(cfg)
    weights = read_checkpoint(path)['state_dict']
    check_weights(runner.model, weights, path)
    runner.test()
    launch.leave_processes()


if __name__ == '__main__':
    sys.exit(run_tool(main))
