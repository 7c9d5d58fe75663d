"""Work through the runs of a suite, side by side and until time is up."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Optional

from mmengine.config import Config

from hero_mm.config import read_config
from hero_mm.engine.launch import prepare_data

from .commands import Commands, Launcher, StageError, Stopped
from .folder import (
    BEGUN,
    CHANGED,
    DONE,
    FAILED,
    TRAINED,
    Folder,
    write_json,
)
from .stages import Worker, source_of
from .suite import OTHERS, Suite

WAIT_SECONDS = 0.5
Say = Callable[[str], None]


@dataclass
class Outcome:
    """What became of the runs, by their labels.

    Attributes:
        done (list[str]): Finished, now or before.
        failed (dict[str, str]): With the reason.
        blocked (dict[str, str]): Not started, with the reason.
        left (list[str]): Not started or not finished in the time limit.
    """

    done: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    blocked: dict[str, str] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)


def folders_of(
    suite: Suite, out: Path, only: Sequence[str] = ()
) -> list[Folder]:
    """All runs and seeds, the first seed of every run first.

    Args:
        suite (Suite): The suite.
        out (Path): Its folder.
        only (Sequence[str]): Names of runs; all by default.

    Raises:
        ValueError: If there is no run of a name.
    """
    chosen = [suite.run(name) for name in only] or list(suite.runs)
    most = max(len(run.seeds) for run in chosen)
    return [
        Folder(run, run.seeds[place], out)
        for place in range(most)
        for run in chosen
        if place < len(run.seeds)
    ]


class Scheduler:
    """Gives runs to threads, each of which waits for one command.

    Args:
        suite (Suite): The suite.
        out (Path): Its folder.
        commands (Commands): What is started.
        root (Path): Folder of the code.
        jobs (int): Runs side by side.
        minutes (float, optional): Time limit.
        only (Sequence[str]): Names of runs; all by default.
        retry (bool): Run again what has failed before.
        devices (int): GPUs, which the jobs share out; 0 for the CPU.
        say (Callable): Takes a line for the user.
    """

    def __init__(
        self,
        suite: Suite,
        out: Path,
        commands: Commands,
        root: Path,
        jobs: int = 2,
        minutes: Optional[float] = None,
        only: Sequence[str] = (),
        retry: bool = False,
        devices: int = 0,
        say: Say = lambda line: None,
    ) -> None:
        self.suite, self.out = suite, out
        self.jobs, self.retry, self.devices = jobs, retry, devices
        deadline = None if minutes is None else time.time() + 60 * minutes
        self.launcher = Launcher(root, deadline)
        self.worker = Worker(commands, self.launcher)
        self._say = say
        self.pending = folders_of(suite, out, only)
        self.running: list[Folder] = []
        self.outcome = Outcome()
        self._changed = threading.Condition()
        self._threads = 0

    def say(self, line: str) -> None:
        """Show the user a line, with the time."""
        self._say(f'{datetime.now():%H:%M:%S} {line}')

    def run(self) -> Outcome:
        """Run all, until they are done or time is up."""
        self._sort_out()
        self._prepare()
        self._threads = self.jobs
        for slot in range(self.jobs):
            threading.Thread(target=self._thread, args=(slot,)).start()
        try:
            self._wait()
        except BaseException:
            self.launcher.stop.set()
            self._wait()
            raise
        self.outcome.left += [folder.label for folder in self.pending]
        return self.outcome

    def _wait(self) -> None:
        """Until all threads have ended.

        Not by ``join``: an interrupted one takes the thread for ended (Python
        before 3.13), and its command would be left behind.
        """
        with self._changed:
            while self._threads:
                self._changed.wait(WAIT_SECONDS)

    def _thread(self, slot: int) -> None:
        try:
            self._work(slot)
        finally:
            with self._changed:
                self._threads -= 1
                self._changed.notify_all()

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
        for folder in list(self.pending):
            try:
                if not folder.run.config:
                    continue
                cfg = read_config(folder.run.config, folder.run.options)
                if cfg.get('prepare') and cfg.prepare not in seen:
                    seen.append(cfg.prepare)
                    prepare_data(cfg)
            except Exception as error:  # The others go on.
                self.pending.remove(folder)
                self._fail(folder, error)

    def _work(self, slot: int) -> None:
        device = slot % self.devices if self.devices else None
        while (folder := self._take()) is not None:
            try:
                self.worker.do(folder, device)
                self.outcome.done.append(folder.label)
                self.say(f'{folder.label}: done, {self._score(folder)}')
            except Stopped as error:
                self.outcome.left.append(folder.label)
                self.say(f'{folder.label}: stopped, {error}')
            except Exception as error:  # The others go on.
                self._fail(folder, error)
            finally:
                with self._changed:
                    self.running.remove(folder)
                    self._changed.notify_all()

    def _score(self, folder: Folder) -> str:
        """The main score of a result, for the log."""
        key = self.suite.main_metric
        tests = (folder.result() or {}).get('tests', {})
        found = [
            f'{name}: {key} {test["scores"][key]:.3f}'
            for name, test in tests.items()
            if key in (test or {}).get('scores', {})
        ]
        return ', '.join(found) or f'no {key}'

    def _take(self) -> Optional[Folder]:
        """The next run that can be started; None where there is none."""
        with self._changed:
            while not self.launcher.stop.is_set():
                if self.launcher.seconds_left() <= 0:
                    return None
                waits = False
                for folder in list(self.pending):
                    if self._waits(folder):
                        waits = True
                        continue
                    self.pending.remove(folder)
                    try:
                        lacks = self._lacks_source(folder)
                    except Exception as error:  # The others go on.
                        self._fail(folder, error)
                        continue
                    if lacks:
                        other = folder.run.budget.run
                        self._block(
                            folder, f'it needs {other}, which is not done'
                        )
                        continue
                    self.running.append(folder)
                    self.say(f'{folder.label}: starts')
                    return folder
                if not waits or not self.running:
                    return None
                self._changed.wait(WAIT_SECONDS)
        return None

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

    def _lacks_source(self, folder: Folder) -> bool:
        """Whether the run that it depends on has no result."""
        return self._depends(folder) and source_of(folder).result() is None

    def _block(self, folder: Folder, why: str) -> None:
        self.outcome.blocked[folder.label] = why
        self.say(f'{folder.label}: not started, {why}')

    def _fail(self, folder: Folder, error: Exception) -> None:
        kind = '' if isinstance(error, StageError) else type(error).__name__
        message = f'{kind}: {error}' if kind else str(error)
        now = datetime.now().isoformat(timespec='seconds')
        write_json(
            folder.path / 'failed.json', dict(message=message, date=now)
        )
        self.outcome.failed[folder.label] = message
        self.say(f'{folder.label}: FAILED, {message}')
