"""What the sentences of a benchmark ask of a model: lengths, hiding, windows.

A model is taken to see every second frame, from the second one on, as the
configs sample them.

Shape legend: T frames.
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from .bars import hidden_runs
from .questions import Boxes, Question, Span

# Sampled frames of the windows that are looked at.
WINDOWS = (8, 16)
_STRIDE = 2


def describe(questions: Sequence[Question]) -> dict[str, float]:
    """Measure a split.

    Args:
        questions (Sequence[Question]): All of its sentences, at least one.

    Returns:
        dict[str, float]: By what is measured: means, and shares in [0, 1]. A
        window of n sampled frames begins at every n-th of them; two things
        are apart where no window has frames of both.
    """
    videos = {question.vid: question for question in questions}.values()
    hidden = {
        video.vid: [_is_hidden(t, video.clip) for t in video.tracks]
        for video in videos
    }
    orders = [
        (question.answer[1], anchor)
        for question in questions
        for anchor in _anchor(question)
    ]
    spans = [question.answer[1] for question in questions]
    numbers = {
        'sentences': float(len(questions)),
        'sentences a video': len(questions) / len(videos),
        'objects a video': _mean(videos, lambda q: len(q.looks)),
        "answer's share of the clip": _mean(
            questions, lambda q: _length(q.answer[1]) / _length(q.clip)
        ),
        'share of the clip in which some object does the action': _mean(
            questions, _covered
        ),
        'sentences for which that is half of the clip or more': _mean(
            questions, lambda q: _covered(q) >= 0.5
        ),
        'objects hidden for two sampled frames or more': _mean(
            [flag for flags in hidden.values() for flag in flags], float
        ),
        'sentences whose target is one of them': _mean(
            questions, lambda q: hidden[q.vid][q.answer[0]]
        ),
    }
    for window in WINDOWS:
        size = _STRIDE * window
        numbers[f'answers across a border of windows of {window}'] = _mean(
            spans, lambda span, size=size: len(_windows(span, size)) > 1
        )
        numbers[f'orders in time apart in windows of {window}'] = _mean(
            orders,
            lambda pair, size=size: (
                not (_windows(pair[0], size) & _windows(pair[1], size))
            ),
        )
    return numbers


def _mean(items: Iterable, measure: Callable) -> float:
    """Mean of what is measured; nan of nothing."""
    values = [measure(item) for item in items]
    return float(np.mean(values)) if values else float('nan')


def _length(span: Span) -> int:
    return span[1] - span[0]


def _windows(span: Span, size: int) -> set[int]:
    """Numbers of the windows that a span touches."""
    return set(range(span[0] // size, (span[1] - 1) // size + 1))


def _covered(question: Question) -> float:
    """Share of the clip in which any object does the named action."""
    start, end = question.clip
    busy = np.zeros(end - start, dtype=bool)
    for _, action, span in question.events:
        if action == question.action:
            busy[span[0] - start : span[1] - start] = True
    return float(busy.mean())


def _is_hidden(boxes: Boxes, clip: Span) -> bool:
    """Whether it is gone for two sampled frames, and comes back."""
    frames = range(clip[0] + _STRIDE // 2, clip[1], _STRIDE)
    gone: NDArray[np.bool_] = np.array([f not in boxes for f in frames])
    return any(end - begin >= 2 for begin, end in hidden_runs(gone))


def _anchor(question: Question) -> list[Span]:
    """Span of the event that an order in time refers to, if it names one."""
    relation = question.relation
    if relation is None or relation.action is None:
        return []
    return [
        span
        for tid, action, span in question.events
        if action == relation.action
        and (
            tid == question.answer[0]
            if relation.object is None
            else relation.object.fits(question.looks[tid])
        )
    ]
