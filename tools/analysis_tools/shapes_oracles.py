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
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from hero_mm.errors import UserError, explained, run_tool

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


def _busiest(question: Question) -> list[int]:
    counts = [len(question.spans(tid)) for tid in question.everyone]
    return [t for t in question.everyone if counts[t] == max(counts)]


def _largest(question: Question) -> list[int]:
    """The object that covers most of the picture."""
    sides = [boxes[:, 2:] - boxes[:, :2] for _, boxes in question.tracks]
    return [int(np.argmax([side.prod(1).sum() for side in sides]))]


def _longest(question: Question, tid: int) -> list[Span]:
    return [max(question.spans(tid), key=lambda span: span[1] - span[0])]


def _middle(question: Question, tid: int) -> list[Span]:
    twice = sum(question.clip)
    return [min(question.spans(tid), key=lambda s: abs(sum(s) - twice))]


# Which objects a guess may name, and which of the spans an object may have.
OBJECTS: dict[str, Callable[[Question], Iterable[int]]] = {
    'random': lambda question: question.everyone,
    'busiest': _busiest,
    'largest': _largest,
    'fitting': lambda question: question.fitting,
    'right': lambda question: [question.answer[0]],
}
SPANS: dict[str, Callable[[Question, int], Iterable[Span]]] = {
    'any': lambda question, tid: question.spans(tid),
    'longest': _longest,
    'middle': _middle,
    'whole': lambda question, tid: [question.clip],
    'right': lambda question, tid: [question.answer[1]],
}


def _of(objects: str, spans: str) -> Guess:
    """One of the objects, and one of the spans that it may have."""
    return lambda q: [
        (tid, span)
        for tid in OBJECTS[objects](q)
        for span in SPANS[spans](q, tid)
    ]


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


# Name: (group, what may be answered). The groups have bounds of their own.
GUESSES: dict[str, tuple[str, Guess]] = {
    'random object, any of its spans': ('blind', _of('random', 'any')),
    'random object, its longest span': ('blind', _of('random', 'longest')),
    'random object, its middle span': ('blind', _of('random', 'middle')),
    'busiest object, any of its spans': ('blind', _of('busiest', 'any')),
    'largest object, its longest span': ('blind', _of('largest', 'longest')),
    'random event of an action that occurs twice': ('blind', _worth_asking),
    'random object, whole clip': ('blind', _of('random', 'whole')),
    'right look, whole clip': ('appearance', _of('fitting', 'whole')),
    'right look, any of its spans': ('appearance', _of('fitting', 'any')),
    'right look, its longest span': ('appearance', _of('fitting', 'longest')),
    'right action, any object': ('action', _acting),
    'right span, random object': ('time', _of('random', 'right')),
    'right look and action, no relation': ('relation', _fitting_and_acting),
    'right object, whole clip': ('object', _of('right', 'whole')),
    'right object, any of its spans': ('object', _of('right', 'any')),
}


def score_guess(
    questions: Sequence[Question], guess: Guess, protocol: str = 'tubedetr'
) -> dict[str, float]:
    """Expected mean scores in [0, 1] of a guess, by the keys of ``METRICS``.

    ``guess`` gives the tubes that it may answer; each is as likely.
    """
    return _score(
        questions,
        lambda q: [(q.tracks[tid], span) for tid, span in guess(q)],
        protocol,
    )


def _score(
    questions: Sequence[Question],
    answer: Callable[[Question], Sequence[tuple[Boxes, Span]]],
    protocol: str = 'tubedetr',
) -> dict[str, float]:
    """Mean over questions of the mean over their answers."""
    truths, predictions, weights = {}, {}, []
    for index, question in enumerate(questions):
        options = answer(question)
        for number, (boxes, guessed) in enumerate(options):
            key = f'{index}-{number}'
            truths[key] = question.truth
            predictions[key] = {'span': guessed, 'boxes': boxes}
            weights.append(1 / len(options))
    with warnings.catch_warnings():
        # A guess may name an object that is not there in all frames.
        warnings.filterwarnings('ignore', message='.* have no box on some')
        scores = score_tubes(truths, predictions, protocol)
    columns = scores.columns()
    return {
        name: float(np.average(columns[name], weights=weights))
        for name in METRICS
    }


def constant_guess(
    questions: Sequence[Question],
) -> tuple[list[float], Span]:
    """The best guess that sees neither video nor sentence.

    It is the median of all true boxes, and the span with the highest mean
    overlap with the true ones.
    """
    begins, ends = np.array([question.answer[1] for question in questions]).T
    boxes = []
    for question in questions:
        tid, (begin, end) = question.answer
        frames, all_boxes = question.tracks[tid]
        boxes.append(all_boxes[(frames >= begin) & (frames < end)])
    scores = {}
    # Between two edges of true spans the mean overlap has no peak.
    edges = np.unique([begins, ends]).tolist()
    for begin, end in combinations(edges, 2):
        common = np.minimum(ends, end) - np.maximum(begins, begin)
        common = np.clip(common, 0, None)
        union = ends - begins + end - begin - common
        scores[begin, end] = float((common / union).mean())
    box = np.median(np.concatenate(boxes), axis=0)
    return box.tolist(), max(scores, key=lambda span: scores[span])


def score_oracles(
    questions: Sequence[Question],
) -> dict[str, dict[str, Any]]:
    """``group`` and scores of all guesses, by name."""
    box, span = constant_guess(questions)
    frames = np.arange(*questions[0].clip)
    boxes = frames, np.tile(box, (len(frames), 1))
    same = _score(questions, lambda question: [(boxes, span)])
    rows = {'one box and one span for all': {'group': 'blind', **same}}
    guesses: dict[str, tuple[str, Guess]] = {
        'random object, best one span for all': (
            'blind',
            lambda question: [(tid, span) for tid in question.everyone],
        ),
        **GUESSES,
    }
    for name, (group, guess) in guesses.items():
        rows[name] = {'group': group, **score_guess(questions, guess)}
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
    if not questions:
        raise UserError(f'{args.split} has no {args.kind} sentence')
    rows = score_oracles(questions)
    parts = ', '.join(f'{count} {kind}' for kind, count in kinds.items())
    print(f'{len(questions)} sentences asked, of {parts}\n')
    print(f'| guess with perfect boxes | {" | ".join(METRICS)} |')
    print('| --- |' + ' --- |' * len(METRICS))
    for name, row in rows.items():
        cells = ' | '.join(f'{row[metric]:.3f}' for metric in METRICS)
        print(f'| {name} | {cells} |')
    if args.json:
        write_text(args.json, json.dumps(rows, indent=2))


if __name__ == '__main__':
    sys.exit(run_tool(main))
