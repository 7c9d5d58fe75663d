"""Two predictions of the same queries, with an interval of the difference.

It comes from a paired bootstrap: queries are drawn again with replacement, and
both predictions are averaged over the same draw. Sentences about one video
share its errors, so that whole videos are drawn.

Shape legend: Q queries, C clusters (videos), S draws, K scores.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

import numpy as np

from hero_mm.errors import UserError

from .functional import TubeScores
from .functional.boxes import BoolArray, FloatArray

SAMPLES = 2000
LEVEL = 0.95
_CHUNK = 200


@dataclass(frozen=True)
class Difference:
    """Means of two predictions by a key of the protocol.

    ``low`` and ``high`` bound ``second - first``; NaN of fewer than two
    clusters.
    """

    key: str
    first: float
    second: float
    low: float
    high: float

    @property
    def value(self) -> float:
        """float: ``second - first``."""
        return self.second - self.first

    @property
    def is_clear(self) -> Optional[bool]:
        """bool, optional: Whether 0 is outside; None without interval."""
        if np.isnan(self.low):
            return None
        return self.low > 0 or self.high < 0


def compare_scores(
    first: TubeScores,
    second: TubeScores,
    clusters: Optional[Sequence[str]] = None,
    chosen: Optional[BoolArray] = None,
) -> list[Difference]:
    """Compare the mean scores of two predictions, one difference a key.

    Args:
        first (TubeScores): Of the one.
        second (TubeScores): Of the other, for the same queries by the same
            protocol; else a ValueError is raised.
        clusters (Sequence[str], optional): What is drawn as a whole, a name
            a query, such as its video. Defaults to each query by itself.
        chosen (np.ndarray, optional): Compare these queries only, bool, has
            shape (Q,), at least one.
    """
    _check_pair(first, second)
    count = len(first.query_ids)
    names = np.arange(count) if clusters is None else np.asarray(clusters)
    picked = np.ones(count, np.bool_) if chosen is None else chosen
    if not picked.any():
        raise UserError('No query is chosen: there is nothing to compare.')
    one_QK, two_QK = (
        np.stack(list(scores.columns().values()), axis=1)[picked]
        for scores in (first, second)
    )
    cluster_Q = np.unique(names[picked], return_inverse=True)[1]
    ends_2K = _interval(two_QK - one_QK, cluster_Q)
    numbers_K4 = np.stack([one_QK.mean(0), two_QK.mean(0), *ends_2K], axis=1)
    return [
        Difference(key, *numbers)
        for key, numbers in zip(first.columns(), numbers_K4.tolist())
    ]


def item_differences(first: TubeScores, second: TubeScores) -> FloatArray:
    """Second minus first of what queries are ranked by, has shape (Q,)."""
    _check_pair(first, second)
    return ranked_by(second) - ranked_by(first)


def ranked_by(scores: TubeScores) -> FloatArray:
    """vIoU, or gt_vIoU where the protocol has accuracies, has shape (Q,)."""
    return scores.gt_viou if scores.protocol.accuracies else scores.viou


def _check_pair(first: TubeScores, second: TubeScores) -> None:
    if (
        first.query_ids != second.query_ids
        or first.protocol != second.protocol
    ):
        one, two = (
            f'{len(scores.query_ids)} by {scores.protocol.label}'
            for scores in (first, second)
        )
        raise UserError(
            f'The two scores are of other queries or by other protocols '
            f'({one} and {two}): score both against one annotation by one '
            f'protocol.'
        )


def _interval(delta_QK: FloatArray, cluster_Q: np.ndarray) -> FloatArray:
    """Ends of the interval of the mean, has shape (2, K)."""
    size_C = np.bincount(cluster_Q).astype(np.float64)
    count = len(size_C)
    if count < 2:
        return np.full((2, delta_QK.shape[1]), np.nan)
    sums_CK = np.stack(
        [np.bincount(cluster_Q, column_Q) for column_Q in delta_QK.T], axis=1
    )
    rng = np.random.default_rng(0)
    even = np.full(count, 1 / count)
    means = []
    for start in range(0, SAMPLES, _CHUNK):
        drawn_SC = rng.multinomial(
            count, even, size=min(_CHUNK, SAMPLES - start)
        ).astype(np.float64)
        means.append(drawn_SC @ sums_CK / (drawn_SC @ size_C)[:, None])
    tail = (1 - LEVEL) / 2
    return np.quantile(np.concatenate(means), [tail, 1 - tail], axis=0)
