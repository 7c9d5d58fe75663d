"""Plots of a suite: score against clips, against compute, against a fact."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

from hero_mm.visualization.charts import PALETTE, close_figure, open_axes

from .results import Row
from .suite import Plot, Suite

SIZE = (7.0, 4.5)
LABELS = {
    'clips': 'clips trained',
    'cpu_seconds': 'CPU-seconds of training',
    'gpu_seconds': 'GPU-seconds of training',
    'gflops': 'GFLOPs a clip',
    'ms': 'milliseconds a clip',
    'params': 'parameters',
}


def slug(text: str) -> str:
    """A name of a file.

    Args:
        text (str): A title.

    Examples:
        >>> slug('Equal clips, 2 seeds')
        'equal-clips-2-seeds'
    """
    return re.sub(r'[^a-z0-9]+', '-', text.lower()).strip('-')


def draw_curves(
    suite: Suite, title: str, rows: Sequence[Row], out: Path
) -> Iterator[Path]:
    """Draw the scores of the validations along the trainings.

    Args:
        suite (Suite): The suite.
        title (str): Of the table that the rows are of.
        rows (Sequence[Row]): Runs; each is drawn once.
        out (Path): Folder of the plots.

    Yields:
        Path: Of the plots against clips and against seconds, where there is
        something to draw.
    """
    # What another suite has trained is drawn there.
    runs = {
        row.run.name: row
        for row in rows
        if row.results and row.run.budget.kind != 'trained'
    }
    on_gpu = any(row.value('gpu_seconds') for row in runs.values())
    seconds = 'gpu_seconds' if on_gpu else 'cpu_seconds'
    # The file of the cost tells the time of a GPU as that of the clock.
    keys = {'clips': 'clips', seconds: 'wall_seconds' if on_gpu else seconds}
    for x, key in keys.items():
        lines = {
            name: [
                curve
                for result in row.results.values()
                if (curve := _curve(result, key, suite.main_metric))
            ]
            for name, row in runs.items()
        }
        if not any(lines.values()):
            continue
        path = out / f'{slug(title)}-{slug(x)}.svg'
        _draw(
            path, title, lines, LABELS[x], f'{suite.main_metric}, validation'
        )
        yield path


def _curve(
    result: Mapping[str, Any], x: str, metric: str
) -> list[tuple[float, float]]:
    """Points of a training."""
    found = []
    for point in result['curve']:
        scores = {
            name.rpartition('/')[2]: value
            for name, value in point['scores'].items()
            if name.count('/') < 2
        }
        if metric in scores:
            found.append((float(point[x]), float(scores[metric])))
    return found


def draw_plot(
    plot: Plot, series: Mapping[str, Sequence[Row]], path: Path
) -> bool:
    """Draw a plot that the suite asks for.

    Args:
        plot (Plot): What lies on the axes.
        series (Mapping): Rows by name of the line.
        path (Path): File to write.

    Returns:
        bool: False where there is nothing to draw.
    """
    lines: dict[str, list[list[tuple[float, float]]]] = {}
    spreads: dict[str, list[Optional[float]]] = {}
    for name, rows in series.items():
        found = []
        for row in rows:
            x, y = row.value(plot.x), row.value(plot.metric)
            if x is not None and y is not None:
                found.append((x, y, row.means[plot.metric].spread))
        found.sort(key=lambda point: point[0])
        if found:
            lines[name] = [[(x, y) for x, y, _ in found]]
            spreads[name] = [spread for *_, spread in found]
    if not lines:
        return False
    label = plot.x_label or LABELS.get(plot.x, plot.x)
    _draw(path, plot.title, lines, label, plot.metric, spreads)
    return True


def _draw(
    path: Path,
    title: str,
    lines: Mapping[str, Sequence[Sequence[tuple[float, float]]]],
    x_label: str,
    y_label: str,
    spreads: Optional[Mapping[str, Sequence[Optional[float]]]] = None,
) -> None:
    """Write a figure; the lines of a name share their colour."""
    import matplotlib

    # The same numbers give the same file.
    matplotlib.rcParams['svg.hashsalt'] = 'hero_mm'
    axes: Any = open_axes(SIZE, show=False, out=path)
    for place, (name, curves) in enumerate(lines.items()):
        style = dict(
            color=PALETTE[place % len(PALETTE)],
            linestyle=('-', '--', ':')[place // len(PALETTE) % 3],
            marker='o',
            markersize=4,
        )
        label: Optional[str] = name
        for curve in curves:
            xs, ys = zip(*curve)
            told = (spreads or {}).get(name)
            if told and any(told):
                errors = [spread or 0.0 for spread in told]
                axes.errorbar(xs, ys, errors, label=label, capsize=3, **style)
            else:
                axes.plot(xs, ys, label=label, **style)
            label = None
    axes.set(title=title, xlabel=x_label, ylabel=y_label)
    axes.grid(alpha=0.3)
    axes.legend(fontsize='small', loc='upper left', bbox_to_anchor=(1.01, 1.0))
    close_figure(axes, show=False, out=path)
