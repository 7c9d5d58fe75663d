"""Draw a tube: boxes on the frame, the sentence, and a bar of the spans.

Orange is the prediction (solid), blue the truth (dashed): two colours of the
Okabe-Ito set, which differ with every common colour blindness, and by their
line style without any colour. Below the frame stand the sentence and a bar of
the segment: true span, predicted span, action consistency, playhead.

Shape legend: T frames, H height, W width in pixels; pictures are RGB uint8.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Optional

import cv2
import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from hero_mm.errors import UserError

from .tube_view import TubeView, choose_sheet_indices
from .video_writer import check_picture

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


@lru_cache(maxsize=16)
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib."""
    name = 'DejaVuSans-Bold.ttf' if bold else 'DejaVuSans.ttf'
    folder = Path(matplotlib.get_data_path()) / 'fonts' / 'ttf'
    return ImageFont.truetype(str(folder / name), size)


def wrap_text(text: str, width: int, size: int) -> list[str]:
    """Break a sentence into lines that fit; a long word is cut."""
    face = font(size)
    lines, line = [], ''
    for word in text.split():
        joined = f'{line} {word}'.strip()
        if face.getlength(joined) <= width:
            line = joined
            continue
        if line:
            lines.append(line)
        while face.getlength(word) > width and len(word) > 1:
            cut = len(word) - 1
            while cut > 1 and face.getlength(word[:cut]) > width:
                cut -= 1
            lines.append(word[:cut])
            word = word[cut:]
        line = word
    return [*lines, line] if line or not lines else lines


class Timeline:
    """The bar below a frame: spans, action consistency, playhead.

    Its width is in pixels, margins included.
    """

    def __init__(self, view: TubeView, width: int) -> None:
        self.view = view
        self.width = width
        self.font = font(12)
        self.rows: list[tuple[str, Color, Optional[tuple[float, float]]]] = []
        if view.gt_span is not None:
            self.rows.append(('truth', GT_COLOR, view.gt_span))
        if view.pred_span is not None:
            self.rows.append(('prediction', PRED_COLOR, view.pred_span))
        labels = [row[0] for row in self.rows] + ['action']
        label = max(self.font.getlength(text) for text in labels)
        self.left = MARGIN + round(label) + 10
        self.right = width - MARGIN
        rows = len(self.rows) * (_ROW + _GAP)
        curve = 0 if view.action is None else _CURVE + _GAP
        self.bottom = 4 + rows + curve
        self.height = self.bottom + 24
        self._background = self._draw_background()

    def x_of(self, frame: float) -> int:
        """Column of a native frame number, kept inside the bar."""
        start, end = self.view.segment
        part = (frame - start) / max(end - start, 1e-6)
        part = min(max(part, 0.0), 1.0)
        return self.left + round(part * (self.right - self.left))

    def _draw_background(self) -> np.ndarray:
        image = Image.new('RGB', (self.width, self.height), PANEL_COLOR)
        pen = ImageDraw.Draw(image)
        top = 4
        for label, color, span in self.rows:
            middle = top + _ROW / 2
            pen.text(
                (self.left - 10, middle), label, color, self.font, anchor='rm'
            )
            rail = (self.left, top + 3, self.right, top + _ROW - 4)
            pen.rectangle(rail, RAIL_COLOR)
            if span is not None:
                x1, x2 = self.x_of(span[0]), self.x_of(span[1])
                bar = (x1, top, max(x2 - 1, x1 + 1), top + _ROW - 1)
                pen.rectangle(bar, color)
            top += _ROW + _GAP
        if self.view.action is not None:
            self._draw_action(pen, top)
        start, end = (self.view.seconds(frame) for frame in self.view.segment)
        place = self.bottom + 12
        pen.text(
            (self.left, place), f'{start:.1f} s', FAINT_COLOR, self.font, 'lm'
        )
        pen.text(
            (self.right, place), f'{end:.1f} s', FAINT_COLOR, self.font, 'rm'
        )
        return np.array(image)

    def _draw_action(self, pen: ImageDraw.ImageDraw, top: int) -> None:
        """A filled curve of the action consistency, 0 below and 1 above."""
        action = self.view.action
        if action is None:
            return
        base = top + _CURVE - 1
        pen.text(
            (self.left - 10, top + _CURVE / 2),
            'action',
            ACTION_COLOR,
            self.font,
            anchor='rm',
        )
        pen.rectangle((self.left, top, self.right, base), RAIL_COLOR)
        columns = np.arange(self.left, self.right + 1)
        places = [self.x_of(frame) for frame in self.view.frame_inds]
        values = np.interp(columns, places, np.clip(action, 0, 1))
        tops = (base - values * (_CURVE - 2)).round().astype(int)
        for x, y in zip(columns.tolist(), tops.tolist()):
            pen.line((x, y, x, base), fill=ACTION_COLOR)

    def draw(self, indices: Sequence[int]) -> np.ndarray:
        """Draw the bar with a playhead at each of some frames."""
        image = Image.fromarray(self._background)
        pen = ImageDraw.Draw(image)
        for index in indices:
            x = self.x_of(self.view.frame_inds[index])
            pen.line((x, 2, x, self.bottom), fill=TEXT_COLOR, width=2)
            pen.polygon([(x - 4, 0), (x + 5, 0), (x, 6)], fill=TEXT_COLOR)
        if len(indices) == 1:
            middle = (self.left + self.right) / 2
            pen.text(
                (middle, self.bottom + 12),
                frame_label(self.view, indices[0]),
                TEXT_COLOR,
                self.font,
                anchor='mm',
            )
        return np.array(image)


def frame_label(view: TubeView, index: int) -> str:
    """Time and number of a frame, such as ``'1.9 s, frame 57'``."""
    frame = int(view.frame_inds[index])
    return f'{view.seconds(frame):.1f} s, frame {frame}'


def fit_size(
    height: int, width: int, min_side: int = MIN_SIDE, max_side: int = MAX_SIDE
) -> tuple[int, int, float]:
    """Height, width and factor at which a frame is shown.

    Examples:
        >>> fit_size(64, 64)
        (384, 384, 6.0)
        >>> fit_size(720, 1280)
        (540, 960, 0.75)
    """
    side = max(height, width)
    scale = 1.0
    if side < min_side:
        scale = float(-(-min_side // side))
    if side * scale > max_side:
        scale = max_side / side
    return round(height * scale), round(width * scale), scale


def _dashes(start: int, end: int, dash: int) -> list[tuple[int, int]]:
    return [
        (at, min(at + dash, end)) for at in range(start, end + 1, 2 * dash)
    ]


def draw_box(
    image: np.ndarray,
    box: Sequence[float],
    color: Color,
    thickness: int = 2,
    dashed: bool = False,
) -> None:
    """Draw a box, xyxy in pixels with exclusive ends, with a dark halo."""
    height, width = image.shape[:2]
    half = thickness // 2
    x1, y1, x2, y2 = (round(float(value)) for value in box)
    x1, x2 = max(x1, half), min(x2 - 1, width - 1 - half)
    y1, y2 = max(y1, half), min(y2 - 1, height - 1 - half)
    if x2 < x1 or y2 < y1:
        return
    if dashed:
        dash = max(6, 5 * thickness)
        lines = [
            ((a, y), (b, y))
            for y in (y1, y2)
            for a, b in _dashes(x1, x2, dash)
        ]
        lines += [
            ((x, a), (x, b))
            for x in (x1, x2)
            for a, b in _dashes(y1, y2, dash)
        ]
    else:
        corners = [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]
        lines = list(zip(corners, corners[1:] + corners[:1]))
    for width_, paint in ((thickness + 2, HALO_COLOR), (thickness, color)):
        for begin, end in lines:
            cv2.line(image, begin, end, paint, width_)


def _caption(view: TubeView, width: int) -> np.ndarray:
    """The sentence and the note, wrapped, as a strip of the width."""
    size = 20 if width > MAX_SIDE else 16
    lines = wrap_text(view.text, width - 2 * MARGIN, size)
    note = view.note
    if not note and view.score is not None:
        note = f'score {view.score:.2f}'
    notes = wrap_text(note, width - 2 * MARGIN, 12) if note else []
    step = size + 5
    height = 10 + step * len(lines) + 17 * len(notes) + 5
    image = Image.new('RGB', (width, height), PANEL_COLOR)
    pen = ImageDraw.Draw(image)
    top = 8
    for line in lines:
        pen.text((MARGIN, top), line, TEXT_COLOR, font(size))
        top += step
    for line in notes:
        pen.text((MARGIN, top + 1), line, FAINT_COLOR, font(12))
        top += 17
    return np.array(image)


def draw_boxes(
    frame: np.ndarray,
    view: TubeView,
    index: int,
    min_side: int = MIN_SIDE,
    max_side: int = MAX_SIDE,
) -> np.ndarray:
    """A frame (H, W, 3) at the size of :func:`fit_size`, with its boxes."""
    image, factors = _enlarged(frame, min_side, max_side)
    for box, color, line, dashed in (
        (view.pred_box(index), PRED_COLOR, 3, False),
        (view.gt_box(index), GT_COLOR, 2, True),
    ):
        if box is not None:
            draw_box(image, box * factors, color, line, dashed)
    return image


def _enlarged(
    frame: np.ndarray, min_side: int, max_side: int
) -> tuple[np.ndarray, np.ndarray]:
    """A frame at its drawn size, and what to multiply boxes with."""
    height, width = check_picture(frame).shape[:2]
    new_height, new_width, scale = fit_size(height, width, min_side, max_side)
    if scale > 1:
        way = cv2.INTER_NEAREST if scale > 3 else cv2.INTER_CUBIC
    else:
        way = cv2.INTER_AREA
    image = cv2.resize(frame, (new_width, new_height), interpolation=way)
    return image, np.array([new_width / width, new_height / height] * 2)


def draw_together(
    frame: np.ndarray,
    views: Sequence[TubeView],
    index: int,
    colors: Sequence[Color],
) -> np.ndarray:
    """A frame as :func:`draw_boxes` shows it, with K numbered tubes."""
    image, factors = _enlarged(frame, MIN_SIDE, MAX_SIDE)
    picture = Image.fromarray(image)
    for number, (view, color) in enumerate(zip(views, colors), 1):
        box = view.pred_box(index)
        if box is None:
            continue
        image = np.array(picture)
        draw_box(image, box * factors, color, 3)
        picture = Image.fromarray(image)
        x, y = np.maximum((box * factors)[:2], 0).tolist()
        ImageDraw.Draw(picture).text(
            (x + 5, y + 3),
            str(number),
            color,
            font(16, True),
            stroke_width=2,
            stroke_fill=HALO_COLOR,
        )
    return np.array(picture)


def _centre(image: np.ndarray, width: int) -> np.ndarray:
    """Pad a picture left and right to a width."""
    missing = width - image.shape[1]
    if missing <= 0:
        return image
    left = missing // 2
    return cv2.copyMakeBorder(
        image,
        0,
        0,
        left,
        missing - left,
        cv2.BORDER_CONSTANT,
        value=PANEL_COLOR,
    )


class TubePainter:
    """Draw the frames of one tube; what they share is drawn once.

    Args:
        view (TubeView): What is drawn.
        frame_shape (tuple[int, int]): (height, width) of the video.
    """

    def __init__(self, view: TubeView, frame_shape: tuple[int, int]) -> None:
        self.view = view
        self.width = max(fit_size(*frame_shape)[1], MIN_SIDE)
        self.caption = _caption(view, self.width)
        self.timeline = Timeline(view, self.width)

    def draw(self, frame: np.ndarray, index: int) -> np.ndarray:
        """Draw a frame above the sentence and the span bar.

        The frame, (H, W, 3), is of the original size; ``index`` is its
        place in the view. All results have the same size.
        """
        boxes = _centre(draw_boxes(frame, self.view, index), self.width)
        return np.concatenate(
            [boxes, self.caption, self.timeline.draw([index])]
        )


def _tile(frame: np.ndarray, view: TubeView, index: int) -> np.ndarray:
    """A frame of a sheet, with its time below."""
    image = draw_boxes(frame, view, index, _TILE, _TILE)
    width = image.shape[1]
    label = Image.new('RGB', (width, 20), PANEL_COLOR)
    ImageDraw.Draw(label).text(
        (width / 2, 10),
        frame_label(view, index),
        FAINT_COLOR,
        font(12),
        anchor='mm',
    )
    return np.concatenate([image, np.array(label)])


def draw_tube_sheet(
    frames: np.ndarray, view: TubeView, count: int = 8
) -> np.ndarray:
    """Draw a contact sheet: the sentence, some frames and the span bar.

    Args:
        frames (np.ndarray): RGB uint8, has shape (T, H, W, 3).
        view (TubeView): What is drawn, with T frames.
        count (int): How many frames; half of them lie inside the span.

    Returns:
        np.ndarray: RGB uint8.

    Raises:
        ValueError: If there is not one frame a frame of the view.
    """
    if len(frames) != len(view) or len(view) == 0:
        raise UserError(
            f'The sheet needs the {len(view)} frames of the view, got '
            f'{len(frames)}.'
        )
    indices = choose_sheet_indices(view, count)
    return draw_chosen_frames(frames[indices], view, indices)


def draw_chosen_frames(
    frames: np.ndarray, view: TubeView, indices: Sequence[int]
) -> np.ndarray:
    """Draw a sheet of frames (N, H, W, 3), at N indices of the view."""
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
    timeline = Timeline(view, width).draw(indices)
    return np.concatenate([_caption(view, width), *rows, timeline])
