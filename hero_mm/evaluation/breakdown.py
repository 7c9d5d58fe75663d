"""Scores of groups of queries: by sentence, length, size, object, action.

Shape legend: Q queries, G groups.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .functional import TubeScores
from .functional.boxes import FloatArray, IntArray

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


@dataclass(frozen=True)
class Grouping:
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
    return Grouping(
        title, [names[place] for place in found], group_Q.astype(np.int64)
    )


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
    by_name = {
        'category of the object': traits.categories,
        'predicate': traits.predicates,
    }
    lengths = {
        'length of the video': traits.video_seconds,
        'length of the searched part': traits.segment_seconds,
    }
    if (traits.segment_seconds == traits.video_seconds).all():
        del lengths['length of the searched part']
    span, area = traits.span_seconds, 100 * traits.area
    return [
        group_by_name('sentence', traits.types),
        group_by_value('length of the true span', span, SPAN_EDGES, 's'),
        group_by_value(
            'size of the object', area, AREA_EDGES, '% of the picture'
        ),
        *(
            group_by_name(title, names)
            for title, names in by_name.items()
            if any(names)
        ),
        *(
            group_by_value(title, seconds, VIDEO_EDGES, 's')
            for title, seconds in lengths.items()
        ),
    ]


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
