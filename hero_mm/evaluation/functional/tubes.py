"""True and predicted tubes as they are given, checked and turned to arrays.

Shape legend: N frames with a box. Boxes are xyxy in pixels of the original
video; spans and segments are half-open ``[start, end)`` in native frames.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Optional, Union

import numpy as np

from hero_mm.errors import UserError, UserTypeError

from .boxes import FloatArray, IntArray

QUERY_TYPES = ('declarative', 'interrogative')
# More are damage, and would fill the memory.
MOST_FRAMES = 10_000_000
# What float() would take for a number.
_NO_NUMBERS = {bool, np.bool_, str, np.str_, bytes, type(None)}

BoxesOnFrames = Union[
    Mapping[int, Sequence[float]],
    Mapping[str, Sequence[float]],
    tuple[Any, Any],
]


@dataclass(frozen=True)
class Tube:
    """A span in time and boxes on frames.

    Attributes:
        span (tuple[float, float]): ``[start, end)`` in native frames.
        frames (np.ndarray): Strictly increasing, int64, has shape (N,).
        boxes (np.ndarray): xyxy, float64, has shape (N, 4).
    """

    span: tuple[float, float]
    frames: IntArray
    boxes: FloatArray


@dataclass(frozen=True)
class TrueTube(Tube):
    """A tube of the annotation.

    Attributes:
        segment (tuple[int, int]): The part of the video that is searched.
        fps (float, optional): Frame rate of the video.
        query_type (str, optional): One of :data:`QUERY_TYPES`.
    """

    segment: tuple[int, int]
    fps: Optional[float]
    query_type: Optional[str]


def boxes_to_arrays(
    boxes: BoxesOnFrames, owner: str
) -> tuple[IntArray, FloatArray]:
    """Turn boxes by frame into sorted arrays.

    Args:
        boxes (Mapping or tuple): ``{frame: [x1, y1, x2, y2]}`` with int or
            str frames, or a pair of arrays (N,) and (N, 4).
        owner (str): Whose boxes they are, for error messages.

    Returns:
        tuple[np.ndarray, np.ndarray]: Strictly increasing frames, int64, has
        shape (N,), and boxes, float64, has shape (N, 4).

    Raises:
        TypeError: If ``boxes`` is neither a mapping nor a pair.
        ValueError: If a frame is no whole number or comes twice, or a box is
            not four finite numbers; the message names the frame.
    """
    if isinstance(boxes, Mapping):
        keys: Any = list(boxes)
        values: Any = list(boxes.values())
    elif _is_pair(boxes):
        keys, values = boxes
    else:
        raise UserTypeError(
            f'{owner}: boxes must be a mapping from frame to [x1, y1, x2, '
            f'y2] or a pair (frames, boxes), found {type(boxes).__name__}.'
        )
    frames = _frame_array(keys, owner)
    array = _box_array(values, frames, owner)
    if len(frames) > 1 and not (np.diff(frames) > 0).all():
        order = np.argsort(frames, kind='stable')
        frames, array = frames[order], array[order]
        twice = frames[1:][np.diff(frames) == 0]
        if len(twice):
            raise UserError(f'{owner}: frame {twice[0]} has two boxes.')
    bad = ~np.isfinite(array).all(axis=1)
    if bad.any():
        row = int(np.argmax(bad))
        raise UserError(
            f'{owner}: the box on frame {frames[row]} is '
            f'{array[row].tolist()}. Boxes must be finite numbers.'
        )
    return frames, array


def _is_pair(boxes: Any) -> bool:
    return (
        isinstance(boxes, tuple)
        and len(boxes) == 2
        and all(hasattr(part, '__len__') for part in boxes)
    )


def _frame_array(keys: Any, owner: str) -> IntArray:
    if isinstance(keys, np.ndarray) and keys.dtype.kind in 'iu':
        return keys.astype(np.int64).reshape(-1)
    kinds = set(map(type, keys))
    try:
        if all(map(_may_be_frame, kinds)):
            return np.fromiter(map(int, keys), np.int64, count=len(keys))
    except (OverflowError, ValueError):
        pass
    wrong = next(key for key in keys if not _is_frame(key))
    raise UserError(
        f'{owner}: frame numbers must be whole numbers, found {wrong!r:.40}.'
    )


def _may_be_frame(kind: type) -> bool:
    return issubclass(kind, (int, np.integer, str)) and kind is not bool


def _is_frame(key: Any) -> bool:
    try:
        return _may_be_frame(type(key)) and abs(int(key)) < 1 << 63
    except ValueError:
        return False


def _box_array(values: Any, frames_N: IntArray, owner: str) -> FloatArray:
    count = len(frames_N)
    if len(values) != count:
        raise UserError(
            f'{owner}: {count} frames have {len(values)} boxes: give one each.'
        )
    if not count:
        return np.zeros((0, 4))
    array = _as_numbers(values)
    if array is not None and array.shape == (count, 4):
        return array
    wrong = (pair for pair in zip(frames_N, values) if not _is_box(pair[1]))
    frame, box = next(wrong, (frames_N[0], values))
    raise UserError(
        f'{owner}: the box on frame {frame} must be four numbers [x1, y1, x2, '
        f'y2], found {box!r:.80}.'
    )


def _is_box(box: Any) -> bool:
    array = _as_numbers([box])
    return array is not None and array.shape == (1, 4)


def _as_numbers(values: Any) -> Optional[FloatArray]:
    """Boxes as an array; None where there is something else than numbers."""
    try:
        if isinstance(values, np.ndarray) and values.dtype.kind != 'O':
            good = values.dtype.kind in 'iuf'
            return np.asarray(values, dtype=np.float64) if good else None
        if set(map(len, values)) != {4}:
            return None
        # Looked through and converted faster than a list of lists.
        flat = list(chain.from_iterable(values))
        if not set(map(type, flat)).isdisjoint(_NO_NUMBERS):
            return None
        return np.array(flat, dtype=np.float64).reshape(-1, 4)
    except (OverflowError, TypeError, ValueError):
        return None


def check_mapping(items: Any, name: str) -> None:
    """Refuse what does not tell which query an item belongs to."""
    if not isinstance(items, Mapping):
        raise UserTypeError(
            f'The {name} must be a mapping from query id to a dict, found '
            f'{type(items).__name__}.'
        )


def read_prediction(query_id: str, item: Mapping[str, Any]) -> Tube:
    """Check one prediction: ``span`` and ``boxes``.

    An empty span (end equal to start) is allowed and overlaps nothing; so is
    a box without area.

    Raises:
        ValueError: If a key is missing, a number is not finite, the span
            ends before it starts, or a box is malformed.
        TypeError: If the boxes are of another type than allowed.
    """
    owner = f'prediction of query {query_id!r}'
    span = _read_pair(item, 'span', owner)
    if span[1] < span[0]:
        raise UserError(
            f'{owner}: the span {list(span)} ends before it starts.'
        )
    frames, boxes = boxes_to_arrays(_require(item, 'boxes', owner), owner)
    return Tube(span, frames, boxes)


def read_ground_truth(query_id: str, item: Mapping[str, Any]) -> TrueTube:
    """Check one true tube: ``span``, ``boxes``, ``segment``.

    Where the protocol or the report needs them also ``fps``, ``query_type``.

    Raises:
        ValueError: If a key is missing, the span or the segment is empty,
            the span lies outside the segment, there is no box in the span,
            a number is malformed, or the query type is unknown.
        TypeError: If the boxes are of another type than allowed.
    """
    owner = f'ground truth of query {query_id!r}'
    span = _read_pair(item, 'span', owner)
    segment = _read_pair(item, 'segment', owner)
    for name, (start, end) in (('span', span), ('segment', segment)):
        if not (start.is_integer() and end.is_integer()):
            raise UserError(
                f'{owner}: the {name} [{start}, {end}) must be whole frames.'
            )
        if end <= start:
            raise UserError(f'{owner}: the {name} [{start}, {end}) is empty.')
        if end - start > MOST_FRAMES:
            raise UserError(
                f'{owner}: the {name} [{start}, {end}) has more than '
                f'{MOST_FRAMES:,} frames.'
            )
    # The end may be past the segment: data sets read the two differently.
    if span[0] >= segment[1] or span[1] <= segment[0]:
        raise UserError(
            f'{owner}: the span [{span[0]:.0f}, {span[1]:.0f}) lies outside '
            f'the segment [{segment[0]:.0f}, {segment[1]:.0f}).'
        )
    frames, boxes = boxes_to_arrays(_require(item, 'boxes', owner), owner)
    if not ((frames >= span[0]) & (frames < span[1])).any():
        raise UserError(
            f'{owner}: there is no box in the span [{span[0]:.0f}, '
            f'{span[1]:.0f}).'
        )
    query_type = item.get('query_type')
    if query_type is not None and query_type not in QUERY_TYPES:
        raise UserError(
            f'{owner}: unknown query_type {query_type!r}, allowed are '
            f'{", ".join(QUERY_TYPES)}.'
        )
    return TrueTube(
        span,
        frames,
        boxes,
        (int(segment[0]), int(segment[1])),
        _read_fps(item, owner),
        query_type,
    )


def _require(item: Mapping[str, Any], key: str, owner: str) -> Any:
    if not isinstance(item, Mapping) or key not in item:
        found = sorted(item) if isinstance(item, Mapping) else item
        raise UserError(f'{owner}: no {key!r}, found {found}.')
    return item[key]


def _read_fps(item: Mapping[str, Any], owner: str) -> Optional[float]:
    if item.get('fps') is None:
        return None
    try:
        return as_number(item['fps'])
    except ValueError as error:
        raise UserError(f'{owner}: fps {error}.') from error


def _read_pair(
    item: Mapping[str, Any], key: str, owner: str
) -> tuple[float, float]:
    value = _require(item, key, owner)
    try:
        start, end = value
    except (TypeError, ValueError) as error:
        raise UserError(
            f'{owner}: {key} must be two numbers [start, end), found '
            f'{value!r:.80}.'
        ) from error
    try:
        return as_number(start), as_number(end)
    except ValueError as error:
        raise UserError(f'{owner}: {key} {error}.') from error


def as_number(value: Any) -> float:
    """A finite number."""
    try:
        number = float('nan') if type(value) in _NO_NUMBERS else float(value)
    except (OverflowError, TypeError, ValueError):
        number = float('nan')
    if not math.isfinite(number):
        raise UserError(f'must be finite, found {value!r:.40}')
    return number
