"""Overlap of one predicted tube with one true tube, by a protocol.

Shape legend: N frames of the grid, F true frames that are graded. Boxes are
xyxy; spans are half-open ``[start, end)`` in native frames.
"""

import math
from typing import NamedTuple

import numpy as np

from .boxes import (
    BoolArray,
    FloatArray,
    IntArray,
    find_frames,
    iou_on_frames,
)
from .protocols import Protocol, sampled_grid
from .tubes import TrueTube, Tube


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
