"""Rows of the report, from the results that lie in the folders.

Differences are paired: both models answer the same sentences, and videos are
drawn with all their sentences at all seeds.

Shape legend: Q queries.
"""

import statistics
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

import numpy as np

from hero_mm.datasets.annotation import GroundingAnnotation, load_annotation
from hero_mm.errors import UserError
from hero_mm.evaluation import (
    compare_scores,
    load_predictions,
    score_tubes,
)
from hero_mm.evaluation.comparison import Difference
from hero_mm.evaluation.functional import TubeScores

from .folder import CHANGED, FAILED, NEW, Folder, answers
from .suite import Comparison, Run, Suite, Trial

NUMBERS = ('params', 'flops', 'ms')
SPENT = ('clips', 'cpu_seconds', 'gpu_seconds')


@dataclass(frozen=True)
class Mean:
    """A number at several seeds."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """float: Their mean."""
        return statistics.mean(self.values)

    @property
    def spread(self) -> Optional[float]:
        """float, optional: Standard deviation; None of a single seed."""
        if len(self.values) < 2:
            return None
        return statistics.stdev(self.values)


@dataclass
class Row:
    """A trained model under a test, over its seeds.

    Attributes:
        text (str): ``RUN`` or ``RUN/TEST``.
        run (Run): The run.
        trial (Trial): The test.
        results (dict[int, dict]): Results by seed.
        means (dict[str, Mean]): Scores, and what was spent and counted.
        reference (str): The row that it is compared to, '' without one.
        differences (dict[str, Difference]): By score: first the reference,
            then this row.
        notes (list[str]): What is missing, and why.
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


def pool_scores(parts: Sequence[TubeScores]) -> TubeScores:
    """Scores of several seeds as those of one model."""
    return TubeScores(
        parts[0].protocol,
        [
            f'{place}:{query_id}'
            for place, part in enumerate(parts)
            for query_id in part.query_ids
        ],
        [kind for part in parts for kind in part.query_types],
        np.concatenate([part.tiou for part in parts]),
        np.concatenate([part.viou for part in parts]),
        np.concatenate([part.gt_viou for part in parts]),
        [query_id for part in parts for query_id in part.missing],
        [query_id for part in parts for query_id in part.unknown],
    )


class Results:
    """Reads what lies in the folder of a suite."""

    def __init__(self, suite: Suite, out: Path) -> None:
        self.suite, self.out = suite, out
        self._annotations: dict[str, GroundingAnnotation] = {}
        self._scores: dict[Path, tuple[TubeScores, list[str]]] = {}

    def rows(self, table: Comparison) -> list[Row]:
        """The rows of a table; those without a result say why."""
        found = []
        for text in table.rows:
            row = self.row(text)
            reference = table.reference or row.run.compare_to
            if reference and self.suite.row(reference) != (row.run, row.trial):
                row.reference = reference
                self._compare(row)
            found.append(row)
        return found

    def row(self, text: str) -> Row:
        """A row without its difference."""
        run, trial = self.suite.row(text)
        row = Row(text, run, trial)
        notes: dict[str, list[int]] = {}
        for seed in run.seeds:
            for note in self._add_seed(row, seed):
                notes.setdefault(note, []).append(seed)
        for note, seeds in notes.items():
            word = 'seed' if len(seeds) == 1 else 'seeds'
            row.notes.append(f'{word} {", ".join(map(str, seeds))}: {note}')
        results = list(row.results.values())
        tests = [result['tests'][trial.name] for result in results]
        names: dict[str, None] = {}
        for test in tests:
            names.update(dict.fromkeys(test['scores']))
        sources: list[tuple[str, Sequence[Mapping[str, Any]]]] = [
            *((name, [test['scores'] for test in tests]) for name in names),
            *((name, tests) for name in NUMBERS),
            *((name, results) for name in SPENT),
        ]
        for name, source in sources:
            values = [one[name] for one in source if one.get(name) is not None]
            if values:
                row.means[name] = Mean(tuple(map(float, values)))
        return row

    def _add_seed(self, row: Row, seed: int) -> list[str]:
        """Add a result, if it is there; says what is missing."""
        folder = Folder(row.run, seed, self.out)
        state, result = folder.state(), folder.result()
        test = (result or {}).get('tests', {}).get(row.trial.name)
        if state == CHANGED:
            return ['the folder holds a run with other options']
        if result and test and answers(test, row.trial):
            row.results[seed] = result
            errors = test.get('errors', {})
            return [f'no {name}: {why}' for name, why in errors.items()]
        if state == FAILED:
            reason = (folder.failure() or {}).get('message', '')
            return [f'failed: {reason}']
        return ['not run yet' if state == NEW else 'not finished yet']

    def _compare(self, row: Row) -> None:
        """Add the differences to the reference, at the seeds of both."""
        other = self.row(row.reference)
        seeds = [seed for seed in row.results if seed in other.results]
        if not seeds:
            if row.results:
                row.notes.append(
                    f'no difference: {row.reference} has no result at the '
                    'same seed'
                )
            return
        try:
            first, clusters = self._pooled(other, seeds)
            second, _ = self._pooled(row, seeds)
            found = compare_scores(first, second, clusters)
        except (ValueError, FileNotFoundError) as error:
            row.notes.append(f'no difference: {error}')
            return
        row.differences = {one.key: one for one in found}

    def _pooled(
        self, row: Row, seeds: Sequence[int]
    ) -> tuple[TubeScores, list[str]]:
        """Scores at some seeds, and the video of each query."""
        both = [self.scores(row, seed) for seed in seeds]
        videos = [video for _, names in both for video in names]
        return pool_scores([scores for scores, _ in both]), videos

    def scores(self, row: Row, seed: int) -> tuple[TubeScores, list[str]]:
        """Scores of every query of a test."""
        folder = Folder(row.run, seed, self.out)
        path = folder.trial(row.trial) / 'predictions.json'
        if path not in self._scores:
            test = row.results[seed]['tests'][row.trial.name]
            if not test['annotation']:
                raise UserError('the config of the test has no ann_file')
            annotation = self._annotation(test['annotation'])
            predictions, _ = load_predictions(path)
            with warnings.catch_warnings():
                # What is missing scores 0, as the test has reported.
                warnings.simplefilter('ignore')
                scores = score_tubes(
                    annotation.ground_truths(),
                    predictions,
                    test['protocol'],
                    dataset=annotation.metainfo.get('dataset'),
                )
            videos = [
                clip['video_id']
                for clip in annotation.data_list
                for _ in clip['queries']
            ]
            self._scores[path] = (scores, videos)
        return self._scores[path]

    def _annotation(self, path: str) -> GroundingAnnotation:
        if path not in self._annotations:
            self._annotations[path] = load_annotation(path)
        return self._annotations[path]
