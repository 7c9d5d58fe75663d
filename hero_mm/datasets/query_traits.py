"""What is known of the queries of an annotation, as plain arrays.

Shape legend: Q queries.
"""

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .annotation import GroundingAnnotation

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class QueryTraits:
    """Traits of every query, in the order of the annotation.

    Each list has Q entries, and each array has shape (Q,).

    Attributes:
        query_ids, video_ids, texts, types (list[str]): As in the file.
        categories, predicates (list[str]): What the object is and what it
            does, '' where it is unknown.
        span_seconds (np.ndarray): Length of the true span.
        segment_seconds (np.ndarray): Of what is searched.
        video_seconds (np.ndarray): Of the video.
        area (np.ndarray): Mean area of the true boxes in the span as a share
            of the picture.
        boxes (np.ndarray): Frames of the span that have a true box, int64.
        frames (np.ndarray): Frames of the span, int64.
    """

    query_ids: list[str]
    video_ids: list[str]
    texts: list[str]
    types: list[str]
    categories: list[str]
    predicates: list[str]
    span_seconds: FloatArray
    segment_seconds: FloatArray
    video_seconds: FloatArray
    area: FloatArray
    boxes: NDArray[np.int64]
    frames: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.query_ids)

    @property
    def words(self) -> NDArray[np.int64]:
        """np.ndarray: Words of each sentence, has shape (Q,)."""
        return np.array([len(text.split()) for text in self.texts], np.int64)


def query_traits(annotation: 'GroundingAnnotation') -> QueryTraits:
    """The traits of all queries, in the order of ``ground_truths()``."""
    rows: list[tuple] = []
    for clip in annotation.data_list:
        video = annotation.videos[clip['video_id']]
        start, end = clip['segment']
        for query in clip['queries']:
            track_id = query['track_id']
            frames = np.arange(*query['span'])
            boxes_F4, valid_F = video.track_boxes(track_id, frames)
            sides_F2 = (boxes_F4[:, 2:] - boxes_F4[:, :2])[valid_F]
            areas = sides_F2.astype(np.float64).prod(axis=1)
            row = (
                query['query_id'],
                clip['video_id'],
                query['text'],
                query['type'],
                query.get('category') or video.tracks[track_id].category,
                query.get('predicate') or '',
                len(frames) / video.fps,
                (end - start) / video.fps,
                video.frame_count / video.fps,
                areas.mean() / (video.width * video.height),
                len(areas),
                len(frames),
            )
            rows.append(row)
    columns: Any = list(zip(*rows)) or [()] * len(fields(QueryTraits))
    names: Any = map(list, columns[:6])
    shares = [np.array(column, np.float64) for column in columns[6:10]]
    counts = [np.array(column, np.int64) for column in columns[10:]]
    return QueryTraits(*names, *shares, *counts)
