"""Scores of predicted tubes: temporal overlap, tube overlap, accuracy.

Plain numpy; :class:`hero_mm.evaluation.TubeMetric` wraps it for MMEngine.

Shape legend: Q queries, F graded true frames. Boxes are xyxy; spans are
half-open ``[start, end)`` in native frames.
"""

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional

import numpy as np

from .boxes import BoolArray, FloatArray, IntArray, find_frames, iou_on_frames
from .protocols import Protocol, get_protocol, sampled_grid
from .tubes import (
    QUERY_TYPES,
    TrueTube,
    Tube,
    read_ground_truth,
    read_prediction,
)

THRESHOLDS = (0.3, 0.5)
_NAMED = 5


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
    """

    protocol: Protocol
    query_ids: list[str]
    query_types: list[Optional[str]]
    tiou: FloatArray
    viou: FloatArray
    gt_viou: FloatArray
    missing: list[str]
    unknown: list[str]

    def records(self) -> dict[str, dict[str, float]]:
        """Scores by query id.

        Returns:
            dict[str, dict[str, float]]: ``tiou``, ``viou`` and ``gt_viou``
            of each query, in the order of the ground truths.
        """
        rows = zip(self.query_ids, self.tiou, self.viou, self.gt_viou)
        return {
            query_id: dict(
                tiou=float(tiou), viou=float(viou), gt_viou=float(gt_viou)
            )
            for query_id, tiou, viou, gt_viou in rows
        }

    def summary(self) -> dict[str, float]:
        """Mean scores over all queries and by sentence type.

        Returns:
            dict[str, float]: The keys of the protocol, plain and prefixed
            by each sentence type that occurs.
        """
        result = self._mean(np.ones(len(self.query_ids), np.bool_))
        types = np.array(self.query_types, dtype=object)
        for query_type in QUERY_TYPES:
            chosen = types == query_type
            if chosen.any():
                part = self._mean(chosen)
                result.update(
                    {f'{query_type}/{key}': part[key] for key in part}
                )
        return result

    def _mean(self, chosen: np.ndarray) -> dict[str, float]:
        tiou, viou, gt_viou = (
            scores[chosen] for scores in (self.tiou, self.viou, self.gt_viou)
        )
        if self.protocol.accuracies:
            result = {
                f'acc@{value}': float((gt_viou >= value).mean())
                for value in self.protocol.accuracies
            }
            return dict(result, acc_avg=float(np.mean(list(result.values()))))
        result = dict(m_tIoU=float(tiou.mean()))
        for name, scores in (('', viou), ('gt_', gt_viou)):
            result[f'{name}m_vIoU'] = float(scores.mean())
            for value in THRESHOLDS:
                result[f'{name}vIoU@{value}'] = float((scores > value).mean())
        return result


def evaluate_tubes(
    ground_truths: Mapping[str, Mapping[str, Any]],
    predictions: Mapping[str, Mapping[str, Any]],
    protocol: str = 'tubedetr',
    strict: bool = False,
    per_query: bool = False,
    dataset: Optional[str] = None,
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

    Examples:
        >>> truth = dict(span=[0, 2], segment=[0, 3], fps=5,
        ...              boxes={0: [0, 0, 4, 4], 1: [0, 0, 4, 4]})
        >>> guess = dict(span=[0, 1], boxes={0: [0, 0, 4, 2]})
        >>> scores = evaluate_tubes({'a': truth}, {'a': guess})
        >>> scores['m_tIoU'], scores['m_vIoU'], scores['gt_m_vIoU']
        (0.5, 0.25, 0.25)
    """
    scores = score_tubes(
        ground_truths, predictions, protocol, strict=strict, dataset=dataset
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
) -> TubeScores:
    """Score each query; see :func:`evaluate_tubes` for the arguments.

    Returns:
        TubeScores: One score a query, and what was missing.

    Raises:
        ValueError: As :func:`evaluate_tubes`.
    """
    chosen = get_protocol(protocol, dataset)
    if not ground_truths:
        raise ValueError(
            'There is no ground truth to score against: give at least one '
            'query.'
        )
    missing = [key for key in ground_truths if key not in predictions]
    unknown = [key for key in predictions if key not in ground_truths]
    _report_strangers(missing, unknown, len(ground_truths), strict)
    rows = []
    query_types = []
    for query_id, item in ground_truths.items():
        truth = read_ground_truth(query_id, item)
        query_types.append(truth.query_type)
        if query_id not in predictions:
            rows.append((0.0, 0.0, 0.0))
            continue
        prediction = read_prediction(query_id, predictions[query_id])
        rows.append(_score(chosen, query_id, truth, prediction))
    table = np.array(rows, dtype=np.float64)
    return TubeScores(
        protocol=chosen,
        query_ids=list(ground_truths),
        query_types=query_types,
        tiou=table[:, 0],
        viou=table[:, 1],
        gt_viou=table[:, 2],
        missing=missing,
        unknown=unknown,
    )


def _report_strangers(
    missing: list[str], unknown: list[str], total: int, strict: bool
) -> None:
    lines = []
    if missing:
        lines.append(
            f'{len(missing)} of {total} queries have no prediction '
            f'({_name_some(missing)})'
        )
    if unknown:
        lines.append(
            f'{len(unknown)} predictions belong to no query of the '
            f'annotation ({_name_some(unknown)})'
        )
    if not lines:
        return
    if strict:
        raise ValueError(
            f'{"; ".join(lines)}. Predict every query, or score without '
            f'strict to count missing ones as 0.'
        )
    warnings.warn(
        f'{"; ".join(lines)}. Missing ones score 0, unknown ones are ignored.',
        stacklevel=4,
    )


def _name_some(names: list[str]) -> str:
    shown = ', '.join(repr(name) for name in names[:_NAMED])
    return shown + (', ...' if len(names) > _NAMED else '')


def _score(
    protocol: Protocol, query_id: str, truth: TrueTube, prediction: Tube
) -> tuple[float, float, float]:
    """Give tIoU, vIoU and gt_vIoU of one query."""
    (start, end), stop = true_extent(protocol, truth)
    pred_start, pred_end = prediction.span
    inner = (max(start, pred_start), min(end, pred_end))
    hull = (min(start, pred_start), max(end, pred_end))
    if protocol.grid == 'sampled':
        grid_N = _sampled_grid(protocol, query_id, truth)
        wanted_F = grid_N[_within(grid_N, start, stop)]
        union = float(_within(grid_N, *hull).sum())
    else:
        wanted_F = np.arange(math.ceil(start), math.ceil(stop))
        union = hull[1] - hull[0]
    frames_F, boxes_F4 = _true_boxes(truth, wanted_F)
    iou_F = iou_on_frames(
        (frames_F, boxes_F4),
        (prediction.frames, prediction.boxes),
        interpolate=protocol.interpolate,
    )
    # Frames of the true span without a true box cannot be graded.
    union -= len(wanted_F) - len(frames_F)
    common = max(inner[1] - inner[0], 0.0)
    lengths = end - start + pred_end - pred_start
    tiou = common / (lengths - common) if common else 0.0
    viou = _sum_in_order(iou_F[_within(frames_F, *inner)]) / max(union, 1)
    return tiou, viou, _sum_in_order(iou_F) / max(len(frames_F), 1)


def _sum_in_order(values_N: FloatArray) -> float:
    # numpy adds in pairs; the published evaluators add one by one, and a tube
    # that sits on a threshold is decided by the last digit.
    return float(np.cumsum(values_N)[-1]) if len(values_N) else 0.0


def _within(frames_N: IntArray, start: float, end: float) -> BoolArray:
    return (frames_N >= start) & (frames_N < end)


def true_extent(
    protocol: Protocol, truth: TrueTube
) -> tuple[tuple[float, float], float]:
    """Read the true span as a protocol does.

    Args:
        protocol (Protocol): The protocol.
        truth (TrueTube): The true tube.

    Returns:
        tuple: The span ``(start, end)`` whose length counts, and the end
        (exclusive) of the frames on which a box must be found.
    """
    start, end = truth.span
    if protocol.gt_end == 'exclusive':
        return (start, end), end
    last = end - 1
    if protocol.gt_end == 'as_last':
        last = max(start, min(end, truth.segment[1] - 1))
    return (start, last), last + 1


def _sampled_grid(
    protocol: Protocol, query_id: str, truth: TrueTube
) -> IntArray:
    if truth.fps is None or not truth.fps > 0:
        raise ValueError(
            f'ground truth of query {query_id!r}: protocol '
            f'{protocol.name!r} needs a positive fps, found {truth.fps}.'
        )
    return sampled_grid(truth.segment, truth.fps)


def _true_boxes(
    truth: TrueTube, wanted_F: IntArray
) -> tuple[IntArray, FloatArray]:
    """Give the wanted frames that have a true box, and the boxes."""
    rows_F, there_F = find_frames(truth.frames, wanted_F)
    past_end = (wanted_F >= truth.span[1]) & ~there_F
    if past_end.any():
        # A protocol may look one frame past the end: the box is held.
        rows_F[past_end], there_F[past_end] = find_frames(
            truth.frames, wanted_F[past_end] - 1
        )
    return wanted_F[there_F], truth.boxes[rows_F[there_F]]
