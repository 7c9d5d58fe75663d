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
    """Do some work, in processes where there is enough of it.

    Args:
        work (Callable): Does an item; can be pickled.
        items (Sequence): All of them.
        workers (int): Processes; with one nothing is started.
        start (Callable): Called once in each process.
        method (str, optional): How a process is started. Defaults to the
            usual way of this system.

    Yields:
        Any: Results as they come.
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
    """Which process this is of those that a launcher has started.

    Returns:
        tuple[int, int]: Its number, from 0 on, and how many there are; (0, 1)
        without torchrun or its like.
    """
    rank = os.environ.get('RANK', '0')
    return int(rank), int(os.environ.get('WORLD_SIZE', '1'))
