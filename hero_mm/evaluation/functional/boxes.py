"""Boxes on frames: overlap, look-up and interpolation, in plain numpy.

Shape legend: N, M frames with a box. Boxes are xyxy; ``(x2, y2)`` is
exclusive. Frame numbers are native and strictly increasing.
"""

import numpy as np
from numpy.typing import NDArray

from hero_mm.errors import UserError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


def paired_box_iou(boxes_N4: FloatArray, others_N4: FloatArray) -> FloatArray:
    """Overlap of each box with its partner.

    A box with ``x2 <= x1`` or ``y2 <= y1`` overlaps nothing.

    Args:
        boxes_N4 (np.ndarray): Boxes, xyxy, has shape (N, 4).
        others_N4 (np.ndarray): Their partners, xyxy, has shape (N, 4).

    Returns:
        np.ndarray: Intersection over union in [0, 1], has shape (N,).

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
    """Row of each wanted frame in rising ones, and whether it is there.

    Any row where it is absent; both have shape (M,).
    """
    if not len(frames_N):
        return (
            np.zeros(len(wanted_M), np.int64),
            np.zeros(len(wanted_M), np.bool_),
        )
    rows_M = np.searchsorted(frames_N, wanted_M).clip(max=len(frames_N) - 1)
    return rows_M.astype(np.int64), frames_N[rows_M] == wanted_M


def interpolate_boxes(
    frames_N: IntArray,
    boxes_N4: FloatArray,
    wanted_M: IntArray,
) -> FloatArray:
    """Boxes at any frame: linear between known ones, held at the ends.

    Args:
        frames_N (np.ndarray): Strictly increasing frames with a box, has
            shape (N,), N >= 1.
        boxes_N4 (np.ndarray): Their boxes, has shape (N, 4).
        wanted_M (np.ndarray): Frames that need a box, has shape (M,).

    Returns:
        np.ndarray: Boxes on the wanted frames, has shape (M, 4).

    Raises:
        ValueError: If there is no box to start from.
    """
    if not len(frames_N):
        raise UserError(
            'Cannot interpolate boxes: there is no frame with a box. Give at '
            'least one.'
        )
    known_N = np.asarray(frames_N, dtype=np.float64)
    columns = [
        np.interp(wanted_M, known_N, boxes_N4[:, side]) for side in range(4)
    ]
    return np.stack(columns, axis=1)


def iou_on_frames(
    wanted: tuple[IntArray, FloatArray],
    given: tuple[IntArray, FloatArray],
    interpolate: bool = False,
) -> FloatArray:
    """Overlap with the wanted boxes (M, 4) on their frames, has shape (M,).

    With ``interpolate`` the frames between given boxes (N, 4) are filled
    linearly, and the first and the last box are held. Otherwise a frame
    without a box scores 0.
    """
    frames_M, boxes_M4 = wanted
    frames_N, boxes_N4 = given
    if not len(frames_N):
        return np.zeros(len(frames_M))
    if interpolate:
        return paired_box_iou(
            interpolate_boxes(frames_N, boxes_N4, frames_M), boxes_M4
        )
    rows_M, there_M = find_frames(frames_N, frames_M)
    return np.where(there_M, paired_box_iou(boxes_N4[rows_M], boxes_M4), 0.0)
