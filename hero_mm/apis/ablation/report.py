"""The report of a suite: Markdown, CSV and plots.

Scores are shown in percent, differences in percent points.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Optional

from hero_mm.evaluation.comparison import LEVEL
from hero_mm.files import write_text
from hero_mm.texts import csv_text
from hero_mm.visualization.charts import Series, line_chart
from hero_mm.visualization.report_tables import interval, percent, points
from hero_mm.visualization.video_writer import PathLike

from .results import Mean, Results, Row
from .suite import MAIN_METRIC, METRICS, Comparison, Plot, Suite

DASH = '–'
REPORT, TABLE = 'report.md', 'table.csv'
LABELS = {
    'clips': 'clips trained',
    'cpu_seconds': 'CPU-seconds of training',
    'gpu_seconds': 'GPU-seconds of training',
    'gflops': 'GFLOPs a clip',
    'ms': 'milliseconds a clip',
    'params': 'parameters',
}


def write_report(suite: Suite, out: PathLike) -> Path:
    """Write tables and plots of what is in the folder of a suite.

    Returns:
        Path: Of the Markdown file, which lies there too.
    """
    out = Path(out)
    results = Results(suite, out)
    tables = [(table, results.rows(table)) for table in suite.comparisons]
    lines = [f'# Ablations: {suite.name}', '', *_facts(tables)]
    for table, rows in tables:
        lines += ['', f'## {table.title}', '', *_markdown(rows), '']
        lines += _notes(rows)
        for path in draw_curves(table.title, rows, out):
            lines += ['', f'![{path.stem}]({path.name})']
    for plot in suite.plots:
        path = out / f'{slug(plot.title)}.svg'
        series = {
            name: [results.row(text) for text in texts]
            for name, texts in plot.series.items()
        }
        lines += ['', f'## {plot.title}', '']
        if draw_plot(plot, series, path):
            lines.append(f'![{path.stem}]({path.name})')
        else:
            lines.append('Nothing to draw yet.')
    write_text(out / TABLE, _csv(_table_lines(tables)))
    write_text(out / REPORT, '\n'.join(lines) + '\n')
    return out / REPORT


Tables = Sequence[tuple[Comparison, Sequence[Row]]]


def _facts(tables: Tables) -> list[str]:
    """When it was written, and with which code."""
    results = [
        result
        for _, rows in tables
        for row in rows
        for result in row.results.values()
    ]
    commits = sorted({str(r.get('commit'))[:12] for r in results})
    devices = sorted({str(r.get('device')) for r in results})
    return [
        f'- written: {datetime.now():%Y-%m-%d %H:%M}',
        f'- commits: {", ".join(commits) or "none"} (a + marks changed files)',
        f'- trained on: {", ".join(devices) or "nothing yet"}',
    ]


def _markdown(rows: Sequence[Row]) -> list[str]:
    """A table, a row a model."""
    head = ['run', 'seeds', *METRICS, f'{MAIN_METRIC} to the reference']
    head += [f'{LEVEL:.0%} interval'.replace('%', ' %'), 'parameters']
    head += ['GFLOPs a clip', 'ms a clip', 'clips', 'CPU-s', 'GPU-s']
    lines = [head, ['---'] * len(head)]
    for row in rows:
        difference = row.differences.get(MAIN_METRIC)
        shown = DASH
        if difference is not None:
            shown = f'{points(difference.value)} ({row.reference})'
        lines.append(
            [
                row.text,
                f'{len(row.results)} of {len(row.run.seeds)}',
                *(score_text(row.means.get(key)) for key in METRICS),
                shown,
                interval(difference) if difference else DASH,
                _number(row.value('params'), '{:,.0f}'),
                _number(row.value('gflops'), '{:.3g}'),
                _number(row.value('ms'), '{:.1f}'),
                _number(row.value('clips'), '{:,.0f}'),
                _number(row.value('cpu_seconds'), '{:,.0f}'),
                _number(row.value('gpu_seconds') or None, '{:,.0f}'),
            ]
        )
    cells = [
        [cell.replace('|', '\\|') for cell in line]
        for line in _without_empty(lines)
    ]
    return [f'| {" | ".join(line)} |' for line in cells]


def _without_empty(lines: list[list[str]]) -> list[list[str]]:
    """The column of the GPU is left out where nothing used one."""
    if all(line[-1] == DASH for line in lines[2:]):
        return [line[:-1] for line in lines]
    return lines


def score_text(mean: Optional[Mean]) -> str:
    """A score in percent, with its standard deviation over the seeds.

    Examples:
        >>> score_text(Mean((0.5, 0.52))), score_text(Mean((0.5,)))
        ('51.0 ± 1.4', '50.0')
    """
    if mean is None:
        return DASH
    if mean.spread is None:
        return percent(mean.mean)
    return f'{percent(mean.mean)} ± {percent(mean.spread)}'


def _number(value: Optional[float], form: str) -> str:
    return DASH if value is None else form.format(value)


def _notes(rows: Sequence[Row]) -> list[str]:
    """How to read the table, and all that is missing in it."""
    lines = [
        'Scores in percent, ± the standard deviation over the seeds. '
        'Difference: the run minus the reference, in percent points, at the '
        'seeds that both have; paired bootstrap over videos, each with all '
        'its sentences at all seeds. It does not hold how much trainings of '
        'other seeds differ.'
    ]
    missing = [f'- {row.text}: {note}' for row in rows for note in row.notes]
    return [*lines, *(['', *missing] if missing else [])]


def _csv(lines: Iterator[dict[str, Any]]) -> str:
    """Lines with names; a name that only some lines have is left empty."""
    rows = list(lines)
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[row.get(name, '') for name in names] for row in rows]
    return csv_text([names, *cells])


def _table_lines(tables: Tables) -> Iterator[dict[str, Any]]:
    """A line a row of a table: means, spread, differences."""
    for table, rows in tables:
        for row in rows:
            line: dict[str, Any] = dict(
                table=table.title,
                run=row.run.name,
                test=row.trial.name,
                budget=str(row.run.budget),
                seeds=' '.join(map(str, row.results)),
                reference=row.reference,
            )
            for key in METRICS:
                mean = row.means.get(key)
                line[key] = mean.mean if mean else None
                line[f'{key} sd'] = mean.spread if mean else None
            for key, one in row.differences.items():
                if key in METRICS:
                    line[f'{key} difference'] = one.value
                    line[f'{key} low'], line[f'{key} high'] = one.low, one.high
            names = ('params', 'flops', 'ms', 'clips')
            for key in (*names, 'cpu_seconds', 'gpu_seconds'):
                line[key] = row.value(key)
            line.update(row.run.facts, **row.trial.facts)
            line['notes'] = '; '.join(row.notes)
            yield line


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
