"""What a score loses in time, and what it loses in space.

The predictions are scored again with a part of them replaced by the truth.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Optional

import numpy as np

from hero_mm.errors import UserError

from .functional import TubeScores, boxes_to_arrays, score_tubes
from .functional.tubes import check_mapping

RIGHT = 0.5
"""A part is right where its overlap is more than this."""


@dataclass(frozen=True)
class ErrorSplit:
    """Scores of the same queries, with parts of the predictions replaced.

    Attributes:
        predicted (TubeScores): Nothing is replaced.
        true_span (TubeScores): Predicted boxes in the true spans: what is
            left is the error in space.
        true_boxes (TubeScores): True boxes in the predicted spans: what is
            left is the error in time.
        both (TubeScores): The truth itself: what a protocol gives to a
            perfect answer.
    """

    predicted: TubeScores
    true_span: TubeScores
    true_boxes: TubeScores
    both: TubeScores

    def rows(self) -> dict[str, TubeScores]:
        """The four scores by name, as predicted first."""
        return {
            'as predicted': self.predicted,
            'with the true span': self.true_span,
            'with the true boxes': self.true_boxes,
            'with both': self.both,
        }

    def right_shares(self) -> dict[tuple[bool, bool], float]:
        """Shares of the queries by ``(span right, boxes right)``, 1 in all.

        Right is a tIoU, or gt_vIoU, above :data:`RIGHT`.
        """
        span = self.predicted.tiou > RIGHT
        boxes = self.predicted.gt_viou > RIGHT
        return {
            (time, space): float(((span == time) & (boxes == space)).mean())
            for time in (True, False)
            for space in (True, False)
        }


def boxes_as_arrays(
    items: Mapping[str, Mapping[str, Any]], owner: str
) -> dict[str, dict[str, Any]]:
    """The items with ``boxes`` as a pair (frames (N,), boxes (N, 4)).

    Raises:
        ValueError: If boxes are malformed; the message names the query.
        TypeError: If items or boxes are of another type than allowed.
    """
    check_mapping(items, f'{owner}s')
    result = {}
    for query_id, item in items.items():
        name = f'{owner} of query {query_id!r}'
        if not isinstance(item, Mapping) or 'boxes' not in item:
            raise UserError(f"{name}: no 'boxes', found {item!r:.80}.")
        boxes = boxes_to_arrays(item['boxes'], name)
        result[query_id] = dict(item, boxes=boxes)
    return result


def split_errors(
    ground_truths: Mapping[str, Mapping[str, Any]],
    predictions: Mapping[str, Mapping[str, Any]],
    protocol: str = 'tubedetr',
    dataset: Optional[str] = None,
    strict: bool = False,
    interpolate: Optional[bool] = None,
) -> ErrorSplit:
    """Score predictions, with and without parts of the truth.

    A query without a prediction scores 0 whatever is replaced, but in
    ``both``.

    Args:
        ground_truths (Mapping): As
            :func:`~hero_mm.evaluation.evaluate_tubes` takes them.
        predictions (Mapping): As it takes them.
        protocol (str): Of the scores.
        dataset (str, optional): Name of the data set.
        strict (bool): Refuse missing and unknown queries.
        interpolate (bool, optional): As it takes it.

    Returns:
        ErrorSplit: Four scores of every query.

    Raises:
        ValueError: As :func:`~hero_mm.evaluation.evaluate_tubes`.

    Examples:
        >>> box, half = [0, 0, 4, 4], [0, 0, 4, 2]
        >>> truth = dict(span=[0, 2], segment=[0, 5], fps=5,
        ...              boxes={0: box, 1: box})
        >>> guess = dict(span=[0, 1], boxes={0: half, 1: half})
        >>> split = split_errors({'a': truth}, {'a': guess})
        >>> [float(part.viou[0]) for part in split.rows().values()]
        [0.25, 0.5, 0.5, 1.0]
    """
    truths = boxes_as_arrays(ground_truths, 'ground truth')
    guesses = boxes_as_arrays(predictions, 'prediction')
    score = partial(
        score_tubes,
        truths,
        protocol=protocol,
        dataset=dataset,
        interpolate=interpolate,
    )
    predicted = score(guesses, strict=strict)
    known = [query_id for query_id in truths if query_id in guesses]
    replaced = (
        {key: dict(guesses[key], span=truths[key]['span']) for key in known},
        {key: dict(guesses[key], boxes=truths[key]['boxes']) for key in known},
        truths,
    )
    with warnings.catch_warnings():
        # What is missing was reported once.
        warnings.simplefilter('ignore', UserWarning)
        parts = [score(items) for items in replaced]
    return ErrorSplit(predicted, *parts)


def lost_points(split: ErrorSplit, key: str) -> dict[str, float]:
    """What a mean score gains by the true spans, boxes, and both.

    Returns:
        dict[str, float]: ``time``, ``space`` and ``together``.
    """
    means = [
        float(np.mean(scores.columns()[key]))
        for scores in split.rows().values()
    ]
    start, with_span, with_boxes, with_both = means
    return dict(
        time=with_span - start,
        space=with_boxes - start,
        together=with_both - start,
    )
