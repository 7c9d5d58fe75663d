"""Time and memory of an action."""

import statistics
import time
from typing import Any, Callable

import torch

Rows = list[list[str]]
"""A table, its head first."""


def time_of(
    action: Callable[[], Any], repeat: int, device: Any = 'cpu'
) -> float:
    """Median of the seconds that an action takes.

    Args:
        action (Callable): What is timed.
        repeat (int): How often.
        device (torch.device): Where it computes. On a CPU the time of this
            process counts, whatever else the machine does; on a GPU the
            clock.

    Returns:
        float: Seconds.
    """
    on_gpu = torch.device(device).type == 'cuda'
    clock = time.perf_counter if on_gpu else time.process_time
    if on_gpu:
        # What was queued before is not counted.
        torch.cuda.synchronize(device)
    seconds = []
    for _ in range(repeat):
        start = clock()
        action()
        if on_gpu:
            torch.cuda.synchronize(device)
        seconds.append(clock() - start)
    return statistics.median(seconds)
