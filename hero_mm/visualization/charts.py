"""Charts by matplotlib: SVG of reports, files and windows of tools."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import numpy as np

from hero_mm.errors import UserError
from hero_mm.files import PathLike, replacing

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

WITHOUT_WINDOW = ('agg', 'cairo', 'pdf', 'pgf', 'ps', 'svg', 'template')


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


def line_chart(series: Sequence[Series], title: str, x_label: str) -> str:
    """Draw lines over a common axis.

    Args:
        series (Sequence[Series]): The lines; those without a finite point
            are left out.
        title (str): Above the chart.
        x_label (str): Below it.

    Returns:
        str: SVG, '' where there is nothing to draw.
    """
    axes = _chart(title, x_label)
    for one in series:
        x, y = (np.asarray(values, dtype=float) for values in (one.x, one.y))
        kept = np.isfinite(x) & np.isfinite(y)
        if not kept.any():
            continue
        place = len(axes.lines)
        axes.plot(
            x[kept],
            y[kept],
            label=one.name,
            color=PALETTE[place % len(PALETTE)],
            # Colours come again dashed.
            linestyle=('-', '--', ':')[place // len(PALETTE) % 3],
            marker='.' if kept.sum() <= 40 else '',
        )
    if not axes.lines:
        return ''
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, 0.0), max(high, 0.0))
    axes.figure.legend(
        loc='outside right upper', fontsize='small', frameon=False
    )
    return _svg(axes, title)


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
        str: SVG, '' where there is nothing to draw. The id of a bar ends in
        its count.
    """
    if not len(values):
        return ''
    inside = np.clip(np.asarray(values, dtype=float), *limits)
    counts, edges = np.histogram(inside, bins, limits)
    axes = _chart(title, x_label)
    bars = axes.bar(
        edges[:-1],
        counts,
        0.94 * np.diff(edges),
        align='edge',
        color=PALETTE[0],
    )
    for place, (bar, count) in enumerate(zip(bars, counts.tolist())):
        bar.set_gid(f'bar_{place}_{count}')
    axes.set_xlim(*limits)
    return _svg(axes, title)


def _chart(title: str, x_label: str) -> Any:
    """Axes of a figure of its own, which no backend is needed for."""
    from matplotlib.figure import Figure

    axes = Figure(figsize=(6.0, 2.9), layout='constrained').subplots()
    # A dollar sign is no formula.
    axes.set_title(title, loc='left', fontsize='medium', parse_math=False)
    axes.set_xlabel(x_label, parse_math=False)
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


def has_window() -> bool:
    """Whether the backend that matplotlib uses can show a figure."""
    import matplotlib.pyplot as plt

    return plt.get_backend().lower() not in WITHOUT_WINDOW


def open_axes(
    size: tuple[float, float] = (8, 5),
    style: Optional[str] = None,
    backend: Optional[str] = None,
    show: bool = True,
    out: Optional[PathLike] = None,
) -> Any:
    """Open a figure.

    Args:
        size (tuple[float, float]): (width, height) in inches.
        style (str, optional): Of matplotlib, or one of seaborn's names
            (``'dark'``, ``'whitegrid'``, ...), which matplotlib has too.
        backend (str, optional): Of matplotlib. Defaults to its own choice,
            or one that touches no screen where the figure is not shown.
        show (bool): Whether the figure is to be shown.
        out (str | os.PathLike, optional): The file that it goes to. The
            suffix says the format.

    Returns:
        matplotlib.axes.Axes: For :func:`close_figure`.

    Raises:
        ValueError: If backend, style or format are unknown, or the figure
            can neither be shown nor written.
    """
    import matplotlib

    if backend is None and not show:
        backend = 'agg'
    if backend is not None:
        try:
            matplotlib.use(backend)
        except (ImportError, ValueError) as error:
            raise UserError(
                f'matplotlib cannot use the backend {backend!r} here ({error})'
            ) from error
    import matplotlib.pyplot as plt

    if show and out is None and not has_window():
        raise UserError(
            'there is no window to show a figure in (matplotlib has the '
            f'backend {plt.get_backend()!r}); give a file to write it to'
        )
    if style is not None:
        known = [*plt.style.available, 'default']
        named = [n for n in (style, f'seaborn-v0_8-{style}') if n in known]
        if not named:
            raise UserError(
                f'matplotlib knows no style {style!r}, but '
                f'{", ".join(sorted(known))}'
            )
        plt.style.use(named[0])
    figure, axes = plt.subplots(figsize=size)
    known = sorted(figure.canvas.get_supported_filetypes())
    if out is not None and Path(out).suffix[1:].lower() not in known:
        plt.close(figure)
        raise UserError(
            f'{out}: the name must end in one of '
            f'{", ".join(f".{name}" for name in known)}'
        )
    return axes


def close_figure(
    axes: Any, show: bool = True, out: Optional[PathLike] = None
) -> None:
    """Write a figure, show it where there is a window, and close it.

    Args:
        axes (matplotlib.axes.Axes): Of :func:`open_axes`.
        show (bool): As given there.
        out (str | os.PathLike, optional): As given there. Its folder is made.
    """
    import matplotlib.pyplot as plt

    figure = axes.figure
    try:
        if out is not None:
            with replacing(out) as part:
                kind = Path(out).suffix[1:]
                figure.savefig(part, format=kind, bbox_inches='tight')
        if show and has_window():
            plt.show()
    finally:
        plt.close(figure)
