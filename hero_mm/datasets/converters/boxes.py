"""Raw boxes of an object to a track that an annotation file may hold.

Shape legend: T frames. Boxes are xyxy in pixels, ``(x2, y2)`` exclusive.
"""

from collections.abc import Sequence
from typing import Any, Optional, Union

import numpy as np

from ..annotation import narrow
from ..checks import is_box
from ..entries import Entry
from ..tracks import Track
from .summary import ConversionSummary

CUT = 'boxes cut to the picture'
Numbers = Union[Sequence[int], np.ndarray]


def make_track(
    entry: Entry,
    numbers: Numbers,
    boxes: Any,
    size: tuple[int, int],
    summary: ConversionSummary,
    category: str = '',
) -> Optional[Track]:
    """Cut boxes to the picture and refuse those without an area.

    Args:
        entry (Entry): The object, for errors.
        numbers (Sequence[int] | np.ndarray): T frame numbers, each once.
        boxes (ArrayLike): xyxy, has shape (T, 4).
        size (tuple[int, int]): (width, height) of the video.
        summary (ConversionSummary): Counts what is cut, lists what is dropped.
        category (str): What the object is.

    Returns:
        Track, optional: None where no box is left.
    """
    raw_T4 = as_boxes(entry, numbers, boxes)
    inside_T4 = np.clip(raw_T4, 0, [*size, *size])
    boxes_T4, frames_T = narrow(inside_T4), np.asarray(numbers)
    good_T = is_box(boxes_T4)
    for place in np.flatnonzero(~good_T).tolist():
        frame = entry.at(f'frame {numbers[place]}, {entry.where}', None)
        error = frame.error(
            f'box {raw_T4[place].tolist()} (xmin, ymin, xmax, ymax) has no '
            'area in the picture: xmax <= xmin, ymax <= ymin, or outside',
            'correct it, or drop and list such boxes with --skip-bad '
            '(skip_bad=True)',
        )
        summary.skip(error, 'box')
    cut_T = (inside_T4 != raw_T4).any(1) & good_T
    if cut_T.any():
        ends = f'frames {frames_T[cut_T][0]} to {frames_T[cut_T][-1]}'
        place = f'{entry.path}, {entry.where}, {ends}'
        summary.note(CUT, place, int(cut_T.sum()))
    if not good_T.any():
        return None
    return Track.from_boxes(category, frames_T[good_T], boxes_T4[good_T])


def to_corners(entry: Entry, numbers: Numbers, boxes: Any) -> np.ndarray:
    """Boxes of left, top, width and height to xyxy, both of shape (T, 4)."""
    raw_T4 = as_boxes(entry, numbers, boxes)
    return np.concatenate([raw_T4[:, :2], raw_T4[:, :2] + raw_T4[:, 2:]], 1)


def as_boxes(entry: Entry, numbers: Numbers, boxes: Any) -> np.ndarray:
    """The boxes as an array, or the error that names the first wrong one."""
    raw_T4 = _numbers(boxes)
    if raw_T4.shape == (len(numbers), 4):
        return raw_T4
    for number, box in zip(numbers, boxes):
        if _numbers(box).shape != (4,):
            frame = entry.at(f'frame {number}, {entry.where}', box)
            raise frame.error(f'a box is four numbers, found {box!r:.80}')
    return np.zeros((0, 4))


def _numbers(values: Any) -> np.ndarray:
    """An array of numbers; one of no shape where there are others."""
    try:
        found = np.asarray(values)
    except ValueError:  # Of different lengths.
        return np.zeros(())
    return found if found.dtype.kind in 'iuf' else np.zeros(())
