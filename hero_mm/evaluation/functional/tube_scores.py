"""Scores of predicted tubes: temporal overlap, tube overlap, accuracy.

Plain numpy; :class:`hero_mm.evaluation.TubeMetric` wraps it for MMEngine.

Shape legend: Q queries, N frames of the grid, F true frames that are graded.
Boxes are xyxy; spans are half-open ``[start, end)`` in native frames.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

import numpy as np

from hero_mm.errors import UserError, UserTypeError
from hero_mm.texts import name_some

from .boxes import BoolArray, FloatArray, IntArray, find_frames, iou_on_frames
from .protocols import Protocol, get_protocol, sampled_grid
from .tubes import (
    TrueTube,
    Tube,
    means_by_type,
    read_ground_truth,
    read_prediction,
)

THRESHOLDS = (0.3, 0.5)
# A mean of overlaps that are all 0.4 is 0.39999999999999997 of some lengths.
# The published code of VID-sentence adds 1e-10 inside its box overlap, and so
# passes them.
ACCURACY_SLACK = 1e-9
_NAMED = 5
_DOUBTS = {
    'missing': '{0} of {1} queries have no prediction and score 0',
    'unknown': '{0} predictions belong to no query of the annotation and are '
    'ignored',
    'ungraded': '{0} of {1} queries have no true box on a frame that the '
    'protocol grades, and score 0 whatever is predicted',
    'boxless': '{0} of {1} queries are predicted and have no box on some of '
    'the frames that the protocol grades, which score 0: predict a box on '
    'every native frame, or on those of the grid (docs/metrics.md, section '
    '2); or are query ids counted another way?',
    'elsewhere': '{0} of {1} queries have their predicted span, or boxes, '
    'outside the segment that is searched: are query ids, or frames, counted '
    'another way? Predictions that carry "video" and "text" are compared with '
    'the annotation',
}
"""What is warned of, by attribute of :class:`TubeScores`."""
_NOTHING: dict[str, Any] = dict(span=(0.0, 0.0), boxes={})


@dataclass(frozen=True)
class TubeScores:
    """Scores of every query, before they are averaged.

    Attributes:
        protocol (Protocol): How they were scored.
        query_ids (list[str]): In the order of the ground truths.
        query_types (list[str, optional]): Their types.
        tiou, viou (np.ndarray): Temporal and tube overlap, have shape (Q,).
        gt_viou (np.ndarray): Mean box overlap in the true span, whatever
            span was predicted, has shape (Q,).
        missing (Sequence[str]): Queries without a prediction; they score 0.
        unknown (Sequence[str]): Predictions without a ground truth; ignored.
        ungraded (Sequence[str]): Queries without a true box on a frame that
            the protocol grades; they score 0.
        boxless (Sequence[str]): Queries whose prediction has no box on some
            graded frame, where it scores 0.
        elsewhere (Sequence[str]): Queries whose predicted span, or boxes, are
            wholly outside the segment.
    """

    protocol: Protocol
    query_ids: list[str]
    query_types: list[Optional[str]]
    tiou: FloatArray
    viou: FloatArray
    gt_viou: FloatArray
    missing: Sequence[str] = ()
    unknown: Sequence[str] = ()
    ungraded: Sequence[str] = ()
    boxless: Sequence[str] = ()
    elsewhere: Sequence[str] = ()

    def records(self) -> dict[str, dict[str, float]]:
        """``tiou``, ``viou`` and ``gt_viou`` by query id."""
        rows = np.stack([self.tiou, self.viou, self.gt_viou], 1).tolist()
        return {
            query_id: dict(zip(('tiou', 'viou', 'gt_viou'), row))
            for query_id, row in zip(self.query_ids, rows)
        }

    def summary(self) -> dict[str, float]:
        """Mean scores by key of the protocol, and by sentence type."""
        return means_by_type(self.columns(), self.query_types)

    def columns(self) -> dict[str, FloatArray]:
        """What is averaged, (Q,) by key; ``vIoU@R``, ``acc@R`` are 0 or 1."""
        if self.protocol.accuracies:
            result = {}
            for value in self.protocol.accuracies:
                passed = self.gt_viou >= value - ACCURACY_SLACK
                result[f'acc@{value}'] = passed.astype(np.float64)
            return dict(result, acc_avg=np.mean(list(result.values()), axis=0))
        result = dict(m_tIoU=self.tiou)
        for name, scores in (('', self.viou), ('gt_', self.gt_viou)):
            result[f'{name}m_vIoU'] = scores
            for value in THRESHOLDS:
                passed = scores > value
                result[f'{name}vIoU@{value}'] = passed.astype(np.float64)
        return result


def evaluate_tubes(
    ground_truths: Mapping[str, Mapping[str, Any]],
    predictions: Mapping[str, Mapping[str, Any]],
    protocol: str = 'tubedetr',
    strict: bool = False,
    per_query: bool = False,
    dataset: Optional[str] = None,
    interpolate: Optional[bool] = None,
) -> dict[str, Any]:
    """Score predicted tubes.

    Args:
        ground_truths (Mapping): By query id: ``span`` and ``segment``,
            ``[start, end)`` in native frames; ``boxes`` ``{frame: [x1, y1,
            x2, y2]}`` in pixels (or a pair of arrays); ``fps``;
            ``query_type``.
        predictions (Mapping): By query id: ``span`` and ``boxes``.
        protocol (str): One of :data:`~.protocols.PROTOCOLS`.
        strict (bool): Refuse missing and unknown queries. Otherwise a
            missing prediction scores 0, an unknown one is ignored, and a
            warning counts them.
        per_query (bool): Add the scores of each query as ``'per_query'``.
        dataset (str, optional): Name of the data set, for protocols that
            read data sets differently.
        interpolate (bool, optional): Whether to fill frames without a
            predicted box. Defaults to what the protocol does.

    Returns:
        dict: ``m_tIoU``, ``m_vIoU``, ``vIoU@0.3``, ``vIoU@0.5``,
        ``gt_m_vIoU``, ``gt_vIoU@0.3``, ``gt_vIoU@0.5`` in [0, 1] (with
        ``vid_sentence``: ``acc@0.4``, ``acc@0.5``, ``acc@0.6``,
        ``acc_avg``), over all queries and, prefixed with
        ``'declarative/'`` and ``'interrogative/'``, over those of a type.

    Raises:
        ValueError: If something is missing, malformed (the message names the
            query) or unknown.

    Examples:
        >>> truth = dict(span=[0, 2], segment=[0, 3], fps=5,
        ...              boxes={0: [0, 0, 4, 4], 1: [0, 0, 4, 4]})
        >>> guess = dict(span=[0, 1], boxes={0: [0, 0, 4, 2]})
        >>> scores = evaluate_tubes({'a': truth}, {'a': guess})
        >>> scores['m_tIoU'], scores['m_vIoU'], scores['gt_m_vIoU']
        (0.5, 0.25, 0.25)
    """
    scores = score_tubes(
        ground_truths, predictions, protocol, strict, dataset, interpolate
    )
    result: dict[str, Any] = dict(scores.summary())
    if per_query:
        result['per_query'] = scores.records()
    return result


def score_tubes(
    ground_truths: Mapping[str, Mapping[str, Any]],
    predictions: Mapping[str, Mapping[str, Any]],
    protocol: str = 'tubedetr',
    strict: bool = False,
    dataset: Optional[str] = None,
    interpolate: Optional[bool] = None,
) -> TubeScores:
    """Score each query, as :func:`evaluate_tubes` does, without averaging."""
    chosen = get_protocol(protocol, dataset, interpolate)
    for items in (ground_truths, predictions):
        if not isinstance(items, Mapping):
            raise UserTypeError(
                f'Ground truths and predictions must be mappings from query '
                f'id to a dict, found {type(items).__name__}.'
            )
    if not ground_truths:
        raise UserError('There is no ground truth: give at least one query.')
    # A set, since a lazy mapping makes the item to say whether it has it.
    known = set(ground_truths)
    rows, query_types = [], []
    for query_id, item in ground_truths.items():
        truth = read_ground_truth(query_id, item)
        if chosen.grid == 'sampled' and not (truth.fps or 0) > 0:
            raise UserError(
                f'ground truth of query {query_id!r}: protocol '
                f'{chosen.name!r} needs a positive fps, found {truth.fps}.'
            )
        query_types.append(truth.query_type)
        given = predictions.get(query_id, _NOTHING)
        prediction = read_prediction(query_id, given)
        scored, graded, lacks = tube_overlaps(chosen, truth, prediction)
        is_given = given is not _NOTHING
        is_elsewhere = is_given and _is_elsewhere(prediction, truth)
        rows.append((*scored, not graded, is_given and lacks, is_elsewhere))
    tiou, viou, gt_viou, *doubts = np.array(rows, dtype=np.float64).T
    ungraded, boxless, elsewhere = (
        [key for key, doubtful in zip(ground_truths, column) if doubtful]
        for column in doubts
    )
    scores = TubeScores(
        protocol=chosen,
        query_ids=list(ground_truths),
        query_types=query_types,
        tiou=tiou,
        viou=viou,
        gt_viou=gt_viou,
        missing=[key for key in ground_truths if key not in predictions],
        unknown=[key for key in predictions if key not in known],
        ungraded=ungraded,
        boxless=boxless,
        elsewhere=elsewhere,
    )
    _report(scores, strict)
    return scores


def tube_overlaps(
    protocol: Protocol, truth: TrueTube, prediction: Tube
) -> tuple[tuple[float, float, float], bool, bool]:
    """tIoU, vIoU, gt_vIoU of one query; a sampled grid needs its frame rate.

    And whether any frame is graded, that is, has a true box and is on the
    grid; and whether one of these has no predicted box.
    """
    start, stop = truth.span
    end, (pred_start, pred_end) = stop, prediction.span
    if protocol.gt_end == 'as_last':
        end = max(start, min(stop, truth.segment[1] - 1))
    elif protocol.gt_end == 'last':
        end = stop - 1
    hold = protocol.gt_end != 'exclusive'
    stop = end + 1 if hold else stop
    if protocol.tiou == 'frames':
        # A submission there has whole frames; the first one inside our span.
        pred_start, pred_end = math.ceil(pred_start), math.ceil(pred_end)
    inner = (max(start, pred_start), min(end, pred_end))
    hull = (min(start, pred_start), max(end, pred_end))
    if protocol.grid == 'sampled':
        assert truth.fps is not None
        grid_N = sampled_grid(truth.segment, truth.fps)
        wanted_F = grid_N[_within(grid_N, start, stop)]
        union = float(_within(grid_N, *hull).sum())
    else:
        wanted_F = np.arange(start, stop, dtype=np.int64)
        union = hull[1] - hull[0]
    frames_F, boxes_F4 = _true_boxes(truth, wanted_F, hold)
    iou_F, there_F = iou_on_frames(
        (frames_F, boxes_F4),
        (prediction.frames, prediction.boxes),
        protocol.interpolate,
    )
    inside_F = _within(frames_F, *inner)
    if protocol.tiou == 'frames':
        tiou = float((there_F & inside_F).sum()) / union
    else:
        common = max(inner[1] - inner[0], 0.0)
        lengths = end - start + pred_end - pred_start
        tiou = common / (lengths - common) if common else 0.0
        # Frames of the true span without a true box cannot be graded.
        union -= _within(wanted_F, start, end).sum()
        union += _within(frames_F, start, end).sum()
    viou = _sum_in_order(iou_F[inside_F]) / max(union, 1)
    gt_viou = _sum_in_order(iou_F) / max(len(frames_F), 1)
    boxless = not there_F.all()
    return (tiou, viou, gt_viou), len(frames_F) > 0, boxless


def _sum_in_order(values_N: FloatArray) -> float:
    # numpy adds in pairs; the published evaluators add one by one, and a tube
    # that sits on a threshold is decided by the last digit.
    return float(np.cumsum(values_N)[-1]) if len(values_N) else 0.0


def _within(frames_N: IntArray, start: float, end: float) -> BoolArray:
    return (frames_N >= start) & (frames_N < end)


def _true_boxes(
    truth: TrueTube, wanted_F: IntArray, hold: bool
) -> tuple[IntArray, FloatArray]:
    """Give the wanted frames that have a true box, and the boxes.

    With ``hold`` the last of them, where it has none, has that of the frame
    before, as code has it that takes the end of a span for its last frame.
    """
    rows_F, there_F = find_frames(truth.frames, wanted_F)
    if hold and not there_F[-1]:
        rows_F[-1:], there_F[-1:] = find_frames(
            truth.frames, wanted_F[-1:] - 1
        )
    return wanted_F[there_F], truth.boxes[rows_F[there_F]]


def _is_elsewhere(prediction: Tube, truth: TrueTube) -> bool:
    """Whether a prediction has nothing to do with the searched segment."""
    start, end = truth.segment
    (first, last), frames = prediction.span, prediction.frames
    no_box = len(frames) and (frames[-1] < start or frames[0] >= end)
    return bool(last <= start or first >= end or no_box)


def _report(scores: TubeScores, strict: bool) -> None:
    """Warn of scores that say little of the model."""
    for attribute, text in _DOUBTS.items():
        names = getattr(scores, attribute)
        found = text.format(len(names), len(scores.query_ids))
        found = f'{found} ({name_some(map(repr, names), _NAMED)}).'
        if names and strict and attribute in ('missing', 'unknown'):
            raise UserError(
                f'{found} Predict every query and no other, or score without '
                f'strict.'
            )
        if names:
            warnings.warn(found, stacklevel=4)
