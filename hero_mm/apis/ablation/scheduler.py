"""Work through the runs of a suite, side by side and until time is up."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Optional

from mmengine.config import Config

from hero_mm.config import read_config
from hero_mm.engine.launch import prepare_data

from .folder import (
    BEGUN,
    CHANGED,
    DONE,
    FAILED,
    TRAINED,
    Folder,
    read_json,
    write_json,
)
from .job import (
    POLL_SECONDS,
    Commands,
    Job,
    StageError,
    Stopped,
    locked,
    now,
    source_of,
)
from .suite import MAIN_METRIC, OTHERS, Suite


@dataclass
class Outcome:
    """What became of the runs, by their labels; of some with the reason."""

    done: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    blocked: dict[str, str] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)


def folders_of(
    suite: Suite, out: Path, only: Sequence[str] = ()
) -> list[Folder]:
    """All runs and seeds, or of the runs named; first seeds come first."""
    chosen = [suite.run(name) for name in only] or list(suite.runs)
    most = max(len(run.seeds) for run in chosen)
    return [
        Folder(run, run.seeds[place], out)
        for place in range(most)
        for run in chosen
        if place < len(run.seeds)
    ]


class Scheduler:
    """Shares the runs out among jobs, each of which waits for one command.

    Args:
        suite (Suite): The suite.
        pending (Sequence[Folder]): Its runs.
        commands (Commands): What is started.
        jobs (int): Runs side by side.
        deadline (float, optional): Seconds since 1970 at which it stops.
        retry (bool): Run again what has failed before.
        devices (int): GPUs, which the jobs share out; 0 for the CPU.
        say (Callable): Takes a line for the user.
    """

    def __init__(
        self,
        suite: Suite,
        pending: Sequence[Folder],
        commands: Commands,
        jobs: int = 1,
        deadline: Optional[float] = None,
        retry: bool = False,
        devices: int = 0,
        say: Callable[[str], None] = print,
    ) -> None:
        self.suite, self.commands, self.retry = suite, commands, retry
        self.deadline = deadline
        self.devices = [n % devices if devices else None for n in range(jobs)]
        self._say = say
        self.pending = list(pending)
        self.running: list[Folder] = []
        self.outcome = Outcome()
        self.interrupted = False
        self._choosing = threading.Lock()
        self._calibrating = threading.Lock()

    def say(self, line: str) -> None:
        """Show the user a line, with the time."""
        self._say(f'{datetime.now():%H:%M:%S} {line}')

    def is_late(self) -> bool:
        """Whether no command may run any more."""
        late = self.deadline is not None and time.time() >= self.deadline
        return late or self.interrupted

    def run(self) -> Outcome:
        """Run all, until they are done or time is up."""
        self._sort_out()
        self._prepare()
        with ThreadPoolExecutor(len(self.devices)) as pool:
            try:
                list(pool.map(self._work, self.devices))
            except BaseException:
                # Leaving the block waits until all have ended their commands.
                self.interrupted = True
                raise
        self.outcome.left += [folder.label for folder in self.pending]
        return self.outcome

    def _sort_out(self) -> None:
        """Leave out what is done, has failed, or was another run."""
        pending, self.pending = self.pending, []
        for folder in pending:
            state = folder.state()
            if state == DONE:
                self.outcome.done.append(folder.label)
            elif state == CHANGED:
                self._block(
                    folder,
                    f'{folder.path} holds a run with other options; delete '
                    'it to train anew',
                )
            elif state == FAILED and not self.retry:
                reason = (folder.failure() or {}).get('message', '')
                self.outcome.failed[folder.label] = reason
                self.say(f'{folder.label}: failed before (--retry): {reason}')
            else:
                self.pending.append(folder)
        # What was begun comes to its end first.
        self.pending.sort(key=lambda f: f.state() not in (BEGUN, TRAINED))

    def _prepare(self) -> None:
        """Make data once, before several trainings do so at a time."""
        seen: list[object] = []
        if self.pending:
            prepare_data(Config(dict(prepare=list(self.suite.prepare))))
        for folder in [f for f in self.pending if f.run.config]:
            try:
                cfg = read_config(folder.run.config, folder.run.options)
                if cfg.get('prepare') and cfg.prepare not in seen:
                    seen.append(cfg.prepare)
                    prepare_data(cfg)
            except Exception as error:  # The others go on.
                self.pending.remove(folder)
                self._fail(folder, error)

    def _work(self, device: Optional[int]) -> None:
        """One run after the other, those that must wait after the others."""
        while self.pending and not self.is_late():
            with self._choosing:
                ready = [f for f in self.pending if not self._waits(f)][:1]
                for folder in ready:
                    self.pending.remove(folder)
                    self.running.append(folder)
            for folder in ready:
                try:
                    self._run(folder, device)
                finally:
                    self.running.remove(folder)
            time.sleep(POLL_SECONDS)

    def _run(self, folder: Folder, device: Optional[int]) -> None:
        try:
            if self._depends(folder) and not source_of(folder).result():
                why = f'it needs {folder.run.budget.run}, which is not done'
                self._block(folder, why)
                return
            self.say(f'{folder.label}: starts')
            with locked(folder) as lock:
                Job(self, folder, lock, device).run()
            self.outcome.done.append(folder.label)
            self.say(f'{folder.label}: done, {_scores_of(folder)}')
        except Stopped as error:
            self.outcome.left.append(folder.label)
            self.say(f'{folder.label}: stopped, {error}')
        except Exception as error:  # The others go on.
            self._fail(folder, error)

    def _depends(self, folder: Folder) -> bool:
        """Whether another run has to be done before it."""
        return folder.run.budget.kind in OTHERS and folder.plan() is None

    def _waits(self, folder: Folder) -> bool:
        """Whether the run that it depends on is still to come."""
        wanted = folder.run.budget.run, folder.seed
        return self._depends(folder) and any(
            (one.run.name, one.seed) == wanted
            for one in self.pending + self.running
        )

    def _block(self, folder: Folder, why: str) -> None:
        self.outcome.blocked[folder.label] = why
        self.say(f'{folder.label}: not started, {why}')

    def _fail(self, folder: Folder, error: Exception) -> None:
        message = str(error)
        if not isinstance(error, StageError):
            message = f'{type(error).__name__}: {error}'
        found = dict(message=message, date=now())
        write_json(folder.path / 'failed.json', found)
        self.outcome.failed[folder.label] = message
        self.say(f'{folder.label}: FAILED, {message}')

    def calibration(self, folder: Folder, job: Job) -> dict[str, Any]:
        """The cost of a clip, measured once for all seeds of a run."""
        with self._calibrating:
            found = read_json(folder.calibration)
            if found is None:
                found = job.measure()
                write_json(folder.calibration, found)
        return found


def _scores_of(folder: Folder) -> str:
    """The main score of each test, for the log."""
    tests = (folder.result() or {}).get('tests', {})
    found = [
        f'{name}: {MAIN_METRIC} {test["scores"][MAIN_METRIC]:.3f}'
        for name, test in tests.items()
        if MAIN_METRIC in test['scores']
    ]
    return ', '.join(found) or f'no {MAIN_METRIC}'
