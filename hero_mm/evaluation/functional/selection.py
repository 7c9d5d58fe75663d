"""Was the right object picked, whatever span was predicted?

On the frames of the true span that have a true box, a frame is

- **picked** if the predicted box overlaps the true box by more than
  :data:`MIN_IOU` and more than the box of any other object;
- **other** if it is not picked and the box overlaps another object by more
  than :data:`MIN_IOU`;
- **nothing** otherwise, also where there is no prediction.

Predicted boxes are interpolated between the given frames and held at the ends.

Shape legend: F graded frames. Boxes are xyxy.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .boxes import FloatArray, IntArray, find_frames, iou_on_frames
from .tubes import (
    BoxesOnFrames,
    boxes_to_arrays,
    means_by_type,
    read_ground_truth,
    read_prediction,
)

if TYPE_CHECKING:
    from hero_mm.datasets.annotation import GroundingAnnotation

Tracks = list[tuple[IntArray, FloatArray]]
MIN_IOU = 0.1


def selection_report(
    ground_truths: Mapping[str, Mapping[str, Any]],
    predictions: Mapping[str, Mapping[str, Any]],
    distractors: Mapping[str, Sequence[BoxesOnFrames]],
) -> dict[str, float]:
    """Find out which object each prediction follows.

    Args:
        ground_truths (Mapping): As :func:`evaluate_tubes` takes them.
        predictions (Mapping): The same. A query without picked nothing.
        distractors (Mapping): By query id: boxes of every other object of
            the video, each ``{frame: box}`` or a pair of arrays, as
            :class:`hero_mm.evaluation.OtherTracks` gives them.

    Returns:
        dict[str, float]: ``picked``, ``other``, ``nothing``: mean shares of
        frames, which add up to 1; ``picked_queries``: share of queries that
        picked the true object on more than half of the frames;
        ``picked_iou``: mean overlap on picked frames, over queries that have
        some. Over all queries and, prefixed, over those of a sentence type.

    Examples:
        >>> truth = dict(span=[0, 4], segment=[0, 4],
        ...              boxes={frame: [0, 0, 4, 4] for frame in range(4)})
        >>> guess = dict(span=[0, 4], boxes={0: [0, 0, 4, 3]})
        >>> other = [{3: [0, 0, 4, 3]}]
        >>> found = selection_report({'a': truth}, {'a': guess}, {'a': other})
        >>> found['picked'], found['other'], found['picked_iou']
        (0.75, 0.25, 0.75)
    """
    rows = []
    query_types = []
    for query_id, item in ground_truths.items():
        truth = read_ground_truth(query_id, item)
        query_types.append(truth.query_type)
        if query_id not in predictions:
            rows.append((0.0, 0.0, 1.0, float('nan')))
            continue
        start, end = truth.span
        inside_N = (truth.frames >= start) & (truth.frames < end)
        frames_F, boxes_F4 = truth.frames[inside_N], truth.boxes[inside_N]
        guess = read_prediction(query_id, predictions[query_id])
        given = (guess.frames, guess.boxes)
        true_F, _ = iou_on_frames((frames_F, boxes_F4), given, True)
        other_F = np.zeros(len(frames_F))
        for track in distractors.get(query_id, ()):
            frames, boxes = boxes_to_arrays(
                track, f'distractor of query {query_id!r}'
            )
            rows_F, there_F = find_frames(frames, frames_F)
            wanted = (frames_F[there_F], boxes[rows_F[there_F]])
            overlap, _ = iou_on_frames(wanted, given, True)
            other_F[there_F] = np.maximum(other_F[there_F], overlap)
        picked_F = (true_F > MIN_IOU) & (true_F > other_F)
        wrong_F = ~picked_F & (other_F > MIN_IOU)
        nothing = (~picked_F & ~wrong_F).mean()
        iou = true_F[picked_F].mean() if picked_F.any() else np.nan
        rows.append((picked_F.mean(), wrong_F.mean(), nothing, iou))
    picked, other, nothing, iou = np.array(rows, dtype=np.float64).T
    columns = dict(picked=picked, other=other, nothing=nothing)
    columns['picked_queries'] = (picked > 0.5).astype(np.float64)
    return means_by_type(dict(columns, picked_iou=iou), query_types)


class OtherTracks(Mapping[str, Tracks]):
    """By query id: the tracks of the video that the sentence is not about.

    Each is made when it is asked for, frames (F,) and boxes (F, 4) of the
    true span only; :func:`selection_report` takes it.

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
