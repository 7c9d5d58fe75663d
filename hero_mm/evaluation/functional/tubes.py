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

BoxesOnFrames = Union[
    Mapping[int, Sequence[float]],
    Mapping[str, Sequence[float]],
    tuple[Any, Any],
]


@dataclass(frozen=True)
class Tube:
    """A span and boxes: frames, int64 (N,), increasing, and xyxy (N, 4)."""

    span: tuple[float, float]
    frames: IntArray
    boxes: FloatArray


@dataclass(frozen=True)
class TrueTube(Tube):
    """A tube of the annotation, with the part that is searched."""

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
        boxes = list(boxes), list(boxes.values())
    if not isinstance(boxes, tuple) or len(boxes) != 2:
        raise UserTypeError(
            f'{owner}: boxes must be a mapping from frame to [x1, y1, x2, '
            f'y2] or a pair (frames, boxes), found {type(boxes).__name__}.'
        )
    frames, values = _frame_array(boxes[0], owner), boxes[1]
    array = _box_array(values)
    if array is None:
        for frame, box in zip(frames, values):
            if _box_array([box]) is None:
                raise UserError(
                    f'{owner}: the box on frame {frame} must be four finite '
                    f'numbers [x1, y1, x2, y2], found {box!r:.80}.'
                )
    if array is None or len(array) != len(frames):
        raise UserError(
            f'{owner}: {len(frames)} frames have {len(values)} boxes: give '
            f'one each.'
        )
    if len(frames) > 1 and not (np.diff(frames) > 0).all():
        order = np.argsort(frames, kind='stable')
        frames, array = frames[order], array[order]
        twice = frames[1:][np.diff(frames) == 0]
        if len(twice):
            raise UserError(f'{owner}: frame {twice[0]} has two boxes.')
    return frames, array


def _frame_array(keys: Any, owner: str) -> IntArray:
    if isinstance(keys, np.ndarray) and keys.dtype.kind in 'iu':
        return keys.astype(np.int64).reshape(-1)
    try:
        return np.fromiter(map(_frame, keys), np.int64, count=len(keys))
    except (OverflowError, ValueError) as error:
        raise UserError(
            f'{owner}: frame numbers must be whole numbers: {error}.'
        ) from error


def _frame(key: Any) -> int:
    if type(key) is bool or not isinstance(key, (int, np.integer, str)):
        raise UserError(f'found {key!r:.40}')
    return int(key)


def _box_array(values: Any) -> Optional[FloatArray]:
    """Boxes as an array (N, 4); None where some are not finite numbers."""
    if not len(values):
        return np.zeros((0, 4))
    try:
        if not isinstance(values, np.ndarray) or values.dtype.kind == 'O':
            rows = [list(box) for box in values]
            if {bool, np.bool_} & set(map(type, chain.from_iterable(rows))):
                return None
            values = np.array(rows)
    except (TypeError, ValueError):
        return None
    good = values.dtype.kind in 'iuf' and values.shape[1:] == (4,)
    if not good or not np.isfinite(values).all():
        return None
    return values.astype(np.float64)


def read_prediction(query_id: str, item: Mapping[str, Any]) -> Tube:
    """Check one prediction: ``span`` and ``boxes``.

    An empty span (end equal to start) is allowed and overlaps nothing; so is
    a box without area. A ValueError names the query and what is wrong.
    """
    owner = f'prediction of query {query_id!r}'
    span = _read_pair(item, 'span', owner)
    if span[1] < span[0]:
        raise UserError(
            f'{owner}: the span {list(span)} ends before it starts.'
        )
    return Tube(span, *boxes_to_arrays(_require(item, 'boxes', owner), owner))


def read_ground_truth(query_id: str, item: Mapping[str, Any]) -> TrueTube:
    """Check one true tube: ``span``, ``boxes``, ``segment``.

    Where the protocol or the report needs them also ``fps``, ``query_type``.
    A ValueError names the query and what is wrong.
    """
    owner = f'ground truth of query {query_id!r}'
    span = _read_pair(item, 'span', owner)
    segment = _read_pair(item, 'segment', owner)
    for name, (start, end) in (('span', span), ('segment', segment)):
        whole = start.is_integer() and end.is_integer()
        if not whole or not 0 < end - start <= MOST_FRAMES:
            raise UserError(
                f'{owner}: the {name} [{start:g}, {end:g}) must have whole '
                f'frames, at least one and at most {MOST_FRAMES:,}.'
            )
    first, stop = map(int, segment)
    # The end may be past the segment: data sets read the two differently.
    if span[0] >= stop or span[1] <= first:
        raise UserError(
            f'{owner}: the span {list(span)} lies outside the segment '
            f'[{first}, {stop}).'
        )
    frames, boxes = boxes_to_arrays(_require(item, 'boxes', owner), owner)
    if not ((frames >= span[0]) & (frames < span[1])).any():
        raise UserError(f'{owner}: there is no box in the span {list(span)}.')
    query_type = item.get('query_type')
    if query_type not in (None, *QUERY_TYPES):
        raise UserError(
            f'{owner}: unknown query_type {query_type!r}, allowed are '
            f'{", ".join(QUERY_TYPES)}.'
        )
    fps = read_number(item, 'fps', owner)
    return TrueTube(span, frames, boxes, (first, stop), fps, query_type)


def _require(item: Mapping[str, Any], key: str, owner: str) -> Any:
    if not isinstance(item, Mapping) or key not in item:
        found = sorted(item) if isinstance(item, Mapping) else item
        raise UserError(f'{owner}: no {key!r}, found {found}.')
    return item[key]


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
    return _number(start, key, owner), _number(end, key, owner)


def read_number(
    item: Mapping[str, Any], key: str, owner: str
) -> Optional[float]:
    """A finite number of an item, or None where it has none."""
    value = item.get(key)
    return None if value is None else _number(value, key, owner)


def _number(value: Any, key: str, owner: str) -> float:
    try:
        number = float(value)
    except (OverflowError, TypeError, ValueError):
        number = math.nan
    not_one = isinstance(value, (bool, np.bool_, str, bytes))
    if not_one or not math.isfinite(number):
        raise UserError(
            f'{owner}: {key} must be finite numbers, found {value!r:.40}.'
        )
    return number


def means_by_type(
    columns: Mapping[str, FloatArray], query_types: Sequence[Optional[str]]
) -> dict[str, float]:
    """Mean of each column (Q,), over all queries and by sentence type.

    Keys of a type that occurs begin with it; NaN is left out of a mean.
    """
    types = np.array(query_types, dtype=object)
    chosen = {'': np.ones(len(types), np.bool_)}
    chosen |= {f'{name}/': types == name for name in QUERY_TYPES}
    result = {}
    for prefix, rows_Q in chosen.items():
        if rows_Q.any():
            for key, column_Q in columns.items():
                part = column_Q[rows_Q & ~np.isnan(column_Q)]
                mean = part.mean() if len(part) else np.nan
                result[prefix + key] = float(mean)
    return result
