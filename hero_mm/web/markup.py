"""HTML of the page: spans to click on, curves, the table, the label.

All that users or packages have written is escaped.
"""

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hero_mm.apis.answers import LEGEND, TITLES, Tube, notes_on, tube_cells
from hero_mm.texts import printable
from hero_mm.visualization import TubeView
from hero_mm.visualization.drawing import Color

WIDTH, ROW = 600, 46
HINT = (
    'Click on a bar to see its boxes; the line says how much each frame '
    'shows the action.'
)
CSS = """
.hero-row { cursor: pointer; }
.hero-row:hover rect, .hero-row:focus rect { stroke: currentColor; }
.hero-answer svg { width: 100%; height: auto; }
.hero-answer svg text { fill: currentColor; font-size: 14px; }
.hero-answer table { width: 100%; border-collapse: collapse; }
.hero-answer td, .hero-answer th { text-align: left; padding: 4px 10px 4px 0; }
.hero-note { opacity: .8; }
"""
# A click on a span, or Enter on it, moves the video there.
SCRIPT = """
<script>
(() => {
  const jump = (event) => {
    const row = event.target.closest && event.target.closest('.hero-row');
    const video = document.querySelector('#hero-video video');
    if (!row || !video || (event.key && event.key !== 'Enter')) return;
    video.pause();
    video.currentTime = parseFloat(row.dataset.at);
  };
  document.addEventListener('click', jump);
  document.addEventListener('keydown', jump);
})();
</script>
"""


def escape(text: object) -> str:
    """A text in HTML: neither tags nor control characters are obeyed."""
    return html.escape(printable(text))


def answer_html(
    tubes: Sequence[Tube],
    views: Sequence[TubeView],
    colors: Sequence[Color],
    jumps: Sequence[float],
) -> str:
    """The rows of spans and the table of K answers about one segment.

    ``colors`` are RGB; ``jumps`` say at which second of the drawn video a
    span begins.
    """
    rows, lines = '', ''
    for number, tube in enumerate(tubes):
        paint = f'rgb{tuple(colors[number])}'
        rows += _row(number, views[number], paint, jumps[number])
        cells = ''.join(f'<td>{escape(c)}</td>' for c in tube_cells(tube))
        mark = f'<td style="color:{paint}">&#9632; {number + 1}</td>'
        lines += f'<tr>{mark}{cells}</tr>'
    notes = dict.fromkeys(note for tube in tubes for note in notes_on(tube))
    said = ''.join(f'<p class="hero-note">{escape(n)}</p>' for n in notes)
    head = ''.join(f'<th>{title}</th>' for title in ('', *TITLES))
    return (
        f'<div class="hero-answer"><svg viewBox="0 0 {WIDTH} '
        f'{ROW * len(tubes)}" role="list">{rows}</svg>'
        f'<p class="hero-note">{HINT}</p>{said}'
        f'<table><tr>{head}</tr>{lines}</table>'
        f'<p class="hero-note">{LEGEND}</p></div>'
    )


def _row(number: int, view: TubeView, paint: str, jump: float) -> str:
    """A span on the rail of the searched part, with its curve."""
    (first, last), top = view.segment, ROW * number
    span = view.pred_span or view.segment

    def x_of(frame: float) -> float:
        return WIDTH * (frame - first) / max(last - first, 1)

    begin, stop = map(x_of, span)
    start, end = map(view.seconds, span)
    title = f'{number + 1}  {escape(view.text[:50])}'
    curve = ''
    if view.action is not None:
        step = max(1, len(view.frame_inds) // 400)
        heights = top + 42 - 20 * np.clip(view.action[::step], 0, 1)
        points = ' '.join(
            f'{x_of(frame):.1f},{height:.1f}'
            for frame, height in zip(view.frame_inds[::step], heights)
        )
        curve = (
            f'<polyline points="{points}" fill="none" stroke="currentColor" '
            'stroke-width="1.5"><title>how much a frame shows the action'
            '</title></polyline>'
        )
    return (
        f'<g class="hero-row" role="listitem" tabindex="0" '
        f'data-at="{jump:.4f}"><rect x="0" y="{top + 22}" width="{WIDTH}" '
        f'height="20" fill="#8883" /><rect x="{begin:.1f}" y="{top + 22}" '
        f'width="{max(stop - begin, 3):.1f}" height="20" rx="3" '
        f'fill="{paint}" />{curve}<text x="2" y="{top + 16}">{title}'
        f' ({start:.2f} to {end:.2f} s)</text></g>'
    )


def label_html(facts: Mapping[str, Any], label: Mapping[str, Any]) -> str:
    """What answers, what it was trained on, what it scores."""
    lines = [f'model: {facts["model"]}', f'trained on: {facts["trained_on"]}']
    if label.get('words'):
        lines.append(f'it knows {label["words"]} words')
    scores = label.get('scores') or {}
    lines += [f'{name}: {value}' for name, value in scores.items()]
    if label.get('licence'):
        lines.append(f'licence: {label["licence"]}')
    shown = ' &middot; '.join(escape(line) for line in lines)
    return f'<p class="hero-note">{shown}</p>'
