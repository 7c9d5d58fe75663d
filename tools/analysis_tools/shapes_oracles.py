r"""Score guesses with perfect boxes on the embedded benchmark.

A guess takes its tubes from the annotation and knows only a part of the
sentence. Where it has several tubes to choose from, its score is the mean over
all of them: what a random choice is expected to get.

A report (report.py) shows the scores that lie beside its annotation.

Example:
    python tools/analysis_tools/shapes_oracles.py data/shapes --split test \
        --json data/shapes/test.oracles.json
"""

import argparse
import json
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np

from hero_mm.errors import explained, run_tool

with explained():
    from hero_mm.datasets.shapes.questions import (
        Boxes,
        Choice,
        Question,
        Span,
        read_questions,
    )
    from hero_mm.evaluation import score_tubes
    from hero_mm.files import write_text

METRICS = ('m_tIoU', 'm_vIoU', 'vIoU@0.3', 'vIoU@0.5', 'gt_m_vIoU')
Guess = Callable[[Question], Sequence[Choice]]


def _of(
    objects: Callable[[Question], Iterable[int]],
    spans: Callable[[Question, int], Iterable[Span]],
) -> Guess:
    """One of the objects, and one of the spans that it may have."""
    return lambda q: [(tid, s) for tid in objects(q) for s in spans(q, tid)]


def _busiest(question: Question) -> Iterable[int]:
    counts = [len(question.spans(tid)) for tid in question.everyone]
    return [t for t in question.everyone if counts[t] == max(counts)]


def _largest(question: Question) -> Iterable[int]:
    """The object that covers most of the picture."""

    def cover(tid: int) -> float:
        boxes = question.tracks[tid].values()
        return sum((x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in boxes)

    return [max(question.everyone, key=cover)]


def _right(question: Question) -> Iterable[int]:
    return [question.answer[0]]


def _longest(question: Question, tid: int) -> Iterable[Span]:
    return [max(question.spans(tid), key=lambda span: span[1] - span[0])]


def _middle(question: Question, tid: int) -> Iterable[Span]:
    twice = sum(question.clip)
    return [min(question.spans(tid), key=lambda s: abs(sum(s) - twice))]


def _whole(question: Question, tid: int) -> Iterable[Span]:
    return [question.clip]


def _truth(question: Question, tid: int) -> Iterable[Span]:
    return [question.answer[1]]


def _worth_asking(question: Question) -> list[Choice]:
    """Events that a sentence may be about: their action comes again."""
    actions = [action for _, action, _ in question.events]
    return [
        (tid, span)
        for tid, action, span in question.events
        if actions.count(action) > 1
    ]


def _acting(question: Question) -> list[Choice]:
    return [
        (tid, span)
        for tid, action, span in question.events
        if action == question.action
    ]


def _fitting_and_acting(question: Question) -> list[Choice]:
    return [c for c in _acting(question) if c[0] in question.fitting]


_any, _everyone = Question.spans, attrgetter('everyone')
_fitting = attrgetter('fitting')
# Name: (group, what may be answered). The groups have bounds of their own.
GUESSES: dict[str, tuple[str, Guess]] = {
    'random object, any of its spans': ('blind', _of(_everyone, _any)),
    'random object, its longest span': ('blind', _of(_everyone, _longest)),
    'random object, its middle span': ('blind', _of(_everyone, _middle)),
    'busiest object, any of its spans': ('blind', _of(_busiest, _any)),
    'largest object, its longest span': ('blind', _of(_largest, _longest)),
    'random event of an action that occurs twice': ('blind', _worth_asking),
    'random object, whole clip': ('blind', _of(_everyone, _whole)),
    'right look, whole clip': ('appearance', _of(_fitting, _whole)),
    'right look, any of its spans': ('appearance', _of(_fitting, _any)),
    'right look, its longest span': ('appearance', _of(_fitting, _longest)),
    'right action, any object': ('action', _acting),
    'right span, random object': ('time', _of(_everyone, _truth)),
    'right look and action, no relation': ('relation', _fitting_and_acting),
    'right object, whole clip': ('object', _of(_right, _whole)),
    'right object, any of its spans': ('object', _of(_right, _any)),
}


def score_guess(
    questions: Sequence[Question], guess: Guess, protocol: str = 'tubedetr'
) -> dict[str, float]:
    """Expected mean scores in [0, 1] of a guess, by the keys of ``METRICS``.

    ``guess`` gives the tubes that it may answer; each is as likely.
    """
    answers = [
        [(question.tracks[tid], span) for tid, span in guess(question)]
        for question in questions
    ]
    return _score(questions, answers, protocol)


def _score(
    questions: Sequence[Question],
    answers: Sequence[Sequence[tuple[Boxes, Span]]],
    protocol: str,
) -> dict[str, float]:
    """Mean over questions of the mean over their answers."""
    truths, predictions, weights = {}, {}, []
    # The same track is answered many times: made an array once.
    arrays: dict[int, Any] = {}

    def as_arrays(boxes: Boxes) -> Any:
        if id(boxes) not in arrays:
            values = np.array(list(boxes.values()), float).reshape(-1, 4)
            arrays[id(boxes)] = np.array(list(boxes), int), values
        return arrays[id(boxes)]

    for index, (question, options) in enumerate(zip(questions, answers)):
        tid, span = question.answer
        truth = {
            'span': span,
            'boxes': as_arrays(question.tracks[tid]),
            'segment': question.clip,
            'fps': question.fps,
            'query_type': question.query_type,
        }
        for number, (boxes, guessed) in enumerate(options):
            key = f'{index}-{number}'
            truths[key] = truth
            predictions[key] = {'span': guessed, 'boxes': as_arrays(boxes)}
            weights.append(1 / len(options))
    with warnings.catch_warnings():
        # A guess may name an object that is not there in all frames.
        warnings.filterwarnings('ignore', message='.* have no box on some')
        scores = score_tubes(truths, predictions, protocol)
    columns = (
        scores.tiou,
        scores.viou,
        scores.viou > 0.3,
        scores.viou > 0.5,
        scores.gt_viou,
    )
    means = (np.average(column, weights=weights) for column in columns)
    return {name: float(mean) for name, mean in zip(METRICS, means)}


def constant_guess(
    questions: Sequence[Question],
) -> tuple[list[float], Span]:
    """The best guess that sees neither video nor sentence.

    It is the median of all true boxes, and the span with the highest mean
    overlap with the true ones.
    """
    boxes: list[list[float]] = []
    spans: list[Span] = []
    for question in questions:
        tid, (begin, end) = question.answer
        spans.append((begin, end))
        boxes.extend(question.tracks[tid][f] for f in range(begin, end))
    truth = np.array(spans)
    start, stop = questions[0].clip
    best, best_score = (start, stop), -1.0
    for begin in range(start, stop):
        for end in range(begin + 1, stop + 1):
            common = np.minimum(truth[:, 1], end)
            common = common - np.maximum(truth[:, 0], begin)
            common = np.clip(common, 0, None)
            lengths = truth[:, 1] - truth[:, 0] + end - begin
            score = float((common / (lengths - common)).mean())
            if score > best_score:
                best, best_score = (begin, end), score
    return np.median(boxes, axis=0).tolist(), best


def score_oracles(
    questions: Sequence[Question], protocol: str = 'tubedetr'
) -> dict[str, dict[str, Any]]:
    """``group`` and scores of all guesses, by name."""
    box, span = constant_guess(questions)
    held = [[(dict.fromkeys(range(*q.clip), box), span)] for q in questions]
    rows: dict[str, dict[str, Any]] = {
        'one box and one span for all': {
            'group': 'blind',
            **_score(questions, held, protocol),
        },
    }
    best = _of(_everyone, lambda question, tid: [span])
    guesses = {
        'random object, best one span for all': ('blind', best),
        **GUESSES,
    }
    for name, (group, guess) in guesses.items():
        scores = score_guess(questions, guess, protocol)
        rows[name] = {'group': group, **scores}
    return rows


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument('root', help='folder of the benchmark')
    parser.add_argument(
        '--split',
        default='test',
        help='train, val, test or, where root is the folder probes, a probe',
    )
    parser.add_argument('--protocol', default='tubedetr')
    parser.add_argument(
        '--kind',
        choices=['basic', 'spatial', 'temporal'],
        help='only sentences of this kind',
    )
    parser.add_argument('--json', type=Path, help='file for the scores')
    return parser.parse_args()


def main() -> None:
    """Print the table and write the scores."""
    args = parse_args()
    questions = read_questions(args.root, args.split)
    kinds = Counter(question.kind for question in questions)
    if args.kind:
        questions = [q for q in questions if q.kind == args.kind]
    rows = score_oracles(questions, args.protocol)
    parts = ', '.join(f'{count} {kind}' for kind, count in kinds.items())
    print(f'{len(questions)} sentences asked, of {parts}; {args.protocol}\n')
    print(f'| guess with perfect boxes | {" | ".join(METRICS)} |')
    print('| --- |' + ' --- |' * len(METRICS))
    for name, row in rows.items():
        cells = ' | '.join(f'{row[metric]:.3f}' for metric in METRICS)
        print(f'| {name} | {cells} |')
    if args.json:
        write_text(args.json, json.dumps(rows, indent=2))


if __name__ == '__main__':
    sys.exit(run_tool(main))
