"""The bar below a frame: where in the segment the spans and the frame lie.

Shape legend: T frames, H height, W width in pixels; pictures are RGB uint8.
"""

from collections.abc import Sequence
from typing import Optional

import numpy as np
from PIL import Image, ImageDraw

from .style import (
    ACTION_COLOR,
    FAINT_COLOR,
    GT_COLOR,
    MARGIN,
    PANEL_COLOR,
    PRED_COLOR,
    RAIL_COLOR,
    TEXT_COLOR,
    Color,
    font,
)
from .tube_view import TubeView

_ROW = 10
_CURVE = 26
_GAP = 7


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
