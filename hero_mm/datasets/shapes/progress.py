"""Say how far the rendering is: a bar or, without a terminal, lines."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Optional, TypeVar

from rich.console import Console
from rich.progress import Progress

_LINE_SECONDS = 10.0
_WHAT = 'rendering shapes'

Result = TypeVar('Result')


def watched(
    results: Iterable[Result],
    number: Callable[[Result], int],
    total: int,
    console: Optional[Console],
) -> Iterator[Result]:
    """Pass results on as they come, and show how far it is.

    Args:
        results (Iterable): What is done.
        number (Callable): How many videos a result has.
        total (int): How many there will be.
        console (Console, optional): Where to show it. None shows nothing.

    Yields:
        Any: The results.
    """
    if console is None:
        yield from results
    elif console.is_terminal:
        with Progress(console=console) as progress:
            task = progress.add_task(_WHAT, total=total)
            for done in results:
                progress.advance(task, number(done))
                yield done
    else:
        yield from _with_lines(results, number, total, console)


def _with_lines(
    results: Iterable[Result],
    number: Callable[[Result], int],
    total: int,
    console: Console,
) -> Iterator[Result]:
    """Say how far it is, every ten seconds."""
    count, last = 0, time.monotonic()
    for done in results:
        count += number(done)
        if time.monotonic() - last > _LINE_SECONDS or count == total:
            console.print(f'{_WHAT}: {count} of {total} videos')
            last = time.monotonic()
        yield done
