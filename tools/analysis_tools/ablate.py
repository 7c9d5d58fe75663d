r"""Train the runs of a suite at equal cost, and compare them in pairs.

Examples::

    python tools/analysis_tools/ablate.py parts --dry-run
    python tools/analysis_tools/ablate.py parts --time-limit 30
    python tools/analysis_tools/ablate.py parts --only full joint
    python tools/analysis_tools/ablate.py parts --report

What is done is not done again: the same command goes on. A suite is a file in
configs/ablations/, or one of your own (docs/ablations.md).
"""

import argparse
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Optional

from hero_mm.errors import UserError, explained, run_tool

with explained():
    import torch

    from hero_mm.apis import ablation
    from hero_mm.apis.ablation.scheduler import commands_of, jobs_of
    from hero_mm.evaluation.functional.table import align_rows

ROOT = Path(__file__).resolve().parents[2]
SUITES = ROOT / 'configs/ablations'
# Two runs of one thread share two cores.
JOBS = 2


def parse_args(argv: Optional[Sequence[str]] = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description='Train the runs of a suite and compare them'
    )
    add = parser.add_argument
    add('suite', help='name of a suite in configs/ablations, or a Python file')
    add('--out', type=Path, help='folder (work_dirs/ablations/SUITE)')
    add('--only', nargs='+', default=[], metavar='RUN', help='these alone')
    add('--jobs', type=int, help=f'runs side by side ({JOBS}; one a GPU)')
    limit = 'stop then; the same command goes on'
    add('--time-limit', type=float, metavar='MINUTES', help=limit)
    add('--retry', action='store_true', help='run again what has failed')
    modes = parser.add_mutually_exclusive_group()
    text = 'say what would run and how far it is'
    modes.add_argument('--dry-run', action='store_true', help=text)
    text = 'write tables and plots of what is there, and run nothing'
    modes.add_argument('--report', action='store_true', help=text)
    args = parser.parse_args(argv)
    if args.jobs is not None and args.jobs < 1:
        parser.error(f'--jobs must be 1 or more, got {args.jobs}')
    if args.time_limit is not None and args.time_limit <= 0:
        parser.error(f'--time-limit must be positive, got {args.time_limit}')
    return args


def find_suite(name: str) -> Path:
    """The file of a suite."""
    path = Path(name) if name.endswith('.py') else SUITES / f'{name}.py'
    if not path.is_file():
        known = sorted(path.stem for path in SUITES.glob('*.py'))
        raise FileNotFoundError(
            f'there is no suite {path}; give a Python file or one of {known}'
        )
    return path


def main(
    argv: Optional[Sequence[str]] = None,
    commands: Optional[Mapping[str, Sequence[str]]] = None,
) -> None:
    """Run the suite, then write the report."""
    args = parse_args(argv)
    suite = ablation.load_suite(find_suite(args.suite))
    out = args.out or Path('work_dirs/ablations') / suite.name
    jobs = jobs_of(suite, out, args.only)
    if args.dry_run:
        rows = [['run', 'seed', 'state', 'budget']]
        for job in jobs:
            run, budget = job.run.name, str(job.run.budget)
            rows.append([run, str(job.seed), job.state(), budget])
        print('\n'.join(align_rows(rows)))
        return
    if args.report:
        print(f'Report: {ablation.write_report(suite, out)}')
        return
    # It stops as Ctrl-C does, so that no training stays behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    limit, devices = args.time_limit, torch.cuda.device_count()
    scheduler = ablation.Scheduler(
        suite,
        jobs,
        commands or commands_of(ROOT),
        args.jobs or devices or JOBS,
        None if limit is None else time.time() + 60 * limit,
        args.retry,
        devices,
        say=partial(print, flush=True),
    )
    scheduler.run()
    left, failed = scheduler.left, scheduler.failed
    if left:
        print(
            f'{len(left)} runs are left: {", ".join(left)}. '
            'The same command goes on.'
        )
    else:
        print(f'Report: {ablation.write_report(suite, out)}')
    if failed:
        raise UserError(
            f'{len(failed)} runs have no result: '
            + '; '.join(f'{label}: {why}' for label, why in failed.items())
        )


if __name__ == '__main__':
    sys.exit(run_tool(main))
