r"""Plot curves of trainings.

Example::

    python tools/analysis_tools/analyze_logs.py plot_curve \
        work_dirs/hero_shapes --keys loss tube/m_vIoU --out curve.svg
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Optional

from hero_mm.errors import UserError, run_tool
from hero_mm.files import write_text
from hero_mm.visualization.charts import Series, line_chart
from hero_mm.visualization.training_log import read_training_log


def parse_args(argv: Optional[Sequence[str]] = None) -> argparse.Namespace:
    """Read the command line; the flags are those of MMAction2."""
    parser = argparse.ArgumentParser(description='Plot curves of trainings.')
    parser.add_argument('task', choices=['plot_curve'])
    parser.add_argument(
        'json_logs',
        nargs='+',
        help='scalars.json of a run, or a work dir: all its runs, the later '
        'ones where a resumed training repeats iterations',
    )
    parser.add_argument(
        '--keys', nargs='+', default=['loss'], help='what to plot (loss)'
    )
    parser.add_argument('--out', required=True, help='SVG file to write')
    args = parser.parse_args(argv)
    if not args.out.lower().endswith('.svg'):
        parser.error(f'--out {args.out}: the name must end in .svg')
    return args


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Plot one line a log and key."""
    args = parse_args(argv)
    logs = {path: read_training_log(path) for path in args.json_logs}
    by_epoch = all(
        log.by_epoch and not set(args.keys) & set(log.train)
        for log in logs.values()
    )
    lines = []
    for path, log in logs.items():
        curves = {**log.scores, **log.train}
        # Scores beside losses stand at the last iteration of their epoch.
        epochs = sorted(log.train.get('epoch', {}).items())
        ends = {int(epoch): step for step, epoch in epochs}
        for key in args.keys:
            if key not in curves:
                known = ', '.join(sorted(curves)) or 'nothing'
                raise UserError(
                    f'{path} has no {key!r} but {known}; give a scalars.json '
                    'of a training, or a work dir with one in */vis_data/'
                )
            steps, values = zip(*sorted(curves[key].items()))
            if log.by_epoch and not by_epoch and key not in log.train:
                steps = tuple(ends.get(epoch, float('nan')) for epoch in steps)
            name = key if len(logs) == 1 else f'{path} {key}'
            lines.append(Series(name, steps, values))
    label = 'epoch' if by_epoch else 'iteration'
    write_text(args.out, line_chart(lines, '', label))
    print(f'curve written to {args.out}')


if __name__ == '__main__':
    sys.exit(run_tool(main))
