"""Plots of a suite: score against clips, against compute, against a fact."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hero_mm.files import write_text
from hero_mm.visualization.charts import Series, line_chart

from .results import Row
from .suite import MAIN_METRIC, Plot

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

    Examples:
        >>> slug('Equal clips, 2 seeds')
        'equal-clips-2-seeds'
    """
    return re.sub(r'[^a-z0-9]+', '-', text.lower()).strip('-')


def draw_curves(title: str, rows: Sequence[Row], out: Path) -> Iterator[Path]:
    """Draw the scores of the validations along the trainings.

    A plot against clips and one against seconds; paths of those that there
    is something to draw of.
    """
    # What another suite has trained is drawn there.
    runs = {
        row.run.name: row
        for row in rows
        if row.results and row.run.budget.kind != 'trained'
    }
    on_gpu = any(row.value('gpu_seconds') for row in runs.values())
    seconds = 'gpu_seconds' if on_gpu else 'cpu_seconds'
    # The file of the cost has the time of a GPU as that of the clock.
    keys = {'clips': 'clips', seconds: 'wall_seconds' if on_gpu else seconds}
    for kind, key in keys.items():
        lines = [
            Series(name, [x for x, _ in points], [y for _, y in points])
            for name, row in runs.items()
            for result in row.results.values()
            if (points := _curve(result, key))
        ]
        path = out / f'{slug(title)}-{slug(kind)}.svg'
        if _write(
            path, title, lines, LABELS[kind], f'{MAIN_METRIC}, validation'
        ):
            yield path


def _curve(result: Mapping[str, Any], x: str) -> list[tuple[float, float]]:
    """Points of a training."""
    found = []
    for point in result['curve']:
        scores = {
            name.rpartition('/')[2]: value
            for name, value in point['scores'].items()
            if name.count('/') < 2
        }
        if MAIN_METRIC in scores:
            found.append((float(point[x]), float(scores[MAIN_METRIC])))
    return found


def draw_plot(
    plot: Plot, series: Mapping[str, Sequence[Row]], path: Path
) -> bool:
    """Draw a plot that the suite asks for; False without anything to draw."""
    lines = []
    for name, rows in series.items():
        found = []
        for row in rows:
            x, y = row.value(plot.x), row.value(MAIN_METRIC)
            if x is not None and y is not None:
                found.append((x, y, row.means[MAIN_METRIC].spread or 0.0))
        if found:
            xs, ys, spreads = zip(*sorted(found))
            lines.append(Series(name, xs, ys, spreads))
    label = plot.x_label or LABELS.get(plot.x, plot.x)
    return _write(path, plot.title, lines, label, MAIN_METRIC)


def _write(
    path: Path, title: str, lines: Sequence[Series], x: str, y: str
) -> bool:
    svg = line_chart(lines, title, x, y, from_zero=False)
    if svg:
        write_text(path, svg)
    return bool(svg)
