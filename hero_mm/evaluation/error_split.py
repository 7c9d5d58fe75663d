"""What a score loses in time, and what it loses in space.

The predictions are scored again with a part of them replaced by the truth.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional

from .functional import TubeScores, boxes_to_arrays, score_tubes

RIGHT = 0.5
"""A part is right where its overlap is more than this."""


@dataclass(frozen=True)
class ErrorSplit:
    """Scores of the same queries, with parts of the predictions replaced.

    With ``true_span`` what is left is the error in space, with ``true_boxes``
    the error in time; ``both`` is what a protocol gives to the truth itself.
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
    """The items with ``boxes`` as a pair (frames (N,), boxes (N, 4))."""
    return {
        query_id: dict(
            item,
            boxes=boxes_to_arrays(
                item['boxes'], f'{owner} of query {query_id!r}'
            ),
        )
        for query_id, item in items.items()
    }


def split_errors(
    ground_truths: Mapping[str, Mapping[str, Any]],
    predictions: Mapping[str, Mapping[str, Any]],
    protocol: str = 'tubedetr',
    dataset: Optional[str] = None,
    strict: bool = False,
    interpolate: Optional[bool] = None,
) -> ErrorSplit:
    """Score predictions, with and without parts of the truth.

    Arguments and errors are those of
    :func:`~hero_mm.evaluation.evaluate_tubes`. A query without a prediction
    scores 0 whatever is replaced, but in ``both``.

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
    how = (dataset, interpolate)
    scores = [score_tubes(truths, guesses, protocol, strict, *how)]
    known = [query_id for query_id in truths if query_id in guesses]
    with warnings.catch_warnings():
        # What is missing was reported once.
        warnings.simplefilter('ignore', UserWarning)
        for items in (
            {k: dict(guesses[k], span=truths[k]['span']) for k in known},
            {k: dict(guesses[k], boxes=truths[k]['boxes']) for k in known},
            truths,
        ):
            scores.append(score_tubes(truths, items, protocol, False, *how))
    return ErrorSplit(*scores)


def lost_points(split: ErrorSplit, key: str) -> dict[str, float]:
    """What a mean score gains by true spans (``time``), boxes (``space``).

    And by both (``together``).
    """
    start, *gained = (
        float(scores.columns()[key].mean()) for scores in split.rows().values()
    )
    names = ('time', 'space', 'together')
    return {name: mean - start for name, mean in zip(names, gained)}
