"""The commands that a run starts, each in a process of its own."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Union

from hero_mm.engine.hooks.deadline_hook import STOP_AT

Words = Sequence[Union[str, Path]]
# One run is one thread: two of them share two cores.
ONE_THREAD = dict(
    OMP_NUM_THREADS='1', MKL_NUM_THREADS='1', OPENBLAS_NUM_THREADS='1'
)
POLL_SECONDS = 0.1
KILL_SECONDS = 10.0


class StageError(RuntimeError):
    """A command of a run failed.

    Args:
        message (str): What failed, and the last words of its log.
    """


class Stopped(Exception):
    """A run was stopped and goes on another time."""


@dataclass(frozen=True)
class Commands:
    """First words of the commands; what they work on is put behind.

    Attributes:
        train (Sequence[str]): Takes ``CONFIG --work-dir DIR --seed N`` and
            ``--resume`` or ``--no-validate``; leaves a checkpoint,
            ``last_checkpoint`` and ``training_cost.json`` in ``DIR``.
        test (Sequence[str]): Takes ``CONFIG CHECKPOINT --work-dir DIR --dump
            FILE``; leaves the predictions and ``DIR/TIME/TIME.json``.
        cost (Sequence[str]): Takes ``CONFIG CHECKPOINT --out FILE``.
    """

    train: Sequence[str]
    test: Sequence[str]
    cost: Sequence[str]

    @classmethod
    def of_tools(cls, root: Path) -> 'Commands':
        """Those of this package."""
        python = sys.executable
        return cls(
            [python, str(root / 'tools/train.py')],
            [python, str(root / 'tools/test.py')],
            [python, '-m', 'hero_mm.apis.ablation.cost'],
        )


@dataclass
class Launcher:
    """Starts commands, and stops them when it must.

    Attributes:
        root (Path): Put in the search path of Python.
        deadline (float, optional): Seconds since 1970 at which commands are
            stopped.
        reserve (float): Seconds before the deadline at which a training
            should have ended by itself.
    """

    root: Path
    deadline: Optional[float] = None
    reserve: float = 20.0

    def __post_init__(self) -> None:
        self.stop = threading.Event()

    def seconds_left(self) -> float:
        """Until the deadline; infinite where there is none."""
        if self.deadline is None:
            return float('inf')
        return self.deadline - time.time()

    def run(
        self,
        what: str,
        words: Words,
        log: Path,
        lock: int,
        device: Optional[int] = None,
    ) -> None:
        """Run a command to its end."""
        if self.stop.is_set() or self.seconds_left() <= 0:
            raise Stopped(what)
        line = [str(word) for word in words]
        with open(log, 'ab') as file:
            file.write(f'\n$ {" ".join(line)}\n'.encode())
            file.flush()
            start = file.tell()
            process = subprocess.Popen(
                line,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=self._environment(device),
                # In the group of this process: what ends all of it, such as
                # Ctrl-C, leaves no training behind.
                pass_fds=[lock],
            )
            try:
                code = self._wait(process)
            finally:
                _end(process)
        if code is None:
            raise Stopped(what)
        if code:
            raise StageError(f'{what} failed ({code}): {_last(log, start)}')

    def _wait(self, process: subprocess.Popen) -> Optional[int]:
        """Exit code; None where it has to be stopped."""
        while True:
            try:
                return process.wait(POLL_SECONDS)
            except subprocess.TimeoutExpired:
                if self.stop.is_set() or self.seconds_left() <= 0:
                    return None

    def _environment(self, device: Optional[int]) -> Mapping[str, str]:
        path = os.pathsep.join(
            filter(None, [str(self.root), os.environ.get('PYTHONPATH')])
        )
        given = {**os.environ, **ONE_THREAD, 'PYTHONPATH': path}
        if self.deadline is not None:
            given[STOP_AT] = str(self.deadline - self.reserve)
        if device is not None:
            name = 'CUDA_VISIBLE_DEVICES'
            seen = [one for one in given.get(name, '').split(',') if one]
            given[name] = seen[device] if seen else str(device)
        return given


def _end(process: subprocess.Popen) -> None:
    """Stop a command, politely at first.

    Data workers look for their parent every five seconds, and end without.
    """
    for end in (process.terminate, process.kill):
        if process.poll() is not None:
            return
        end()
        try:
            process.wait(KILL_SECONDS)
        except subprocess.TimeoutExpired:
            continue


def _last(log: Path, start: int) -> str:
    """The message of an error, or the last lines that were written."""
    with open(log, 'rb') as file:
        file.seek(start)
        text = file.read().decode(errors='replace')
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return 'it wrote nothing'
    errors = [line for line in lines if line.startswith('error: ')]
    if errors:
        return errors[-1].removeprefix('error: ')
    return ' / '.join([lines[-1], f'see the last lines of {log}'])
