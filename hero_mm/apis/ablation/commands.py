"""The commands that a run starts, each in a process of its own."""

import asyncio
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import DEVNULL, STDOUT
from typing import Any, Optional

from hero_mm.engine.hooks.deadline_hook import STOP_AT

# One run is one thread: two of them share two cores.
ONE_THREAD = dict(
    OMP_NUM_THREADS='1', MKL_NUM_THREADS='1', OPENBLAS_NUM_THREADS='1'
)
KILL_SECONDS = 10.0


class StageError(RuntimeError):
    """A command of a run failed; the message has the last words of its log."""


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
        commands (Commands): What is started.
        root (Path): Put in the search path of Python.
        deadline (float, optional): Seconds since 1970 at which commands are
            stopped.
        reserve (float): Seconds before the deadline at which a training
            should have ended by itself.
        locks (dict): Of the runs, whose seeds share a calibration.
    """

    commands: Commands
    root: Path
    deadline: Optional[float] = None
    reserve: float = 20.0
    locks: dict[str, asyncio.Lock] = field(default_factory=dict)

    def seconds_left(self) -> Optional[float]:
        """Until the deadline; None where there is none."""
        return None if self.deadline is None else self.deadline - time.time()

    def is_late(self) -> bool:
        """Whether the deadline is over."""
        return self.deadline is not None and time.time() >= self.deadline

    async def run(
        self,
        what: str,
        words: Sequence[Any],
        log: Path,
        lock: int,
        device: Optional[int] = None,
    ) -> None:
        """Run a command to its end; it keeps the lock open."""
        if self.is_late():
            raise Stopped(what)
        line = [str(word) for word in words]
        with open(log, 'ab') as file:
            file.write(f'\n$ {" ".join(line)}\n'.encode())
            file.flush()
            start = file.tell()
            process = await asyncio.create_subprocess_exec(
                *line,
                stdin=DEVNULL,
                stdout=file,
                stderr=STDOUT,
                env=self._environment(device),
                # In the group of this process: what ends all of it, such as
                # Ctrl-C, leaves no training behind.
                pass_fds=[lock],
            )
            try:
                left = self.seconds_left()
                code = await asyncio.wait_for(process.wait(), left)
            except asyncio.TimeoutError:
                raise Stopped(what) from None
            finally:
                await _end(process)
        if code:
            raise StageError(f'{what} failed ({code}): {_last(log, start)}')

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


async def _end(process: asyncio.subprocess.Process) -> None:
    """Stop a command, politely at first.

    Data workers look for their parent every five seconds, and end without.
    """
    for end in (process.terminate, process.kill):
        if process.returncode is not None:
            return
        end()
        try:
            await asyncio.wait_for(process.wait(), KILL_SECONDS)
        except asyncio.TimeoutError:
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
