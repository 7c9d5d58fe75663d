"""Time and memory of an action."""

import statistics
import time
from pathlib import Path
from typing import Any, Callable, Optional

import torch

Rows = list[list[str]]
"""A table, its head first."""


def time_of(
    action: Callable[[], Any], repeat: int, device: Any = 'cpu'
) -> float:
    """Median of the seconds that an action takes, of ``repeat`` times.

    On a CPU the time of this process counts, whatever else the machine does;
    on a GPU the clock.
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


def peak_memory(reset: bool = False) -> Optional[float]:
    """The most MB that this process had since a reset, where Linux says so."""
    try:
        if reset:
            Path('/proc/self/clear_refs').write_text('5')
        lines = Path('/proc/self/status').read_text().splitlines()
        (line,) = (line for line in lines if line.startswith('VmHWM'))
        return int(line.split()[1]) / 1024
    except (OSError, ValueError):
        return None
