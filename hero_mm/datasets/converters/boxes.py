"""Raw boxes of an object to a track that an annotation file may hold.

Shape legend: T frames. Boxes are xyxy in pixels, ``(x2, y2)`` exclusive.
"""

from collections.abc import Sequence
from typing import Any, Optional, Union

import numpy as np
from numpy.typing import ArrayLike

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
    raw_T4 = _as_numbers(entry, numbers, boxes)
    boxes_T4 = _cut(raw_T4, *size)
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
    frames_T = np.asarray(numbers)
    changed_T = (boxes_T4 != raw_T4).any(1) & good_T
    if changed_T.any():
        frames = frame_ranges(frames_T[changed_T])
        place = f'{entry.path}, {entry.where}, frames {frames}'
        summary.note(CUT, place, int(changed_T.sum()))
    if not good_T.any():
        return None
    return Track.from_boxes(category, frames_T[good_T], boxes_T4[good_T])


def to_corners(entry: Entry, numbers: Numbers, boxes: Any) -> np.ndarray:
    """Boxes of left, top, width and height to xyxy, both of shape (T, 4).

    ``numbers`` are the T frames, for the error of what is no box.
    """
    raw_T4 = _as_numbers(entry, numbers, boxes)
    return np.concatenate([raw_T4[:, :2], raw_T4[:, :2] + raw_T4[:, 2:]], 1)


def _as_numbers(entry: Entry, numbers: Numbers, boxes: Any) -> np.ndarray:
    """The boxes as an array, or the error that names the first wrong one."""
    raw_T4 = _array(boxes)
    if raw_T4.shape == (len(numbers), 4) and raw_T4.dtype.kind in 'iuf':
        return raw_T4
    for number, box in zip(numbers, boxes):
        one = _array(box)
        if one.shape != (4,) or one.dtype.kind not in 'iuf':
            frame = entry.at(f'frame {number}, {entry.where}', box)
            raise frame.error(f'a box is four numbers, found {box!r:.80}')
    return raw_T4.reshape(-1, 4)


def _array(values: Any) -> np.ndarray:
    try:
        return np.asarray(values)
    except ValueError:  # Of different lengths.
        return np.zeros(0)


def _cut(raw_T4: np.ndarray, width: int, height: int) -> np.ndarray:
    """Cut boxes to the picture; whole numbers that fit become int16."""
    inside_T4 = np.clip(raw_T4, 0, [width, height, width, height])
    if inside_T4.dtype.kind == 'i' and max(width, height) < 1 << 15:
        return inside_T4.astype(np.int16)
    return inside_T4.astype(np.float32)


def frame_ranges(frames: ArrayLike) -> str:
    """Increasing frame numbers as text, such as ``3-7, 9``."""
    frames_T = np.asarray(frames)
    parts = np.split(frames_T, np.flatnonzero(np.diff(frames_T) != 1) + 1)
    return ', '.join(
        f'{part[0]}-{part[-1]}' if len(part) > 1 else f'{part[0]}'
        for part in parts
    )
