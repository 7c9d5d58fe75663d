"""Scores of predicted tubes: temporal overlap, tube overlap, accuracy.

Plain numpy; :class:`hero_mm.evaluation.TubeMetric` wraps it for MMEngine.

Shape legend: Q queries, N frames of the grid, F true frames that are graded.
Boxes are xyxy; spans are half-open ``[start, end)`` in native frames.
"""

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Optional

import numpy as np

from hero_mm.errors import UserError, UserTypeError

from .boxes import (
    BoolArray,
    FloatArray,
    IntArray,
    find_frames,
    iou_on_frames,
)
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
_NOTHING: dict[str, Any] = dict(span=(0.0, 0.0), boxes={})


@dataclass(frozen=True)
class TubeScores:
    """Scores of every query, before they are averaged.

    Attributes:
        protocol (Protocol): How they were scored.
        query_ids (list[str]): In the order of the ground truths.
        query_types (list[str, optional]): Their types.
        tiou (np.ndarray): Temporal overlap, has shape (Q,).
        viou (np.ndarray): Tube overlap, has shape (Q,).
        gt_viou (np.ndarray): Mean box overlap in the true span, whatever
            span was predicted, has shape (Q,).
        missing (list[str]): Queries without a prediction; they score 0.
        unknown (list[str]): Predictions without a ground truth; ignored.
        ungraded (list[str]): Queries without a true box on a frame that the
            protocol grades; they score 0.
        boxless (list[str]): Queries whose prediction has no box on some
            graded frame, where it scores 0.
        elsewhere (list[str]): Queries whose predicted span, or boxes, are
            wholly outside the segment.
    """

    protocol: Protocol
    query_ids: list[str]
    query_types: list[Optional[str]]
    tiou: FloatArray
    viou: FloatArray
    gt_viou: FloatArray
    missing: list[str]
    unknown: list[str]
    ungraded: list[str] = field(default_factory=list)
    boxless: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)

    def records(self) -> dict[str, dict[str, float]]:
        """``tiou``, ``viou`` and ``gt_viou`` by query id."""
        rows = zip(self.query_ids, self.tiou, self.viou, self.gt_viou)
        return {
            query_id: dict(
                tiou=float(tiou), viou=float(viou), gt_viou=float(gt_viou)
            )
            for query_id, tiou, viou, gt_viou in rows
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


class Overlaps(NamedTuple):
    """Scores of one query, and on what they stand.

    ``graded`` frames have a true box and are on the grid; ``boxless`` are
    those of them without a predicted box, ``boxless_inside`` those of these
    inside the predicted span.
    """

    tiou: float
    viou: float
    gt_viou: float
    graded: int
    boxless: int
    boxless_inside: int


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
            predicted box from their neighbours. Defaults to what the
            protocol does.

    Returns:
        dict: ``m_tIoU``, ``m_vIoU``, ``vIoU@0.3``, ``vIoU@0.5``,
        ``gt_m_vIoU``, ``gt_vIoU@0.3``, ``gt_vIoU@0.5`` in [0, 1] (with
        ``vid_sentence``: ``acc@0.4``, ``acc@0.5``, ``acc@0.6``,
        ``acc_avg``), over all queries and, prefixed with
        ``'declarative/'`` and ``'interrogative/'``, over those of a type.

    Raises:
        ValueError: If there is no ground truth, an entry is malformed (the
            message names the query), the protocol is unknown, or, with
            ``strict``, queries are missing or unknown.
        TypeError: If the truths or the predictions are no mappings.

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
    for items, name in (
        (ground_truths, 'ground truths'),
        (predictions, 'predictions'),
    ):
        if not isinstance(items, Mapping):
            raise UserTypeError(
                f'The {name} must be a mapping from query id to a dict, '
                f'found {type(items).__name__}.'
            )
    if not ground_truths:
        raise UserError('There is no ground truth: give at least one query.')
    # A set, since a lazy mapping makes the item to say whether it has it.
    known = set(ground_truths)
    missing = [key for key in ground_truths if key not in predictions]
    unknown = [key for key in predictions if key not in known]
    _report_strangers(missing, unknown, len(ground_truths), strict)
    rows: dict[str, Overlaps] = {}
    query_types, elsewhere = [], []
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
        rows[query_id] = tube_overlaps(chosen, truth, prediction)
        if given is not _NOTHING and _is_elsewhere(prediction, truth):
            elsewhere.append(query_id)
    there = {key: row for key, row in rows.items() if key in predictions}
    table = np.array([row[:3] for row in rows.values()], dtype=np.float64)
    scores = TubeScores(
        protocol=chosen,
        query_ids=list(ground_truths),
        query_types=query_types,
        tiou=table[:, 0],
        viou=table[:, 1],
        gt_viou=table[:, 2],
        missing=missing,
        unknown=unknown,
        ungraded=[key for key, row in rows.items() if not row.graded],
        boxless=[key for key, row in there.items() if row.boxless],
        elsewhere=elsewhere,
    )
    _report_doubts(scores, there)
    return scores


def tube_overlaps(
    protocol: Protocol, truth: TrueTube, prediction: Tube
) -> Overlaps:
    """Score one query; a sampled grid needs its frame rate."""
    if protocol.tiou == 'frames':
        return _overlaps_by_frames(protocol, truth, prediction)
    (start, end), stop = _true_extent(protocol, truth)
    pred_start, pred_end = prediction.span
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
    hold = protocol.gt_end != 'exclusive'
    frames_F, boxes_F4 = _true_boxes(truth, wanted_F, hold)
    # Frames of the true span without a true box cannot be graded.
    union -= _within(wanted_F, start, end).sum()
    union += _within(frames_F, start, end).sum()
    iou_F, there_F = _predicted(protocol, prediction, frames_F, boxes_F4)
    common = max(inner[1] - inner[0], 0.0)
    lengths = end - start + pred_end - pred_start
    tiou = common / (lengths - common) if common else 0.0
    inside_F = _within(frames_F, *inner)
    viou = _sum_in_order(iou_F[inside_F]) / max(union, 1)
    gt_viou = _sum_in_order(iou_F) / max(len(frames_F), 1)
    return Overlaps(tiou, viou, gt_viou, *_counts(there_F, inside_F))


def _overlaps_by_frames(
    protocol: Protocol, truth: TrueTube, prediction: Tube
) -> Overlaps:
    """Score as the official HC-STVG evaluation: frames with both boxes."""
    # A submission there has whole frames; the first one inside our span.
    first, stop = (math.ceil(edge) for edge in prediction.span)
    start, end = truth.span
    wanted_F = np.arange(start, end, dtype=np.int64)
    frames_F, boxes_F4 = _true_boxes(truth, wanted_F)
    iou_F, there_F = _predicted(protocol, prediction, frames_F, boxes_F4)
    inside_F = _within(frames_F, first, stop)
    both_F = there_F & inside_F
    hull = max(end, stop) - min(start, first)
    tiou = float(both_F.sum()) / hull
    viou = _sum_in_order(iou_F[both_F]) / hull
    gt_viou = _sum_in_order(iou_F) / max(len(frames_F), 1)
    return Overlaps(tiou, viou, gt_viou, *_counts(there_F, inside_F))


def _predicted(
    protocol: Protocol,
    prediction: Tube,
    frames_F: IntArray,
    boxes_F4: FloatArray,
) -> tuple[FloatArray, BoolArray]:
    """Overlap on graded frames, and where there is a predicted box."""
    given = (prediction.frames, prediction.boxes)
    iou_F = iou_on_frames((frames_F, boxes_F4), given, protocol.interpolate)
    if protocol.interpolate:
        return iou_F, np.full(len(frames_F), len(prediction.frames) > 0)
    return iou_F, find_frames(prediction.frames, frames_F)[1]


def _counts(there_F: BoolArray, inside_F: BoolArray) -> tuple[int, int, int]:
    """Graded frames, those without a box, and those of these inside."""
    inside = (~there_F & inside_F).sum()
    return len(there_F), int((~there_F).sum()), int(inside)


def _sum_in_order(values_N: FloatArray) -> float:
    # numpy adds in pairs; the published evaluators add one by one, and a tube
    # that sits on a threshold is decided by the last digit.
    return float(np.cumsum(values_N)[-1]) if len(values_N) else 0.0


def _within(frames_N: IntArray, start: float, end: float) -> BoolArray:
    return (frames_N >= start) & (frames_N < end)


def _true_extent(
    protocol: Protocol, truth: TrueTube
) -> tuple[tuple[float, float], float]:
    """The true span whose length counts, and the end of graded frames."""
    start, end = truth.span
    if protocol.gt_end == 'exclusive':
        return (start, end), end
    last = end - 1
    if protocol.gt_end == 'as_last':
        last = max(start, min(end, truth.segment[1] - 1))
    return (start, last), last + 1


def _true_boxes(
    truth: TrueTube, wanted_F: IntArray, hold: bool = False
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


def _report_doubts(scores: TubeScores, there: Mapping[str, Overlaps]) -> None:
    """Warn of scores that say little of the model."""
    doubts = []
    total, name = len(scores.query_ids), scores.protocol.name
    if scores.ungraded:
        doubts.append(
            f'{len(scores.ungraded)} of {total} queries have no true box on a '
            f'frame that protocol {name!r} grades '
            f'({name_some(scores.ungraded)}); they score 0 whatever is '
            f'predicted.'
        )
    if scores.boxless:
        without = sum(row.boxless for row in there.values())
        inside = sum(row.boxless_inside for row in there.values())
        doubts.append(
            f'{len(scores.boxless)} of {len(there)} predictions have no box '
            f'on some of the frames that protocol {name!r} grades '
            f'({name_some(scores.boxless)}): {without} of '
            f'{sum(row.graded for row in there.values())} frames, {inside} '
            f'of them inside predicted spans, which score 0. Predict a box '
            f'on every native frame, or on those of the grid '
            f'(docs/metrics.md, section 2). Or are query ids counted another '
            f'way?'
        )
    if scores.elsewhere:
        doubts.append(
            f'{len(scores.elsewhere)} of {len(there)} predictions have their '
            f'span or their boxes outside the segment that is searched '
            f'({name_some(scores.elsewhere)}). Are query ids, or frames, '
            f'counted another way? Predictions that carry "video" and "text" '
            f'are compared with the annotation.'
        )
    for doubt in doubts:
        warnings.warn(doubt, stacklevel=4)


def _report_strangers(
    missing: list[str], unknown: list[str], total: int, strict: bool
) -> None:
    lines = []
    if missing:
        lines.append(
            f'{len(missing)} of {total} queries have no prediction '
            f'({name_some(missing)})'
        )
    if unknown:
        lines.append(
            f'{len(unknown)} predictions belong to no query of the '
            f'annotation ({name_some(unknown)})'
        )
    if lines and strict:
        raise UserError(
            f'{"; ".join(lines)}. Predict every query, or score without '
            f'strict to count missing ones as 0.'
        )
    if lines:
        warnings.warn(
            f'{"; ".join(lines)}. Missing ones score 0, unknown ones are '
            f'ignored.',
            stacklevel=4,
        )


def name_some(names: list[str]) -> str:
    """The first few names, in quotes."""
    shown = ', '.join(repr(name) for name in names[:_NAMED])
    return shown + (', ...' if len(names) > _NAMED else '')
