"""Figures of matplotlib for the tools whose flags choose style and backend.

Reports draw SVG by themselves (:mod:`hero_mm.visualization.charts`).
"""

from pathlib import Path
from typing import Any, Optional

from hero_mm.files import PathLike, replacing

WITHOUT_WINDOW = ('agg', 'cairo', 'pdf', 'pgf', 'ps', 'svg', 'template')


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
            raise ValueError(
                f'matplotlib cannot use the backend {backend!r} here ({error})'
            ) from error
    import matplotlib.pyplot as plt

    if show and out is None and not has_window():
        raise ValueError(
            'there is no window to show a figure in (matplotlib has the '
            f'backend {plt.get_backend()!r}); give a file to write it to'
        )
    if style is not None:
        known = [*plt.style.available, 'default']
        named = [n for n in (style, f'seaborn-v0_8-{style}') if n in known]
        if not named:
            raise ValueError(
                f'matplotlib knows no style {style!r}, but '
                f'{", ".join(sorted(known))}'
            )
        plt.style.use(named[0])
    figure, axes = plt.subplots(figsize=size)
    known = sorted(figure.canvas.get_supported_filetypes())
    if out is not None and Path(out).suffix[1:].lower() not in known:
        plt.close(figure)
        raise ValueError(
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
