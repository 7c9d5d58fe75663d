"""The other objects of an annotation, as plain arrays."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from .functional.boxes import FloatArray, IntArray

if TYPE_CHECKING:
    from hero_mm.datasets.annotation import GroundingAnnotation

Tracks = list[tuple[IntArray, FloatArray]]


class OtherTracks(Mapping[str, Tracks]):
    """By query id: the tracks of the video that the sentence is not about.

    Each is made when it is asked for, frames (F,) and boxes (F, 4) of the
    true span only; :func:`~hero_mm.evaluation.functional.selection_report`
    takes it.

    Args:
        annotation (GroundingAnnotation): A loaded annotation file.
    """

    def __init__(self, annotation: 'GroundingAnnotation') -> None:
        self._queries = {
            query['query_id']: (annotation.videos[clip['video_id']], query)
            for clip in annotation.data_list
            for query in clip['queries']
        }

    def __getitem__(self, query_id: str) -> Tracks:
        """Give frames and boxes of each other object."""
        video, query = self._queries[query_id]
        frames_F = np.arange(*query['span'], dtype=np.int64)
        tracks = []
        for track_id in video.tracks:
            if track_id != query['track_id']:
                boxes_F4, valid_F = video.track_boxes(
                    track_id, frames_F.tolist()
                )
                boxes = boxes_F4[valid_F].astype(np.float64)
                tracks.append((frames_F[valid_F], boxes))
        return tracks

    def __iter__(self) -> Iterator[str]:
        """Go through the query ids."""
        return iter(self._queries)

    def __len__(self) -> int:
        """Count the queries."""
        return len(self._queries)
