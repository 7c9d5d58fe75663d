"""Small charts as SVG text: no script, no fonts, a few kilobytes each."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

PALETTE = (
    '#0072B2',
    '#E69F00',
    '#009E73',
    '#D55E00',
    '#CC79A7',
    '#56B4E9',
    '#6b6b6b',
)
"""Colours of Okabe and Ito, told apart by everybody."""

_WIDTH, _HEIGHT = 520, 250
_LEFT, _RIGHT, _BOTTOM = 52, 14, 38
_LEGEND_ROW = 17


@dataclass(frozen=True)
class Series:
    """A named line of a chart.

    Args:
        name (str): Shown in the legend.
        x (Sequence[float]): Places of the points.
        y (Sequence[float]): Their values; those that are not finite are
            left out.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]

    def points(self) -> list[tuple[float, float]]:
        """The points whose values are finite."""
        return [
            (float(x), float(y))
            for x, y in zip(self.x, self.y)
            if math.isfinite(x) and math.isfinite(y)
        ]


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers that cover a range.

    Args:
        low (float): Its lower end.
        high (float): Its upper end.
        count (int): About how many.

    Returns:
        list[float]: The first is at most ``low``, the last at least ``high``.

    Examples:
        >>> nice_ticks(0.0, 0.93)
        [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    if high <= low:
        high = low + (abs(low) or 1.0)
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def _tick_label(value: float) -> str:
    if value and (abs(value) >= 1e5 or abs(value) < 1e-3):
        return f'{value:.0e}'
    return f'{value:g}'


@dataclass(frozen=True)
class _Axes:
    """Where values lie in a picture."""

    x_range: tuple[float, float]
    y_range: tuple[float, float]
    top: int

    def x(self, value: float) -> float:
        low, high = self.x_range
        part = (value - low) / ((high - low) or 1.0)
        return _LEFT + part * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        low, high = self.y_range
        part = (value - low) / ((high - low) or 1.0)
        return _HEIGHT - _BOTTOM - part * (_HEIGHT - _BOTTOM - self.top)


def _text(x: float, y: float, text: str, anchor: str, extra: str = '') -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{extra}>'
        f'{escape(text)}</text>'
    )


def _frame(
    title: str,
    axes: _Axes,
    x_label: str,
    x_ticks: Sequence[float],
    y_ticks: Sequence[float],
) -> list[str]:
    """Title, grid lines and labels."""
    parts = [_text(_LEFT, 16, title, 'start', ' class="title"')]
    for tick in y_ticks:
        y = axes.y(tick)
        parts.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" '
            f'y2="{y:.1f}" class="grid"/>'
        )
        parts.append(_text(_LEFT - 6, y + 4, _tick_label(tick), 'end'))
    for tick in x_ticks:
        x = axes.x(tick)
        parts.append(_text(x, _HEIGHT - 22, _tick_label(tick), 'middle'))
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(_text(middle, _HEIGHT - 5, x_label, 'middle'))
    return parts


def _svg(title: str, parts: Sequence[str]) -> str:
    style = (
        'text{font:11px system-ui,sans-serif;fill:#555}'
        '.title{font-size:13px;font-weight:600;fill:#222}'
        '.grid{stroke:#ddd;stroke-width:1}'
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" '
        f'aria-label="{escape(title)}" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'width="{_WIDTH}" height="{_HEIGHT}"><style>{style}</style>'
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>'
        + ''.join(parts)
        + '</svg>'
    )


def _stroke(place: int) -> str:
    """Line style of a series; colours come again dashed."""
    color = PALETTE[place % len(PALETTE)]
    dashes = f' stroke-dasharray="{4 * (place // len(PALETTE))} 3"'
    return (
        f'stroke="{color}" stroke-width="2"'
        f'{dashes if place >= len(PALETTE) else ""}'
    )


def _legend(names: Sequence[str]) -> tuple[list[str], int]:
    """Swatches and names in rows below the title, and where they end."""
    parts, x, y = [], _LEFT, 34
    for place, name in enumerate(names):
        width = 30 + 6.4 * len(name)
        if place and x + width > _WIDTH - _RIGHT:
            x, y = _LEFT, y + _LEGEND_ROW
        parts.append(
            f'<line x1="{x}" x2="{x + 16}" y1="{y - 4}" y2="{y - 4}" '
            f'{_stroke(place)}/>'
        )
        parts.append(_text(x + 21, y, name, 'start'))
        x += round(width)
    return parts, y + 10


def line_chart(series: Sequence[Series], title: str, x_label: str) -> str:
    """Draw lines over a common axis.

    Args:
        series (Sequence[Series]): The lines; those without a finite point
            are left out.
        title (str): Above the chart.
        x_label (str): Below it.

    Returns:
        str: An ``<svg>`` element, '' where there is nothing to draw.
    """
    lines = [(one.name, one.points()) for one in series]
    lines = [(name, points) for name, points in lines if points]
    if not lines:
        return ''
    xs = [x for _, points in lines for x, _ in points]
    ys = [y for _, points in lines for _, y in points]
    y_ticks = nice_ticks(min(0.0, *ys), max(ys))
    x_ticks = nice_ticks(min(xs), max(xs), 6)
    parts, top = _legend([name for name, _ in lines])
    axes = _Axes((min(xs), max(xs)), (y_ticks[0], y_ticks[-1]), top)
    inside = [tick for tick in x_ticks if min(xs) <= tick <= max(xs)]
    parts += _frame(title, axes, x_label, inside, y_ticks)
    for place, (_, points) in enumerate(lines):
        color = PALETTE[place % len(PALETTE)]
        places = ' '.join(
            f'{axes.x(x):.1f},{axes.y(y):.1f}' for x, y in points
        )
        parts.append(
            f'<polyline points="{places}" fill="none" {_stroke(place)} '
            'stroke-linejoin="round"/>'
        )
        if len(points) <= 40:
            parts += [
                f'<circle cx="{axes.x(x):.1f}" cy="{axes.y(y):.1f}" r="2.4" '
                f'fill="{color}"/>'
                for x, y in points
            ]
    return _svg(title, parts)


def histogram(
    values: Sequence[float],
    title: str,
    x_label: str,
    bins: int = 10,
    limits: tuple[float, float] = (0.0, 1.0),
) -> str:
    """Draw how many values fall into each of equal parts of a range.

    Args:
        values (Sequence[float]): Those beyond the limits are counted in the
            first and in the last part.
        title (str): Above the chart.
        x_label (str): Below it.
        bins (int): Number of parts.
        limits (tuple[float, float]): Ends of the range. Defaults to (0, 1).

    Returns:
        str: An ``<svg>`` element, '' where there is nothing to draw.
    """
    if not len(values):
        return ''
    low, high = limits
    counts = [0] * bins
    for value in values:
        place = int((value - low) / (high - low) * bins)
        counts[min(max(place, 0), bins - 1)] += 1
    y_ticks = nice_ticks(0.0, float(max(counts)), 4)
    axes = _Axes(limits, (0.0, y_ticks[-1]), 28)
    x_ticks = [t for t in nice_ticks(low, high) if low <= t <= high]
    parts = _frame(title, axes, x_label, x_ticks, y_ticks)
    for place, count in enumerate(counts):
        left, right = (
            axes.x(low + part / bins * (high - low))
            for part in (place, place + 1)
        )
        top, base = axes.y(count), axes.y(0)
        parts.append(
            f'<rect x="{left + 1:.1f}" y="{top:.1f}" '
            f'width="{right - left - 2:.1f}" height="{base - top:.1f}" '
            f'fill="{PALETTE[0]}"><title>{count}</title></rect>'
        )
    return _svg(title, parts)
