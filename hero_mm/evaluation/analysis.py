"""What a report says of scores: groups, errors in time and space, two files.

Shape legend: Q queries, G groups, C clusters (videos), S draws, K scores.
"""

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Optional

import numpy as np

from hero_mm.errors import UserError

from .functional import TubeScores, boxes_to_arrays, score_tubes
from .functional.boxes import BoolArray, FloatArray, IntArray

if TYPE_CHECKING:
    from hero_mm.datasets.query_traits import QueryTraits

SPAN_EDGES = (1.0, 3.0, 10.0, 30.0)
"""Seconds that part short spans from long ones."""
VIDEO_EDGES = (10.0, 20.0, 40.0, 80.0)
"""Seconds that part short videos from long ones."""
AREA_EDGES = (1.0, 5.0, 20.0, 50.0)
"""Percent of the picture that part small objects from big ones."""
MOST_NAMES = 12
"""Most groups of names; the rarer names stand together."""
SAMPLES = 2000
LEVEL = 0.95
_CHUNK = 200


class Grouping(NamedTuple):
    """Queries parted by one of their traits.

    ``names`` are those of G groups with at least one query, ``group`` says
    the group of each query, an index into them, int64 (Q,).
    """

    title: str
    names: list[str]
    group: IntArray


def group_by_value(
    title: str, values: FloatArray, edges: Sequence[float], unit: str
) -> Grouping:
    """Part queries by a number each, (Q,); groups by rising value.

    A value that equals an edge belongs to the group above it; ``unit`` stands
    behind the edges. Groups without a query are left out.

    Examples:
        >>> values = np.array([0.5, 2, 1])
        >>> group_by_value('length', values, (1, 2, 3), 's').names
        ['under 1 s', '1 to 2 s', '2 to 3 s']
    """
    names = [f'under {edges[0]:g} {unit}']
    names += [f'{a:g} to {b:g} {unit}' for a, b in zip(edges, edges[1:])]
    names.append(f'{edges[-1]:g} {unit} or more')
    place_Q = np.searchsorted(np.asarray(edges), values, side='right')
    found, group_Q = np.unique(place_Q, return_inverse=True)
    return Grouping(title, [names[place] for place in found], group_Q)


def group_by_name(
    title: str, names: Sequence[str], most: int = MOST_NAMES
) -> Grouping:
    """Part queries by a name each; '' is shown as ``'(none)'``.

    The most frequent name comes first; beyond ``most`` groups the rarest
    names share the last one.

    Examples:
        >>> group_by_name('object', ['dog', 'cat', 'dog', 'cow'], most=2).names
        ['dog', '2 others']
    """
    counts = Counter(name or '(none)' for name in names)
    kept = shown = sorted(counts, key=lambda name: (-counts[name], name))
    if len(counts) > most:
        kept = shown[: most - 1]
        shown = [*kept, f'{len(counts) - len(kept)} others']
    place = {name: index for index, name in enumerate(kept)}
    group = [place.get(name or '(none)', len(kept)) for name in names]
    return Grouping(title, shown, np.array(group, dtype=np.int64))


def standard_groupings(traits: 'QueryTraits') -> list[Grouping]:
    """The ways in which a report parts the queries.

    Names that no query has are left out, and so is the searched part where
    it is always the whole video.
    """
    span, area = traits.span_seconds, 100 * traits.area
    whole, part = traits.video_seconds, traits.segment_seconds
    found = [
        group_by_name('sentence', traits.types),
        group_by_value('length of the true span', span, SPAN_EDGES, 's'),
        group_by_value(
            'size of the object', area, AREA_EDGES, '% of the picture'
        ),
    ]
    for title, names in (
        ('category of the object', traits.categories),
        ('predicate', traits.predicates),
    ):
        if any(names):
            found.append(group_by_name(title, names))
    found.append(
        group_by_value('length of the video', whole, VIDEO_EDGES, 's')
    )
    if (part != whole).any():
        title = 'length of the searched part'
        found.append(group_by_value(title, part, VIDEO_EDGES, 's'))
    return found


def group_scores(
    scores: TubeScores, grouping: Grouping
) -> list[tuple[str, int, dict[str, float]]]:
    """Name, number of queries and mean scores of each group."""
    count = len(grouping.names)
    sizes = np.bincount(grouping.group, minlength=count)
    means_G = {
        key: np.bincount(grouping.group, column_Q, minlength=count) / sizes
        for key, column_Q in scores.columns().items()
    }
    return [
        (name, size, {key: float(mean[at]) for key, mean in means_G.items()})
        for at, (name, size) in enumerate(zip(grouping.names, sizes.tolist()))
    ]


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

    Tells what a score loses in time, and what in space. Arguments and errors
    are those of :func:`~hero_mm.evaluation.evaluate_tubes`. A query without a
    prediction scores 0 whatever is replaced, but in ``both``.

    Examples:
        >>> box, half = [0, 0, 4, 4], [0, 0, 4, 2]
        >>> truth = dict(span=[0, 2], segment=[0, 5], fps=5,
        ...              boxes={0: box, 1: box})
        >>> guess = dict(span=[0, 1], boxes={0: half, 1: half})
        >>> split = split_errors({'a': truth}, {'a': guess})
        >>> [float(part.viou[0]) for part in (split.predicted, split.both)]
        [0.25, 1.0]
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

    The interval is a paired bootstrap: queries are drawn again with
    replacement, and both predictions are averaged over the same draw.

    Args:
        first (TubeScores): Of the one.
        second (TubeScores): Of the other, for the same queries by the same
            protocol; else a ValueError is raised.
        clusters (Sequence[str], optional): What is drawn as a whole, a name
            a query, such as its video, whose errors its sentences share.
            Defaults to each query by itself.
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
