"""Show how far something is: a bar or, without a terminal, lines."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Optional, TypeVar

# Without a terminal a line says every so many seconds how far it is.
LINE_SECONDS = 10.0
Item = TypeVar('Item')


def show_progress(
    items: Iterable[Item],
    total: int,
    what: str = 'reading boxes',
    size: Optional[Callable[[Item], int]] = None,
) -> Iterator[Item]:
    """Pass things on as they come, and show on standard error how far it is.

    Args:
        items (Iterable): What is worked through.
        total (int): How many there are.
        what (str): What is done.
        size (Callable, optional): For how many an item counts, if not one.
    """
    if not sys.stderr.isatty():
        count, last = 0, time.monotonic()
        for item in items:
            yield item
            count += 1 if size is None else size(item)
            if time.monotonic() - last >= LINE_SECONDS:
                last = time.monotonic()
                sys.stderr.write(f'{what}: {count:,} of {total:,}\n')
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=total)
        for item in items:
            yield item
            bar.advance(task, 1 if size is None else size(item))
