"""Draw a tube: boxes on the frame, the sentence, and a bar of the spans.

Orange is the prediction (solid), blue the truth (dashed): two colours of the
Okabe-Ito set, which differ with every common colour blindness.

Shape legend: T frames, H height, W width in pixels; pictures are RGB uint8.
"""

import textwrap
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Callable, Optional

import cv2
import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .tube_view import TubeView, choose_sheet_indices

Color = tuple[int, int, int]

PRED_COLOR: Color = (240, 150, 20)
GT_COLOR: Color = (86, 180, 233)
ACTION_COLOR: Color = (120, 205, 170)
PANEL_COLOR: Color = (27, 29, 34)
RAIL_COLOR: Color = (58, 61, 69)
TEXT_COLOR: Color = (240, 240, 240)
FAINT_COLOR: Color = (165, 168, 176)
HALO_COLOR: Color = (0, 0, 0)

MARGIN = 12
"""Pixels left free at both sides of a panel."""
BAR_LEFT = 86
"""Where the bar begins; its labels stand before it."""
MIN_SIDE = 384
"""Small videos are enlarged by a whole factor to at least this size."""
MAX_SIDE = 960
"""Big videos are reduced to at most this size."""
_TILE = 320
"""Size of the longer side of a frame in a sheet."""
_COLUMNS = 4
_ROW = 10
_CURVE = 26
_GAP = 7
_DASH = 10

Box = tuple[Optional[np.ndarray], Color, bool]
"""A box, its colour, and whether its line is dashed."""
Read = Callable[[np.ndarray], np.ndarray]
"""From N indices into the frames of a view to pictures (N, H, W, 3)."""


@lru_cache(maxsize=16)
def font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib."""
    folder = Path(matplotlib.get_data_path()) / 'fonts' / 'ttf'
    return ImageFont.truetype(str(folder / 'DejaVuSans.ttf'), size)


def fit_size(
    height: int, width: int, min_side: int = MIN_SIDE, max_side: int = MAX_SIDE
) -> tuple[int, int]:
    """Height and width at which a frame is shown.

    Examples:
        >>> fit_size(64, 64)
        (384, 384)
        >>> fit_size(720, 1280)
        (540, 960)
    """
    side = max(height, width)
    scale = float(max(1, -(-min_side // side)))
    if side * scale > max_side:
        scale = max_side / side
    return max(round(height * scale), 1), max(round(width * scale), 1)


def draw_box(
    image: np.ndarray, box: Sequence[float], color: Color, dashed: bool
) -> None:
    """Draw a box, xyxy in pixels with exclusive ends, with a dark halo."""
    height, width = image.shape[:2]
    x1, y1, x2, y2 = (round(float(value)) for value in box)
    x1, x2 = max(x1, 1), min(x2 - 1, width - 2)
    y1, y2 = max(y1, 1), min(y2 - 1, height - 2)
    if x2 < x1 or y2 < y1:
        return
    shown = np.ones((height, width), bool)
    if dashed:
        place = np.add.outer(np.arange(height) - y1, np.arange(width) - x1)
        shown = place // _DASH % 2 == 0
    for wide, paint in ((5, HALO_COLOR), (3, color)):
        line = np.zeros((height, width), np.uint8)
        cv2.rectangle(line, (x1, y1), (x2, y2), 1, wide)
        image[(line > 0) & shown] = paint


def draw_boxes(
    frame: np.ndarray,
    boxes: Sequence[Box],
    aspect: float = 1.0,
    min_side: int = MIN_SIDE,
    max_side: int = MAX_SIDE,
) -> np.ndarray:
    """A frame (H, W, 3) at the size of :func:`fit_size`, with boxes.

    ``aspect`` is the width of a pixel of the frame in its heights.
    """
    height, width = frame.shape[:2]
    wide = max(1, round(width * aspect))
    new_height, new_width = fit_size(height, wide, min_side, max_side)
    way = cv2.INTER_AREA if new_width <= wide else cv2.INTER_CUBIC
    if new_width > 3 * wide:
        way = cv2.INTER_NEAREST
    image = cv2.resize(frame, (new_width, new_height), interpolation=way)
    factors = np.array([new_width / width, new_height / height] * 2)
    for box, color, dashed in boxes:
        if box is not None:
            draw_box(image, box * factors, color, dashed)
    return image


def _draw_frame(
    frame: np.ndarray, view: TubeView, index: int, *sides: int
) -> np.ndarray:
    boxes = [
        (view.pred_box(index), PRED_COLOR, False),
        (view.gt_box(index), GT_COLOR, True),
    ]
    return draw_boxes(frame, boxes, view.pixel_aspect, *sides)


def draw_together(
    frame: np.ndarray,
    views: Sequence[TubeView],
    index: int,
    colors: Sequence[Color],
) -> np.ndarray:
    """A frame as :func:`draw_boxes` shows it, with K numbered tubes."""
    boxes = [
        (view.pred_box(index), color, False)
        for view, color in zip(views, colors)
    ]
    aspect = views[0].pixel_aspect
    image = draw_boxes(frame, boxes, aspect)
    picture = Image.fromarray(image)
    for number, (box, color, _) in enumerate(boxes, 1):
        if box is None:
            continue
        corner = box[:2] * image.shape[1] / frame.shape[1]
        x, y = np.maximum(corner / [1, aspect], 0)
        ImageDraw.Draw(picture).text(
            (x + 6, y + 3),
            str(number),
            color,
            font(16),
            stroke_width=2,
            stroke_fill=HALO_COLOR,
        )
    return np.array(picture)


def draw_tube(frame: np.ndarray, view: TubeView, index: int) -> np.ndarray:
    """Draw a frame, RGB uint8 (H, W, 3), above the sentence and the span bar.

    It has place ``index`` in the view, whose frames are drawn at one size.
    """
    image = _draw_frame(frame, view, index)
    width = max(image.shape[1], MIN_SIDE)
    bar = draw_timeline(view, width, [index])
    return np.concatenate([_centre(image, width), _caption(view, width), bar])


def draw_tube_sheet(read: Read, view: TubeView, count: int = 8) -> np.ndarray:
    """Draw a contact sheet: the sentence, some frames and the span bar.

    ``read`` is :data:`Read`, of an array of frames its ``__getitem__``. Half
    of the ``count`` frames lie inside the span.
    """
    indices = choose_sheet_indices(view, count)
    frames = read(np.array(indices))
    tiles = [
        _tile(frame, view, index) for frame, index in zip(frames, indices)
    ]
    columns = min(_COLUMNS, len(tiles))
    tiles += [np.full_like(tiles[0], PANEL_COLOR)] * (-len(tiles) % columns)
    gap = np.full((len(tiles[0]), 6, 3), PANEL_COLOR, np.uint8)
    spaced = [np.concatenate([gap, tile], axis=1) for tile in tiles]
    rows = [
        np.concatenate([*spaced[at : at + columns], gap], axis=1)
        for at in range(0, len(spaced), columns)
    ]
    width = max(rows[0].shape[1], MIN_SIDE)
    rows = [_centre(row, width) for row in rows]
    bar = draw_timeline(view, width, indices)
    return np.concatenate([_caption(view, width), *rows, bar])


def _tile(frame: np.ndarray, view: TubeView, index: int) -> np.ndarray:
    """A frame of a sheet, with its time below."""
    image = _draw_frame(frame, view, index, _TILE, _TILE)
    width = image.shape[1]
    label = Image.new('RGB', (width, 20), PANEL_COLOR)
    ImageDraw.Draw(label).text(
        (width / 2, 10),
        _frame_label(view, index),
        FAINT_COLOR,
        font(12),
        anchor='mm',
    )
    return np.concatenate([image, np.array(label)])


def _frame_label(view: TubeView, index: int) -> str:
    frame = int(view.frame_inds[index])
    return f'{view.seconds(frame):.1f} s, frame {frame}'


def _centre(image: np.ndarray, width: int) -> np.ndarray:
    """Pad a picture left and right to a width."""
    height, own = image.shape[:2]
    padded = np.full((height, width, 3), PANEL_COLOR, np.uint8)
    left = (width - own) // 2
    padded[:, left : left + own] = image
    return padded


def wrap_text(text: str, width: int, size: int) -> list[str]:
    """Break a sentence into lines of about a width in pixels."""
    letter = font(size).getlength(text) / max(len(text), 1)
    # Some lines have wider letters than others.
    return textwrap.wrap(text, max(int(0.9 * width / max(letter, 1)), 1))


def _caption(view: TubeView, width: int) -> np.ndarray:
    """The sentence and the note, wrapped, as a strip of the width."""
    note = view.note
    if not note and view.score is not None:
        note = f'score {view.score:.2f}'
    large = 20 if width > MAX_SIDE else 16
    lines = [
        (line, size, color)
        for text, size, color in (
            (view.text, large, TEXT_COLOR),
            (note, 12, FAINT_COLOR),
        )
        for line in wrap_text(text, width - 2 * MARGIN, size)
    ]
    height = 15 + sum(size + 5 for _, size, _ in lines)
    image = Image.new('RGB', (width, height), PANEL_COLOR)
    top = 8
    for line, size, color in lines:
        ImageDraw.Draw(image).text((MARGIN, top), line, color, font(size))
        top += size + 5
    return np.array(image)


def draw_timeline(
    view: TubeView, width: int, indices: Sequence[int]
) -> np.ndarray:
    """The bar of spans and action, with a playhead at each of some frames."""
    start, end = view.segment
    left, right = BAR_LEFT, width - MARGIN

    def x_of(frame: float) -> int:
        part = (frame - start) / max(end - start, 1e-6)
        return left + round(min(max(part, 0.0), 1.0) * (right - left))

    spans = [
        ('truth', GT_COLOR, view.gt_span),
        ('prediction', PRED_COLOR, view.pred_span),
    ]
    rows = [row for row in spans if row[2] is not None]
    base = 4 + len(rows) * (_ROW + _GAP)
    bottom = base + (0 if view.action is None else _CURVE + _GAP)
    image = Image.new('RGB', (width, bottom + 24), PANEL_COLOR)
    pen = ImageDraw.Draw(image)

    def write(x: float, y: float, text: str, color: Color, way: str) -> None:
        pen.text((x, y), text, color, font(12), anchor=way)

    for place, (label, color, span) in enumerate(rows):
        top = 4 + place * (_ROW + _GAP)
        write(left - 10, top + _ROW / 2, label, color, 'rm')
        pen.rectangle((left, top + 3, right, top + _ROW - 4), RAIL_COLOR)
        x1, x2 = (x_of(frame) for frame in span or view.segment)
        pen.rectangle((x1, top, max(x2 - 1, x1 + 1), top + _ROW - 1), color)
    if view.action is not None:
        # A filled curve, 0 below and 1 above.
        floor = base + _CURVE - 1
        write(left - 10, base + _CURVE / 2, 'action', ACTION_COLOR, 'rm')
        pen.rectangle((left, base, right, floor), RAIL_COLOR)
        places = [x_of(frame) for frame in view.frame_inds]
        tops = floor - np.clip(view.action, 0, 1) * (_CURVE - 2)
        curve = [(left, tops[0]), *zip(places, tops), (right, tops[-1])]
        pen.polygon([(left, floor), *curve, (right, floor)], ACTION_COLOR)
    times = [f'{view.seconds(frame):.1f} s' for frame in view.segment]
    write(left, bottom + 12, times[0], FAINT_COLOR, 'lm')
    write(right, bottom + 12, times[1], FAINT_COLOR, 'rm')
    for index in indices:
        x = x_of(view.frame_inds[index])
        pen.line((x, 2, x, bottom), fill=TEXT_COLOR, width=2)
        pen.polygon([(x - 4, 0), (x + 5, 0), (x, 6)], fill=TEXT_COLOR)
    if len(indices) == 1:
        label, middle = _frame_label(view, indices[0]), (left + right) / 2
        write(middle, bottom + 12, label, TEXT_COLOR, 'mm')
    return np.array(image)
