"""Query ids that are counted another way than the annotation counts them.

They are running numbers, so that those of another numbering name sentences
too, and get scores that look like scores.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Optional

import numpy as np

if TYPE_CHECKING:
    from hero_mm.datasets.annotation import GroundingAnnotation

Ends = Optional[tuple[int, int]]
# Of the length of a segment: boxes of a sampled grid may begin so much later.
_SLACK = 0.1


def other_numbering(
    predictions: Mapping[str, Mapping[str, Any]],
    annotation: 'GroundingAnnotation',
) -> Optional[str]:
    """What speaks for ids that are counted another way; None where nothing.

    Segments differ: predictions under the right ids have their boxes on the
    frames of their segment, from its start to its end or, of boxes inside the
    predicted span alone, within it.
    """
    queries = [
        (query['query_id'], clip['video_id'], query.get('type') or '')
        for clip in annotation.data_list
        for query in clip['queries']
    ]
    segments = {
        query['query_id']: tuple(clip['segment'])
        for clip in annotation.data_list
        for query in clip['queries']
    }
    ids = [*predictions, *segments]
    if not predictions or not all(name.isdecimal() for name in ids):
        return None
    ours = sorted(predictions, key=int)
    ends = [_ends(predictions[name]) for name in ours]
    total = len(ours) - ends.count(None)
    by_number = sorted(queries, key=lambda query: int(query[0]))
    first = int(by_number[0][0])
    ways = {
        f'from {start} instead of {first}': [
            str(int(name) + first - start) for name in ours
        ]
        for start in (first - 1, first + 1, int(ours[0]))
        if start != first
    }
    if len(ours) == len(queries):
        orders = {
            'clip by clip, as the annotation has them': queries,
            'video by video': sorted(by_number, key=lambda query: query[1]),
            'one type after the other': sorted(
                by_number, key=lambda query: query[2]
            ),
        }
        for name, order in orders.items():
            ways[name] = [query[0] for query in order]
    for whole, where in (True, 'on the whole of'), (False, 'inside'):
        given, *fits = (
            _count_fits(ends, [segments.get(name) for name in way], whole)
            for way in (ours, *ways.values())
        )
        best = max(fits)
        # Nearly all must be explained: segments may be alike by chance.
        if best > given and 10 * (total - best) <= total - given:
            return (
                f'{given} of {total} predictions have their boxes {where} the '
                f'segment of their query, and {best} would have if query ids '
                f'were counted {list(ways)[fits.index(best)]}. Number them as '
                f'the annotation does, or write "video" and "text" into the '
                f'predictions, to be compared with it.'
            )
    return None


def _ends(item: Mapping[str, Any]) -> Ends:
    """First and last frame of the boxes, a pair of arrays or by frame."""
    boxes = item.get('boxes', {})
    frames = boxes[0] if isinstance(boxes, tuple) else list(map(int, boxes))
    return (min(frames), max(frames)) if len(frames) else None


def _count_fits(
    ends: Sequence[Ends], segments: Sequence[Ends], whole: bool
) -> int:
    """Predictions whose boxes are where the segment of their query is."""
    fits = 0
    for has, segment in zip(ends, segments):
        if has and segment:
            (first, last), (start, end) = has, segment
            slack = 1 + _SLACK * (end - start) if whole else np.inf
            begins = start <= first <= start + slack
            fits += begins and end > last >= end - 1 - slack
    return fits
