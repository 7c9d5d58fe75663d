"""What is known of the queries of an annotation, as plain arrays.

Shape legend: Q queries. Lengths are in seconds, sizes are shares of the
picture.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .annotation import GroundingAnnotation

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class QueryTraits:
    """Traits of every query, in the order of the annotation.

    Attributes:
        query_ids (list[str]): Their ids.
        video_ids (list[str]): The video of each.
        texts (list[str]): The sentences.
        types (list[str]): ``'declarative'`` or ``'interrogative'``.
        categories (list[str]): What the object is, '' where it is unknown.
        predicates (list[str]): What it does, '' where it is unknown.
        span_seconds (np.ndarray): Length of the true span, has shape (Q,).
        segment_seconds (np.ndarray): Length of the part of the video that is
            searched, has shape (Q,).
        video_seconds (np.ndarray): Length of the video, has shape (Q,).
        area (np.ndarray): Mean area of the true boxes in the span as a share
            of the picture, has shape (Q,).
        boxes (np.ndarray): Frames of the span that have a true box, int64,
            has shape (Q,).
        frames (np.ndarray): Frames of the span, int64, has shape (Q,).
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
    texts: list[Sequence[str]] = []
    numbers: list[Sequence[float]] = []
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
            texts.append(
                (
                    query['query_id'],
                    clip['video_id'],
                    query['text'],
                    query['type'],
                    category,
                    query.get('predicate') or '',
                )
            )
            numbers.append(
                (
                    len(frames) / video.fps,
                    (end - start) / video.fps,
                    video.frame_count / video.fps,
                    areas.mean() / (video.width * video.height),
                    len(areas),
                    len(frames),
                )
            )
    ids, video_ids, sentences, types, categories, predicates = [
        list(column) for column in zip(*texts)
    ] or [[] for _ in range(6)]
    table = np.array(numbers, dtype=np.float64).reshape(-1, 6)
    return QueryTraits(
        query_ids=ids,
        video_ids=video_ids,
        texts=sentences,
        types=types,
        categories=categories,
        predicates=predicates,
        span_seconds=table[:, 0],
        segment_seconds=table[:, 1],
        video_seconds=table[:, 2],
        area=table[:, 3],
        boxes=table[:, 4].astype(np.int64),
        frames=table[:, 5].astype(np.int64),
    )
