"""Charts by matplotlib, as SVG."""

import io
from collections.abc import Sequence
from typing import Any, NamedTuple, Optional, Union

import numpy as np

PALETTE = (
    '#0072B2',
    '#E69F00',
    '#009E73',
    '#D55E00',
    '#CC79A7',
    '#56B4E9',
    '#6b6b6b',
)
"""Colours of Okabe and Ito, which everybody can tell apart."""


class Series(NamedTuple):
    """A named line of a chart, with the lengths of error bars.

    Points that are not finite are left out; lines of one name look alike.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    errors: Optional[Sequence[float]] = None


def line_chart(
    series: Sequence[Series],
    title: str,
    x_label: str,
    y_label: str = '',
    from_zero: bool = True,
) -> str:
    """Lines over a common axis as SVG, '' where there is nothing to draw.

    Lines without a finite point are left out. ``from_zero`` keeps 0 in sight.
    """
    axes = _chart(title, x_label, y_label)
    names: list[str] = []
    for one in series:
        x, y = (np.asarray(values, dtype=float) for values in (one.x, one.y))
        kept = np.isfinite(x) & np.isfinite(y)
        if not kept.any():
            continue
        errors = None
        if one.errors is not None and any(one.errors):
            errors = np.asarray(one.errors)[kept]
        is_new = one.name not in names
        names += [one.name] * is_new
        place = names.index(one.name)
        axes.errorbar(
            x[kept],
            y[kept],
            errors,
            capsize=3,
            label=one.name if is_new else None,
            color=PALETTE[place % len(PALETTE)],
            # Colours come again dashed.
            linestyle=('-', '--', ':')[place // len(PALETTE) % 3],
            marker='.' if kept.sum() <= 40 else '',
        )
    if not names:
        return ''
    if from_zero:
        low, high = axes.get_ylim()
        axes.set_ylim(min(low, 0.0), max(high, 0.0))
    axes.figure.legend(
        loc='outside right upper', fontsize='small', frameon=False
    )
    return _svg(axes, title)


def histogram(
    values: Union[Sequence[float], np.ndarray],
    title: str,
    x_label: str,
    bins: int = 10,
    limits: tuple[float, float] = (0.0, 1.0),
) -> str:
    """How many values fall into each of equal parts of a range, as SVG.

    Values beyond the limits are counted in the first and in the last part. ''
    where there is nothing to draw.
    """
    if not len(values):
        return ''
    axes = _chart(title, x_label)
    inside = np.clip(np.asarray(values, dtype=float), *limits)
    axes.hist(inside, bins, range=limits, rwidth=0.94, color=PALETTE[0])
    axes.set_xlim(*limits)
    return _svg(axes, title)


def _chart(title: str, x_label: str, y_label: str = '') -> Any:
    """Axes of a figure of its own, which no backend is needed for."""
    from matplotlib.figure import Figure

    axes = Figure(figsize=(6.0, 2.9), layout='constrained').subplots()
    # A dollar sign is no formula.
    axes.set_title(title, loc='left', fontsize='medium', parse_math=False)
    axes.set_xlabel(x_label, parse_math=False)
    axes.set_ylabel(y_label, parse_math=False)
    axes.grid(axis='y', alpha=0.4)
    axes.set_axisbelow(True)
    axes.spines[['top', 'right']].set_visible(False)
    return axes


def _svg(axes: Any, title: str) -> str:
    import matplotlib

    stream = io.StringIO()
    # Letters stay letters; the same chart is the same file.
    with matplotlib.rc_context(
        {'svg.fonttype': 'none', 'svg.hashsalt': title}
    ):
        axes.figure.savefig(stream, format='svg', metadata=dict(Date=None))
    return stream.getvalue()
