"""Worker processes that end when the process that started them does."""

import multiprocessing
import os
import threading


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
