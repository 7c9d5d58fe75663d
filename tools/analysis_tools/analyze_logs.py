r"""Plot curves of trainings, or say how long their iterations took.

Examples::

    python tools/analysis_tools/analyze_logs.py plot_curve \
        work_dirs/hero_shapes --keys loss tube/m_vIoU --out curve.svg
    python tools/analysis_tools/analyze_logs.py cal_train_time \
        work_dirs/hero_shapes
"""

import argparse
import statistics
import sys
from collections.abc import Sequence
from typing import Optional

from hero_mm.errors import UserError, run_tool
from hero_mm.files import write_text
from hero_mm.visualization.charts import Series, line_chart
from hero_mm.visualization.training_log import TrainingLog, read_training_log


def parse_args(argv: Optional[Sequence[str]] = None) -> argparse.Namespace:
    """Read the command line; the flags are those of MMAction2."""
    parser = argparse.ArgumentParser(description='Analyze logs of training')
    tasks = parser.add_subparsers(dest='task', required=True)
    plot = tasks.add_parser('plot_curve', help='plot curves')
    times = tasks.add_parser(
        'cal_train_time', help='compute the time of an iteration'
    )
    for task in (plot, times):
        task.add_argument(
            'json_logs',
            nargs='+',
            help='scalars.json of a run, or a work dir: all its runs, the '
            'later ones where a resumed training repeats iterations',
        )
    plot.add_argument(
        '--keys', nargs='+', default=['loss'], help='what to plot (loss)'
    )
    plot.add_argument('--title', default='', help='title of the figure')
    plot.add_argument(
        '--legend', nargs='+', help='one name a log and key, logs first'
    )
    plot.add_argument('--out', required=True, help='SVG file to write')
    times.add_argument(
        '--include-outliers',
        action='store_true',
        help='count the first value of each epoch too, which holds the start '
        'of the workers',
    )
    return parser.parse_args(argv)


def read_log(path: str) -> TrainingLog:
    """Read a log that has something in it."""
    log = read_training_log(path)
    if not log.train and not log.scores:
        raise FileNotFoundError(
            f'{path} is no scalars.json with lines of a training, nor a work '
            'dir that has one in */vis_data/'
        )
    return log


def curve(
    log: TrainingLog, key: str, path: str, by_epoch: bool
) -> dict[int, float]:
    """Value by place on the axis."""
    if key in log.train:
        points = log.train[key]
    elif key in log.scores:
        points = log.scores[key]
        if log.by_epoch and not by_epoch:
            ends = epoch_ends(log)
            lost = sorted(points.keys() - ends.keys())
            if lost:
                raise UserError(
                    f'{path}: no line says at which iteration epoch '
                    f'{lost[0]} ended; plot scores by themselves'
                )
            points = {ends[place]: value for place, value in points.items()}
    else:
        known = sorted({*log.train, *log.scores})
        raise UserError(f'{path} has no {key!r}, but {", ".join(known)}')
    return dict(sorted(points.items()))


def epoch_ends(log: TrainingLog) -> dict[int, int]:
    """The last logged iteration of each epoch."""
    steps = sorted(log.train.get('epoch', {}).items())
    return {int(epoch): step for step, epoch in steps}


def plot_curve(args: argparse.Namespace) -> None:
    """Plot one line a log and key."""
    pairs = [(path, key) for path in args.json_logs for key in args.keys]
    legend = args.legend or [f'{path}_{key}' for path, key in pairs]
    if len(legend) != len(pairs):
        raise UserError(
            f'--legend has {len(legend)} names for {len(args.json_logs)} '
            f'log(s) with {len(args.keys)} key(s): give {len(pairs)}'
        )
    if not args.out.lower().endswith('.svg'):
        raise UserError(f'--out {args.out}: the name must end in .svg')
    logs = {path: read_log(path) for path in args.json_logs}
    by_epoch = all(
        log.by_epoch and not set(args.keys) & set(log.train)
        for log in logs.values()
    )
    curves = [curve(logs[path], key, path, by_epoch) for path, key in pairs]
    lines = [
        Series(name, list(points), list(points.values()))
        for name, points in zip(legend, curves)
    ]
    label = 'epoch' if by_epoch else 'iteration'
    write_text(args.out, line_chart(lines, args.title, label))
    print(f'curve written to {args.out}')


def epoch_times(
    log: TrainingLog, include_outliers: bool, name: str = 'time'
) -> dict[int, list[float]]:
    """Seconds an iteration, as logged, by epoch."""
    epochs = log.train.get('epoch', {})
    times: dict[int, list[float]] = {}
    for step, seconds in sorted(log.train.get(name, {}).items()):
        times.setdefault(int(epochs.get(step, 1)), []).append(seconds)
    if not include_outliers:
        times = {e: found[1:] or found for e, found in times.items()}
    return times


def cal_train_time(args: argparse.Namespace) -> None:
    """Print times of epochs and iterations of each log."""
    for path in args.json_logs:
        log = read_log(path)
        times = epoch_times(log, args.include_outliers)
        if not times:
            raise UserError(f'{path} has no time of an iteration')
        means = {epoch: statistics.fmean(t) for epoch, t in times.items()}
        slowest = max(means, key=lambda epoch: means[epoch])
        fastest = min(means, key=lambda epoch: means[epoch])
        values = [value for found in times.values() for value in found]
        loading = [
            value
            for found in epoch_times(
                log, args.include_outliers, 'data_time'
            ).values()
            for value in found
        ]
        print(f'-----Analyze train time of {path}-----')
        print(f'slowest epoch {slowest}, average time is', end=' ')
        print(f'{means[slowest]:.4f}')
        print(f'fastest epoch {fastest}, average time is', end=' ')
        print(f'{means[fastest]:.4f}')
        spread = statistics.pstdev(means.values())
        print(f'time std over epochs is {spread:.4f}')
        print(f'average iter time: {statistics.fmean(values):.4f} s/iter')
        if loading:
            print(f'of which data: {statistics.fmean(loading):.4f} s/iter')
        print()


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Plot, or print times."""
    args = parse_args(argv)
    dict(plot_curve=plot_curve, cal_train_time=cal_train_time)[args.task](args)


if __name__ == '__main__':
    sys.exit(run_tool(main))
