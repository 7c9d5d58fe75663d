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
    columns: dict[str, Any] = {field.name: [] for field in fields(QueryTraits)}
    for clip in annotation.data_list:
        video = annotation.videos[clip['video_id']]
        start, end = clip['segment']
        for query in clip['queries']:
            track_id = query['track_id']
            frames = np.arange(*query['span'])
            boxes_F4, valid_F = video.track_boxes(track_id, frames)
            sides_F2 = (boxes_F4[:, 2:] - boxes_F4[:, :2])[valid_F]
            areas = sides_F2.astype(np.float64).prod(axis=1)
            category = query.get('category') or video.tracks[track_id].category
            row = dict(
                query_ids=query['query_id'],
                video_ids=clip['video_id'],
                texts=query['text'],
                types=query['type'],
                categories=category,
                predicates=query.get('predicate') or '',
                span_seconds=len(frames) / video.fps,
                segment_seconds=(end - start) / video.fps,
                video_seconds=video.frame_count / video.fps,
                area=areas.mean() / (video.width * video.height),
                boxes=len(areas),
                frames=len(frames),
            )
            for name, value in row.items():
                columns[name].append(value)
    for name in ('span_seconds', 'segment_seconds', 'video_seconds', 'area'):
        columns[name] = np.array(columns[name], np.float64)
    for name in ('boxes', 'frames'):
        columns[name] = np.array(columns[name], np.int64)
    return QueryTraits(**columns)
