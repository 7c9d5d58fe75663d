"""Processes: workers that end with their parent, and those of a launcher."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any, Optional


def end_with_parent() -> None:
    """End this process when its parent is gone; an initializer of pools.

    A parent that was killed cannot tell its workers, which would wait for
    work for ever.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def in_processes(
    work: Callable[[Any], Any],
    items: Sequence[Any],
    workers: int,
    start: Callable[[], None] = end_with_parent,
    method: Optional[str] = None,
) -> Iterator[Any]:
    """Do some work on items, in processes where there is enough of it.

    ``work`` can be pickled; ``start`` is called once in each process. Results
    come as they are done. With one worker nothing is started; ``method`` is
    how a process is started, the usual way of this system by default.
    """
    if workers <= 1 or len(items) < 2:
        yield from map(work, items)
        return
    context = multiprocessing.get_context(method)
    number = min(workers, len(items))
    pool = ProcessPoolExecutor(number, context, initializer=start)
    try:
        tasks = [pool.submit(work, item) for item in items]
        for task in as_completed(tasks):
            yield task.result()
    finally:
        pool.shutdown(cancel_futures=True)


def launched() -> tuple[int, int]:
    """Which process of how many this is; (0, 1) without torchrun."""
    rank = os.environ.get('RANK', '0')
    return int(rank), int(os.environ.get('WORLD_SIZE', '1'))
