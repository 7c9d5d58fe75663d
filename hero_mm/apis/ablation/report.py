"""The report of a suite: Markdown, CSV and plots.

Scores are shown in percent, differences in percent points. Differences are
paired: both models answer the same sentences, and videos are drawn with all
their sentences at all seeds.
"""

import re
import statistics
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, Optional

import numpy as np

from hero_mm.datasets.annotation import load_annotation
from hero_mm.errors import UserError
from hero_mm.evaluation import compare_scores, load_predictions, score_tubes
from hero_mm.evaluation.analysis import LEVEL, Difference
from hero_mm.evaluation.functional import TubeScores
from hero_mm.files import PathLike, write_text
from hero_mm.texts import csv_text
from hero_mm.visualization.charts import Series, line_chart
from hero_mm.visualization.report_tables import interval, percent, points

from .job import CHANGED, FAILED, NEW, Job
from .suite import MAIN_METRIC, METRICS, Comparison, Plot, Run, Suite, Trial

DASH = '–'
REPORT, TABLE = 'report.md', 'table.csv'
MEASURED = ('params', 'flops', 'ms')
SPENT = ('clips', 'cpu_seconds', 'gpu_seconds')
FORMS = dict(params=',.0f', gflops='.3g', ms='.1f')
FORMS.update(dict.fromkeys(SPENT, ',.0f'))
LABELS = {
    'clips': 'clips trained',
    'cpu_seconds': 'CPU-seconds of training',
    'gpu_seconds': 'GPU-seconds of training',
    'gflops': 'GFLOPs a clip',
    'ms': 'milliseconds a clip',
    'params': 'parameters',
}
NOTE = (
    'Scores in percent, ± the standard deviation over the seeds. '
    'Difference: the run minus the reference, in percent points, at the '
    'seeds that both have; paired bootstrap over videos, each with all '
    'its sentences at all seeds. It does not hold how much trainings of '
    'other seeds differ.'
)


class Mean(NamedTuple):
    """Mean of a number over the seeds; its deviation from two seeds on."""

    mean: float
    spread: Optional[float]

    def __str__(self) -> str:
        spread = '' if self.spread is None else f' ± {percent(self.spread)}'
        return percent(self.mean) + spread


@dataclass
class Row:
    """A trained model under a test, over its seeds.

    ``text`` is ``RUN`` or ``RUN/TEST``; ``results`` are by seed, ``means`` of
    scores and of what was spent and measured. A difference is to the row
    ``reference``, '' without one; ``notes`` say what is missing.
    """

    text: str
    run: Run
    trial: Trial
    results: dict[int, dict[str, Any]] = field(default_factory=dict)
    means: dict[str, Mean] = field(default_factory=dict)
    reference: str = ''
    differences: dict[str, Difference] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def value(self, name: str) -> Optional[float]:
        """A number of the row by its name; None where there is none."""
        facts = {**self.run.facts, **self.trial.facts}
        if name in facts:
            return facts[name]
        if name == 'gflops':
            flops = self.value('flops')
            return None if flops is None else flops / 1e9
        return self.means[name].mean if name in self.means else None


def write_report(suite: Suite, out: PathLike) -> Path:
    """Write tables and plots of what is in the folder of a suite.

    Returns:
        Path: Of the Markdown file, which lies there too.
    """
    out = Path(out)
    reader = _Reader(suite, out)
    tables = [(table, reader.rows(table)) for table in suite.comparisons]
    lines = [f'# Ablations: {suite.name}', '', *_facts(tables)]
    for table, rows in tables:
        lines += ['', f'## {table.title}', '', *_markdown(rows), '', NOTE]
        missing = [f'- {row.text}: {x}' for row in rows for x in row.notes]
        lines += ['', *missing] if missing else []
        for path in _draw_curves(table.title, rows, out):
            lines += ['', f'![{path.stem}]({path.name})']
    for plot in suite.plots:
        path = out / f'{_slug(plot.title)}.svg'
        shown = f'![{path.stem}]({path.name})'
        if not _draw_plot(plot, reader, path):
            shown = 'Nothing to draw yet.'
        lines += ['', f'## {plot.title}', '', shown]
    cells = list(_table_lines(tables))
    # A name that only some lines have is left empty in the others.
    names = list(dict.fromkeys(name for row in cells for name in row))
    body = [[row.get(name, '') for name in names] for row in cells]
    write_text(out / TABLE, csv_text([names, *body]))
    write_text(out / REPORT, '\n'.join(lines) + '\n')
    return out / REPORT


class _Reader:
    """Reads what lies in the folder of a suite."""

    def __init__(self, suite: Suite, out: Path) -> None:
        self.suite, self.out = suite, out
        self._annotation = cache(load_annotation)
        self._scores_of = cache(self._score)

    def rows(self, table: Comparison) -> list[Row]:
        """The rows of a table; those without a result say why."""
        found = [self.row(text) for text in table.rows]
        for row in found:
            reference = table.reference or row.run.compare_to
            if reference and self.suite.row(reference) != (row.run, row.trial):
                row.reference = reference
                self._compare(row, self.row(reference))
        return found

    def row(self, text: str) -> Row:
        """A row without its difference."""
        row = Row(text, *self.suite.row(text))
        notes: dict[str, list[str]] = {}
        for seed in row.run.seeds:
            for note in self._add_seed(row, seed):
                notes.setdefault(note, []).append(str(seed))
        for note, seeds in notes.items():
            word = 'seed' if len(seeds) == 1 else 'seeds'
            row.notes.append(f'{word} {", ".join(seeds)}: {note}')
        values: dict[str, list[float]] = {}
        for result in row.results.values():
            test = result['tests'][row.trial.name]
            numbers = dict(test['scores'])
            numbers.update((name, test.get(name)) for name in MEASURED)
            numbers.update((name, result[name]) for name in SPENT)
            for name, value in numbers.items():
                if value is not None:
                    values.setdefault(name, []).append(float(value))
        for name, of_seeds in values.items():
            spread = statistics.stdev(of_seeds) if len(of_seeds) > 1 else None
            row.means[name] = Mean(statistics.mean(of_seeds), spread)
        return row

    def _add_seed(self, row: Row, seed: int) -> list[str]:
        """Add a result, if it is there; says what is missing."""
        job = Job(row.run, seed, self.out)
        state, test = job.state(), job.tested(row.trial)
        if state == CHANGED:
            return ['the folder holds a run with other options']
        if test:
            row.results[seed] = job.read('result')
            errors = test.get('errors', {})
            return [f'no {name}: {why}' for name, why in errors.items()]
        if state == FAILED:
            return [f'failed: {job.read("failed")["message"]}']
        return ['not run yet' if state == NEW else 'not finished yet']

    def _compare(self, row: Row, other: Row) -> None:
        """Add the differences to the reference, at the seeds of both."""
        seeds = [seed for seed in row.results if seed in other.results]
        why = f'{row.reference} has no result at the same seed'
        try:
            if seeds:
                first, videos = self._pooled(other, seeds)
                second, _ = self._pooled(row, seeds)
                found = compare_scores(first, second, videos)
                row.differences = {one.key: one for one in found}
                return
        except (ValueError, FileNotFoundError) as error:
            why = str(error)
        if row.results:
            row.notes.append(f'no difference: {why}')

    def _pooled(
        self, row: Row, seeds: Sequence[int]
    ) -> tuple[TubeScores, list[str]]:
        """Scores at some seeds as of one model, and the video of each."""
        found = []
        for seed in seeds:
            test = row.results[seed]['tests'][row.trial.name]
            folder = Job(row.run, seed, self.out).path / 'tests'
            how = test['annotation'], test['protocol']
            found.append(self._scores_of(folder / row.trial.name, *how))
        scores, videos = zip(*found)
        arrays = {
            name: np.concatenate([getattr(one, name) for one in scores])
            for name in ('tiou', 'viou', 'gt_viou')
        }
        ids = [
            f'{n}:{k}' for n, one in enumerate(scores) for k in one.query_ids
        ]
        types = [kind for one in scores for kind in one.query_types]
        pooled = replace(scores[0], query_ids=ids, query_types=types, **arrays)
        return pooled, [video for part in videos for video in part]

    def _score(
        self, folder: Path, path: str, protocol: str
    ) -> tuple[TubeScores, list[str]]:
        """Scores of every query of a test, and their videos."""
        if not path:
            raise UserError('the config of the test has no ann_file')
        annotation = self._annotation(path)
        predictions, _ = load_predictions(folder / 'predictions.json')
        with warnings.catch_warnings():
            # What is missing scores 0, as the test has reported.
            warnings.simplefilter('ignore')
            scores = score_tubes(
                annotation.ground_truths(),
                predictions,
                protocol,
                dataset=annotation.metainfo.get('dataset'),
            )
        videos: list[str] = []
        for clip in annotation.data_list:
            videos += [clip['video_id']] * len(clip['queries'])
        return scores, videos


Tables = Sequence[tuple[Comparison, Sequence[Row]]]


def _facts(tables: Tables) -> list[str]:
    """When it was written, and with which code."""
    rows = [row for _, rows in tables for row in rows]
    results = [result for row in rows for result in row.results.values()]
    commits = sorted({str(r.get('commit'))[:12] for r in results})
    devices = sorted({str(r.get('device')) for r in results})
    return [
        f'- written: {datetime.now():%Y-%m-%d %H:%M}',
        f'- commits: {", ".join(commits) or "none"} (a + marks changed files)',
        f'- trained on: {", ".join(devices) or "nothing yet"}',
    ]


def _markdown(rows: Sequence[Row]) -> Iterator[str]:
    """A table, a row a model."""
    head = ['run', 'seeds', *METRICS, f'{MAIN_METRIC} to the reference']
    head += [f'{100 * LEVEL:.0f} % interval', 'parameters', 'GFLOPs a clip']
    head += ['ms a clip', 'clips', 'CPU-s', 'GPU-s']
    lines = [head, ['---'] * len(head)]
    for row in rows:
        cells = [row.text, f'{len(row.results)} of {len(row.run.seeds)}']
        cells += [str(row.means.get(key, DASH)) for key in METRICS]
        difference = row.differences.get(MAIN_METRIC)
        if difference is None:
            cells += [DASH, DASH]
        else:
            shown = f'{points(difference.value)} ({row.reference})'
            cells += [shown, interval(difference)]
        numbers = {name: row.value(name) for name in FORMS}
        for name, value in numbers.items():
            cells.append(format(value, FORMS[name]) if value else DASH)
        lines.append(cells)
    for line in lines:
        escaped = [cell.replace('|', '\\|') for cell in line]
        yield f'| {" | ".join(escaped)} |'


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
                line[key], line[f'{key} sd'] = row.means.get(key, (None, None))
            for key, one in row.differences.items():
                if key in METRICS:
                    line[f'{key} difference'] = one.value
                    line[f'{key} low'], line[f'{key} high'] = one.low, one.high
            line.update((key, row.value(key)) for key in (*MEASURED, *SPENT))
            line.update(row.run.facts, **row.trial.facts)
            line['notes'] = '; '.join(row.notes)
            yield line


def _slug(text: str) -> str:
    """A name of a file.

    Examples:
        >>> _slug('Equal clips, 2 seeds')
        'equal-clips-2-seeds'
    """
    return re.sub(r'[^a-z0-9]+', '-', text.lower()).strip('-')


def _draw_curves(title: str, rows: Sequence[Row], out: Path) -> Iterator[Path]:
    """Draw the scores of the validations along the trainings.

    A plot against clips and one against seconds; paths of those that there
    is something to draw of.
    """
    # What another suite has trained is drawn there.
    runs = {
        row.run.name: row.results
        for row in rows
        if row.run.budget.kind != 'trained'
    }
    results = [one for found in runs.values() for one in found.values()]
    seconds = ('cpu_seconds', 'cpu_seconds')
    if any(result['gpu_seconds'] for result in results):
        # The file of the cost has the time of a GPU as that of the clock.
        seconds = ('gpu_seconds', 'wall_seconds')
    for kind, key in (('clips', 'clips'), seconds):
        lines = [
            Series(name, *_curve(result, key))
            for name, found in runs.items()
            for result in found.values()
        ]
        path = out / f'{_slug(title)}-{_slug(kind)}.svg'
        label = f'{MAIN_METRIC}, validation'
        if _write(path, title, lines, LABELS[kind], label):
            yield path


def _curve(
    result: Mapping[str, Any], x: str
) -> tuple[list[float], list[float]]:
    """Places and scores of the validations of a training."""
    xs, ys = [], []
    for point in result['curve']:
        for name, score in point['scores'].items():
            # Those of single types of sentences have more slashes.
            if name in (MAIN_METRIC, f'tube/{MAIN_METRIC}'):
                xs.append(point[x])
                ys.append(score)
    return xs, ys


def _draw_plot(plot: Plot, reader: _Reader, path: Path) -> bool:
    """Draw a plot that the suite asks for; False without anything to draw."""
    lines = []
    for name, texts in plot.series.items():
        found = []
        for row in map(reader.row, texts):
            x, mean = row.value(plot.x), row.means.get(MAIN_METRIC)
            if x is not None and mean is not None:
                found.append((x, mean.mean, mean.spread or 0.0))
        if found:
            lines.append(Series(name, *zip(*sorted(found))))
    label = plot.x_label or LABELS.get(plot.x, plot.x)
    return _write(path, plot.title, lines, label, MAIN_METRIC)


def _write(
    path: Path, title: str, lines: Sequence[Series], x: str, y: str
) -> bool:
    svg = line_chart(lines, title, x, y, from_zero=False)
    if svg:
        write_text(path, svg)
    return bool(svg)
