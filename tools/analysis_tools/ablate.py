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
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

from hero_mm.errors import UserError, explained, run_tool

with explained():
    import torch

    from hero_mm.apis import ablation
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
    parser.add_argument(
        'suite', help='name of a suite in configs/ablations, or a Python file'
    )
    parser.add_argument(
        '--out', type=Path, help='folder (work_dirs/ablations/SUITE)'
    )
    parser.add_argument(
        '--only', nargs='+', default=[], metavar='RUN', help='these runs alone'
    )
    parser.add_argument(
        '--jobs',
        type=int,
        help=f'runs side by side ({JOBS}; one a GPU where there are some)',
    )
    parser.add_argument(
        '--time-limit',
        type=float,
        metavar='MINUTES',
        help='stop then; the same command goes on',
    )
    parser.add_argument(
        '--retry', action='store_true', help='run again what has failed'
    )
    parser.add_argument(
        '--dry-run',
        action='store_true',
        help='say what would run and how far it is',
    )
    parser.add_argument(
        '--report',
        action='store_true',
        help='write tables and plots of what is there, and run nothing',
    )
    args = parser.parse_args(argv)
    if args.dry_run and args.report:
        parser.error('--dry-run writes nothing: leave --report away')
    if args.jobs is not None and args.jobs < 1:
        parser.error(f'--jobs must be 1 or more, got {args.jobs}')
    if args.time_limit is not None and args.time_limit <= 0:
        parser.error(f'--time-limit must be positive, got {args.time_limit}')
    return args


def dry_run(suite: ablation.Suite, out: Path, only: Sequence[str]) -> None:
    """Say what would run and how far each run is."""
    rows = [['run', 'seed', 'state', 'budget']]
    for folder in ablation.folders_of(suite, out, only):
        name, budget = folder.run.name, str(folder.run.budget)
        rows.append([name, str(folder.seed), folder.state(), budget])
    print('\n'.join(align_rows(rows)))


def interrupt(*unused: object) -> None:
    """Stop as Ctrl-C does, so that no training stays behind."""
    raise KeyboardInterrupt


def main(
    argv: Optional[Sequence[str]] = None,
    commands: Optional[ablation.Commands] = None,
) -> None:
    """Run the suite, then write the report."""
    args = parse_args(argv)
    suite = ablation.load_suite(args.suite, folder=SUITES)
    out = args.out or Path('work_dirs/ablations') / suite.name
    devices = torch.cuda.device_count()
    jobs = args.jobs or devices or JOBS
    if args.dry_run:
        dry_run(suite, out, args.only)
        return
    if args.report:
        print(f'Report: {ablation.write_report(suite, out)}')
        return
    signal.signal(signal.SIGTERM, interrupt)
    limit = args.time_limit
    outcome = ablation.Scheduler(
        suite,
        ablation.folders_of(suite, out, args.only),
        commands or ablation.Commands.of_tools(ROOT),
        jobs,
        None if limit is None else time.time() + 60 * limit,
        args.retry,
        devices,
        say=lambda line: print(line, flush=True),
    ).run()
    if outcome.left:
        print(
            f'{len(outcome.left)} runs are left: {", ".join(outcome.left)}. '
            'The same command goes on.'
        )
    else:
        print(f'Report: {ablation.write_report(suite, out)}')
    bad = {**outcome.failed, **outcome.blocked}
    if bad:
        raise UserError(
            f'{len(bad)} runs have no result: '
            + '; '.join(f'{label}: {why}' for label, why in bad.items())
        )


if __name__ == '__main__':
    sys.exit(run_tool(main))
