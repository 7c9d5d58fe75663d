"""Boxes on frames: overlap, look-up and interpolation, in plain numpy.

Shape legend: N, M frames with a box. Boxes are xyxy; ``(x2, y2)`` is
exclusive. Frame numbers are native and strictly increasing.
"""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


def paired_box_iou(boxes_N4: FloatArray, others_N4: FloatArray) -> FloatArray:
    """IoU of each box with its partner, both xyxy (N, 4); has shape (N,).

    A box with ``x2 <= x1`` or ``y2 <= y1`` overlaps nothing.

    Examples:
        >>> box = np.array([[0.0, 0.0, 2.0, 2.0]])
        >>> paired_box_iou(box, box + [1, 0, 1, 0])
        array([0.33333333])
    """
    low_N2 = np.maximum(boxes_N4[:, :2], others_N4[:, :2])
    high_N2 = np.minimum(boxes_N4[:, 2:], others_N4[:, 2:])
    inter_N = (high_N2 - low_N2).clip(min=0).prod(axis=1)
    area_N = (boxes_N4[:, 2:] - boxes_N4[:, :2]).prod(axis=1)
    other_N = (others_N4[:, 2:] - others_N4[:, :2]).prod(axis=1)
    union_N = area_N + other_N - inter_N
    # Only boxes that both have a size can meet, so the union is positive
    # wherever the intersection is.
    return np.divide(
        inter_N, union_N, out=np.zeros_like(inter_N), where=inter_N > 0
    )


def find_frames(
    frames_N: IntArray, wanted_M: IntArray
) -> tuple[IntArray, BoolArray]:
    """Row of each wanted frame, of use where it is there, and if it is.

    Both have shape (M,).
    """
    rows_M = np.searchsorted(frames_N, wanted_M)
    ends_M = np.searchsorted(frames_N, wanted_M, side='right')
    return rows_M, ends_M > rows_M


def interpolate_boxes(
    frames_N: IntArray, boxes_N4: FloatArray, wanted_M: IntArray
) -> FloatArray:
    """Boxes (M, 4) at any frame: linear between known ones, held at the ends.

    Frames with a box, (N,), are strictly increasing; without any a ValueError
    is raised.
    """
    known_N = np.asarray(frames_N, dtype=np.float64)
    columns = [
        np.interp(wanted_M, known_N, boxes_N4[:, side]) for side in range(4)
    ]
    return np.stack(columns, axis=1)


def iou_on_frames(
    wanted: tuple[IntArray, FloatArray],
    given: tuple[IntArray, FloatArray],
    interpolate: bool = False,
) -> tuple[FloatArray, BoolArray]:
    """Overlap of given boxes with the wanted ones (M, 4), and where any is.

    Both have shape (M,). A frame without a given box scores 0, or with
    ``interpolate`` has one of :func:`interpolate_boxes`.
    """
    frames_M, boxes_M4 = wanted
    frames_N, boxes_N4 = given
    if interpolate and len(frames_N):
        found_M4 = interpolate_boxes(frames_N, boxes_N4, frames_M)
        iou_M = paired_box_iou(found_M4, boxes_M4)
        return iou_M, np.ones(len(frames_M), np.bool_)
    rows_M, there_M = find_frames(frames_N, frames_M)
    iou_M = np.zeros(len(frames_M))
    iou_M[there_M] = paired_box_iou(
        boxes_N4[rows_M[there_M]], boxes_M4[there_M]
    )
    return iou_M, there_M
