"""Colours and type of everything that is drawn.

Orange is the prediction (solid), blue the truth (dashed): two colours of the
Okabe-Ito set, which differ with every common colour blindness, and by their
line style without any colour.
"""

from functools import lru_cache
from pathlib import Path

import matplotlib
from PIL import ImageFont

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
