"""Draw docs/images/method.png: `python docs/draw_method.py`."""

from pathlib import Path

import matplotlib

matplotlib.use('Agg')
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.patches import FancyBboxPatch  # noqa: E402

OUT = Path(__file__).parent / 'images/method.png'
BLUE, ORANGE, GREY = '#dbe7f5', '#fbe3cf', '#eeeeee'
# Row, column, title, class, what it does.
STEPS = [
    (0, 0, 'encode', 'VideoEncoder', 'pixels to a pyramid', BLUE),
    (0, 1, 'propose', 'ProposalGenerator', 'boxes in each frame', BLUE),
    (0, 2, 'link', 'RegionLinker', 'slot n follows one object', BLUE),
    (
        0,
        3,
        'encode_regions',
        'RegionEncoder',
        'each box at several sizes\n(pyramid alignment)',
        BLUE,
    ),
    (
        1,
        1,
        'retrieve',
        'ContrastiveActionHead',
        'which frames show\nthe action',
        ORANGE,
    ),
    (
        1,
        2,
        'reason',
        'HierarchicalReasoningNeck',
        'space, words, time along\na slot (shifted alignment)',
        ORANGE,
    ),
    (1, 3, 'decode', 'TubeHead', 'a span and a box a frame', ORANGE),
]
WIDTH, HEIGHT, STEP_X, STEP_Y = 2.35, 1.0, 2.75, 1.6


def box(row: float, column: float, color: str, texts: tuple) -> tuple:
    """A box with a title and two smaller lines; returns its centre."""
    x, y = column * STEP_X, -row * STEP_Y
    patch = FancyBboxPatch(
        (x, y), WIDTH, HEIGHT, boxstyle='round,pad=0.04', fc=color, ec='#555'
    )
    plt.gca().add_patch(patch)
    title, name, what = texts
    middle = x + WIDTH / 2
    plt.text(middle, y + 0.84, title, ha='center', va='center', weight='bold')
    small = dict(ha='center', va='center', fontsize=7.5)
    plt.text(middle, y + 0.6, name, family='monospace', **small)
    plt.text(middle, y + 0.26, what, **small)
    return middle, y + HEIGHT / 2


def arrow(start: tuple, end: tuple) -> None:
    """An arrow between two points."""
    style = dict(arrowstyle='-|>', color='#333', shrinkA=0, shrinkB=0)
    plt.annotate('', end, start, arrowprops=style)


def main() -> None:
    """Draw."""
    plt.figure(figsize=(11.5, 3.3), dpi=150)
    centres = {}
    for row, column, title, name, what, color in STEPS:
        centres[title] = box(row, column, color, (title, name, what))
    centres['sentence'] = box(
        1, 0, GREY, ('sentence', 'text encoder', 'words and an action phrase')
    )
    half = WIDTH / 2 + 0.06
    rows = [
        ('encode', 'propose', 'link', 'encode_regions'),
        ('sentence', 'retrieve', 'reason', 'decode'),
    ]
    for names in rows:
        for a, b in zip(names, names[1:]):
            (x, y), (u, v) = centres[a], centres[b]
            arrow((x + half, y), (u - half, v))
    # Slots go down to the sentence's row.
    x, y = centres['encode_regions']
    low, gap = y - HEIGHT / 2 - 0.06, -0.28
    plt.plot([x, x], [low, gap], color='#333', lw=1)
    plt.plot([centres['retrieve'][0], x], [gap, gap], color='#333', lw=1)
    for name in ('retrieve', 'reason', 'decode'):
        u, v = centres[name]
        arrow((u, gap), (u, v + HEIGHT / 2 + 0.06))
    plt.text(-0.35, 0.5, 'once a\nclip', ha='right', va='center')
    plt.text(-0.35, 0.5 - STEP_Y, 'once a\nsentence', ha='right', va='center')
    plt.xlim(-1.3, 4 * STEP_X - 0.3)
    plt.ylim(-STEP_Y - 0.15, HEIGHT + 0.15)
    plt.axis('off')
    plt.savefig(OUT, bbox_inches='tight')


if __name__ == '__main__':
    main()
