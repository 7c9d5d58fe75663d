"""Work through the runs of a suite, side by side and until time is up."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import IO, Any, Optional

from mmengine.config import Config

from hero_mm.config import read_config
from hero_mm.engine.hooks.training_cost_hook import STOP_AT
from hero_mm.engine.launch import prepare_data

from .job import (
    BEGUN,
    CHANGED,
    DONE,
    FAILED,
    TRAINED,
    Job,
    StageError,
    Steps,
    Stopped,
    write_json,
)
from .suite import MAIN_METRIC, Suite

# One run is one thread: two of them share two cores.
ONE_THREAD = dict(
    OMP_NUM_THREADS='1', MKL_NUM_THREADS='1', OPENBLAS_NUM_THREADS='1'
)
POLL_SECONDS = 0.1
KILL_SECONDS = 10.0
# Workers of a training that was stopped live a little longer.
LOCK_SECONDS = 12.0
# Before the time limit: a training should have ended by itself.
RESERVE_SECONDS = 20.0


def commands_of(root: Path) -> dict[str, list[str]]:
    """First words of the commands; what they work on is put behind.

    ``train`` takes ``CONFIG --work-dir DIR --seed N`` and ``--resume`` or
    ``--no-validate``; ``test`` takes ``CONFIG CHECKPOINT --work-dir DIR
    --dump FILE``, ``cost`` takes ``CONFIG CHECKPOINT FILE``.
    """
    return dict(
        train=[sys.executable, str(root / 'tools/train.py')],
        test=[sys.executable, str(root / 'tools/test.py')],
        cost=[sys.executable, '-m', 'hero_mm.apis.ablation.cost'],
    )


def jobs_of(suite: Suite, out: Path, only: Sequence[str] = ()) -> list[Job]:
    """All runs and seeds, or of the runs named; first seeds come first."""
    chosen = [suite.run(name) for name in only] or suite.runs
    most = max(len(run.seeds) for run in chosen)
    return [
        Job(run, run.seeds[place], out)
        for place in range(most)
        for run in chosen
        if place < len(run.seeds)
    ]


class Scheduler:
    """Shares the runs out; each of them waits for one command at a time.

    Args:
        suite (Suite): The suite.
        pending (Sequence[Job]): Its runs.
        commands (Mapping): What is started, as :func:`commands_of` gives it.
        side_by_side (int): Runs at a time.
        deadline (float, optional): Seconds since 1970 at which it stops.
        retry (bool): Run again what has failed before.
        devices (int): GPUs, which the runs share out; 0 for the CPU.
        say (Callable): Takes a line for the user.

    Attributes:
        failed (dict[str, str]): Why runs have no result, by label.
        left (list[str]): Labels of those that are still to be done.
    """

    def __init__(
        self,
        suite: Suite,
        pending: Sequence[Job],
        commands: Mapping[str, Sequence[str]],
        side_by_side: int = 1,
        deadline: Optional[float] = None,
        retry: bool = False,
        devices: int = 0,
        say: Callable[[str], None] = print,
    ) -> None:
        self.suite, self.commands, self.retry = suite, commands, retry
        self.side_by_side, self.devices = side_by_side, devices
        self.deadline, self.say = deadline, say
        self.pending = list(pending)
        self.failed: dict[str, str] = {}
        self.left: list[str] = []
        self._active: dict[int, tuple[Job, Steps]] = {}

    def run(self) -> None:
        """Run all, until they are done or time is up."""
        self.pending = [job for job in self.pending if self._is_open(job)]
        # What was begun comes to its end first.
        self.pending.sort(key=lambda j: j.state() not in (BEGUN, TRAINED))
        self._prepare()
        try:
            while self._active or (self.pending and not self._is_late()):
                for place in range(self.side_by_side):
                    self._go_on(place)
                time.sleep(POLL_SECONDS)
        finally:
            # They end their commands.
            for _, steps in self._active.values():
                steps.close()
        self.left += [job.label for job in self.pending]

    def _is_late(self) -> bool:
        return self.deadline is not None and time.time() >= self.deadline

    def _is_open(self, job: Job) -> bool:
        """Whether it is not done, has not failed, and was no other run."""
        state = job.state()
        if state == CHANGED:
            why = 'holds a run with other options; delete it to train anew'
            self._block(job, f'{job.path} {why}')
        if state == FAILED and not self.retry:
            self.failed[job.label] = reason = job.read('failed')['message']
            self._say(job, f'failed before (--retry): {reason}')
            return False
        return state not in (CHANGED, DONE)

    def _prepare(self) -> None:
        """Make data once, before several trainings do so at a time."""
        if self.pending:
            prepare_data(Config(dict(prepare=list(self.suite.prepare))))
        seen: list[object] = []
        for job in [job for job in self.pending if job.run.config]:
            try:
                cfg = read_config(job.run.config, job.run.options)
                if cfg.get('prepare') and cfg.prepare not in seen:
                    seen.append(cfg.prepare)
                    prepare_data(cfg)
            except Exception as error:  # The others go on.
                self.pending.remove(job)
                self._fail(job, error)

    def _go_on(self, place: int) -> None:
        """Look after one of the runs that are at work, or begin one."""
        if place not in self._active:
            if not self._is_late():
                self._begin(place)
            return
        job, steps = self._active[place]
        try:
            next(steps)
            return
        except StopIteration:
            self._say(job, f'done, {_scores_of(job)}')
        except Stopped as error:
            self.left.append(job.label)
            self._say(job, f'stopped, {error}')
        except Exception as error:  # The others go on.
            self._fail(job, error)
        del self._active[place]

    def _begin(self, place: int) -> None:
        """Begin the first run that need not wait for another one."""
        ready = [job for job in self.pending if not self._must_wait(job)]
        for job in ready[:1]:
            self.pending.remove(job)
            if job.depends() and not job.source():
                why = f'it needs {job.run.budget.value}, which is not done'
                self._block(job, why)
            else:
                self._active[place] = job, self._work(job, place)

    def _must_wait(self, job: Job) -> bool:
        """Whether what it needs is still to come, or measured right now."""
        active = [one for one, _ in self._active.values()]
        if job.depends():
            wanted = job.run.budget.value, job.seed
            others = [(j.run.name, j.seed) for j in [*self.pending, *active]]
            if wanted in others:
                return True
        needs_cost = job.run.budget.kind not in ('clips', 'trained')
        is_measured = job.calibration.is_file()
        same = any(one.run is job.run for one in active)
        return needs_cost and same and not is_measured

    def _work(self, job: Job, place: int) -> Steps:
        """All stages of a run, with others kept out of its folder."""
        job.path.mkdir(parents=True, exist_ok=True)
        with open(job.path / 'lock', 'a', encoding='utf-8') as lock:
            last = time.monotonic() + LOCK_SECONDS
            while not _take(lock):
                if time.monotonic() > last:
                    raise Stopped(f'{job.path} is in use by another process')
                yield
            self._say(job, 'starts')
            start = partial(self._start, job, place, lock)
            yield from job.work(start, self.deadline is not None)

    def _start(
        self, job: Job, place: int, lock: Any, what: str, kind: str, *more: Any
    ) -> Steps:
        """Run a command to its end; it keeps the lock, too."""
        if self._is_late():
            raise Stopped(what)
        line = [str(word) for word in (*self.commands[kind], *more)]
        with open(job.log, 'ab') as log:
            log.write(f'\n$ {" ".join(line)}\n'.encode())
            log.flush()
            start = log.tell()
            # In the group of this process: what ends all of it, such as
            # Ctrl-C, leaves no training behind.
            process = subprocess.Popen(
                line,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment(place),
                pass_fds=[lock.fileno()],
            )
        try:
            while process.poll() is None:
                if self._is_late():
                    raise Stopped(what)
                yield
        finally:
            _end(process)
        if process.returncode:
            last = _last_words(job.log, start)
            raise StageError(f'{what} failed ({process.returncode}): {last}')

    def _environment(self, place: int) -> dict[str, str]:
        """Variables of a command."""
        given = {**os.environ, **ONE_THREAD}
        if self.deadline is not None:
            given[STOP_AT] = str(self.deadline - RESERVE_SECONDS)
        if self.devices:
            name, device = 'CUDA_VISIBLE_DEVICES', place % self.devices
            seen = [one for one in given.get(name, '').split(',') if one]
            given[name] = seen[device] if seen else str(device)
        return given

    def _say(self, job: Job, line: str) -> None:
        """Show the user a line about a run, with the time."""
        self.say(f'{datetime.now():%H:%M:%S} {job.label}: {line}')

    def _block(self, job: Job, why: str) -> None:
        self.failed[job.label] = why
        self._say(job, f'not started, {why}')

    def _fail(self, job: Job, error: Exception) -> None:
        message = str(error)
        if not isinstance(error, StageError):
            message = f'{type(error).__name__}: {error}'
        write_json(job.path / 'failed.json', dict(message=message))
        self.failed[job.label] = message
        self._say(job, f'FAILED, {message}')


def _scores_of(job: Job) -> str:
    """The main score of each test."""
    found = [
        f'{name}: {MAIN_METRIC} {test["scores"][MAIN_METRIC]:.3f}'
        for name, test in job.read('result')['tests'].items()
        if MAIN_METRIC in test['scores']
    ]
    return ', '.join(found) or f'no {MAIN_METRIC}'


def _take(lock: IO[str]) -> bool:
    """Lock a file, unless somebody else has."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _end(process: 'subprocess.Popen[bytes]') -> None:
    """Stop a command, politely at first, and then what it has started.

    A data worker whose parent is gone may wait for ever to hand out a batch,
    and would keep the lock.
    """
    children = Path(f'/proc/{process.pid}/task/{process.pid}/children')
    workers = children.read_text().split() if children.is_file() else []
    for end in (process.terminate, process.kill):
        if process.poll() is not None:
            break
        end()
        with suppress(subprocess.TimeoutExpired):
            process.wait(KILL_SECONDS)
    for worker in map(int, workers):
        with suppress(ProcessLookupError):
            os.kill(worker, signal.SIGKILL)


def _last_words(log: Path, start: int) -> str:
    """The message of an error, or the last line that was written."""
    text = log.read_bytes()[start:].decode(errors='replace')
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for line in reversed(lines):
        if line.startswith('error: '):
            return line.removeprefix('error: ')
    last = lines[-1] if lines else 'it wrote nothing'
    return f'{last} / see the last lines of {log}'
