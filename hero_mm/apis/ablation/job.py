"""One run of a suite, from its plan to its result.

Each stage leaves a file, so that an interrupted run goes on with the first
stage that has left none. Trainings, tests and the measuring of costs are
commands in processes of their own.
"""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from mmengine.config import Config

from hero_mm.config import read_config
from hero_mm.engine.hooks.deadline_hook import STOP_AT
from hero_mm.files import write_text

from .folder import Folder, asked_of, read_json, read_options, write_json
from .schedule import (
    annotation_of,
    fit_calibration,
    fit_training,
    iterations_of,
)
from .suite import Run, Trial

if TYPE_CHECKING:
    from .scheduler import Scheduler

# One run is one thread: two of them share two cores.
ONE_THREAD = dict(
    OMP_NUM_THREADS='1', MKL_NUM_THREADS='1', OPENBLAS_NUM_THREADS='1'
)
COUNTED = (
    'device',
    'iterations',
    'clips',
    'cpu_seconds',
    'gpu_seconds',
    'wall_seconds',
)
POLL_SECONDS = 0.1
KILL_SECONDS = 10.0
# Workers of a training that was stopped live a little longer.
LOCK_SECONDS = 12.0
# Before the time limit: a training should have ended by itself.
RESERVE_SECONDS = 20.0


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
        root (Path): Put in the search path of Python.
    """

    train: Sequence[str]
    test: Sequence[str]
    cost: Sequence[str]
    root: Path

    @classmethod
    def of_tools(cls, root: Path) -> 'Commands':
        """Those of this package."""
        return cls(
            [sys.executable, str(root / 'tools/train.py')],
            [sys.executable, str(root / 'tools/test.py')],
            [sys.executable, '-m', 'hero_mm.apis.ablation.cost'],
            root,
        )


@contextmanager
def locked(folder: Folder) -> Iterator[int]:
    """Keep others out; a command that outlives this process does so too."""
    folder.path.mkdir(parents=True, exist_ok=True)
    last = time.monotonic() + LOCK_SECONDS
    with open(folder.path / 'lock', 'a', encoding='utf-8') as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if time.monotonic() > last:
                    raise Stopped(
                        f'{folder.path} is in use by another process'
                    ) from error
                time.sleep(POLL_SECONDS)
        yield file.fileno()


@dataclass
class Job:
    """A run at work, from its plan to its result."""

    scheduler: 'Scheduler'
    folder: Folder
    lock: int
    device: Optional[int]

    def run(self) -> None:
        """Go on until the result is written.

        Raises:
            Stopped: If time is up.
            StageError: If a command fails.
        """
        (self.folder.path / 'failed.json').unlink(missing_ok=True)
        self.plan()
        self.train()
        for trial in self.folder.run.tests:
            self.test(trial)
        self.finish()

    def start(self, what: str, *words: Any) -> None:
        """Run a command to its end; it keeps the lock open."""
        scheduler, path = self.scheduler, self.folder.path / 'log.txt'
        if scheduler.is_late():
            raise Stopped(what)
        line = [str(word) for word in words]
        with open(path, 'ab') as log:
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
                env=self.environment(),
                pass_fds=[self.lock],
            )
        try:
            while process.poll() is None:
                if scheduler.is_late():
                    raise Stopped(what)
                time.sleep(POLL_SECONDS)
        finally:
            _end(process)
        if process.returncode:
            last = _last_words(path, start)
            raise StageError(f'{what} failed ({process.returncode}): {last}')

    def environment(self) -> dict[str, str]:
        """Variables of a command."""
        root = str(self.scheduler.commands.root)
        paths = [root, os.environ.get('PYTHONPATH')]
        path = os.pathsep.join(filter(None, paths))
        given = {**os.environ, **ONE_THREAD, 'PYTHONPATH': path}
        if self.scheduler.deadline is not None:
            given[STOP_AT] = str(self.scheduler.deadline - RESERVE_SECONDS)
        if self.device is not None:
            name = 'CUDA_VISIBLE_DEVICES'
            seen = [one for one in given.get(name, '').split(',') if one]
            given[name] = seen[self.device] if seen else str(self.device)
        return given

    def config(self, trial: Optional[Trial] = None) -> Config:
        """Config of the training, or of a test."""
        plan: dict[str, Any] = self.folder.plan() or self.folder.wanted()
        path = plan.get('trained_config') or self.folder.run.config
        options = read_options(plan.get('trained_options') or {})
        options.update(self.folder.run.options)
        if trial is not None:
            options.update(trial.options)
        return read_config(path, options)

    def plan(self) -> None:
        """Decide how much is trained, and write the config."""
        if self.folder.plan() is not None:
            return
        plan = self.folder.wanted()
        plan['commit'] = commit_of(self.scheduler.commands.root)
        plan['date'] = now()
        budget = self.folder.run.budget
        if budget.kind == 'trained':
            source = source_of(self.folder)
            result = _result_of(source)
            plan['trained_config'] = result['config']
            plan['trained_options'] = result['options']
            # The folder may have been moved.
            near = source.work_dir / Path(result['checkpoint']).name
            found = near if near.is_file() else result['checkpoint']
            plan['checkpoint'] = str(found)
            plan['source'] = str(source.path)
        else:
            cfg = self.config()
            clips = budget.amount
            if budget.kind != 'clips':
                found = self.scheduler.calibration(self.folder, self)
                plan['calibration'] = found
                clips = self.clips_for(plan)
            plan['iterations'] = iterations_of(clips, cfg)
            fit_training(cfg, plan['iterations'])
            write_text(self.folder.path / 'config.py', cfg.pretty_text)
        write_json(self.folder.path / 'plan.json', plan)

    def clips_for(self, plan: dict[str, Any]) -> float:
        """Clips that can be trained in the seconds of the budget."""
        budget = self.folder.run.budget
        seconds, kind = budget.amount, budget.kind
        if kind == 'compute_of':
            result = _result_of(source_of(self.folder))
            on_cpu = result['device'] == 'cpu'
            kind = 'cpu_seconds' if on_cpu else 'gpu_seconds'
            seconds = plan['seconds'] = result[kind]
        found = plan['calibration']
        if kind == 'gpu_seconds' and found['device'] == 'cpu':
            raise StageError(
                'the budget is in GPU-seconds, and there is no GPU here'
            )
        return seconds / found[f'{kind}_a_clip']

    def measure(self) -> dict[str, Any]:
        """Train a little, to see what a clip costs."""
        work_dir = self.folder.path / 'calibration'
        shutil.rmtree(work_dir, ignore_errors=True)
        cfg = self.config()
        fit_calibration(cfg)
        work_dir.mkdir()
        path = work_dir / 'calibration_config.py'
        write_text(path, cfg.pretty_text)
        words = ['--work-dir', work_dir, '--seed', self.folder.seed]
        words.append('--no-validate')
        train = self.scheduler.commands.train
        self.start('the calibration', *train, path, *words)
        cost = read_json(work_dir / 'training_cost.json') or {}
        if not cost.get('clips'):
            raise StageError(f'{work_dir}: the calibration counted no clips')
        shutil.rmtree(work_dir)
        return dict(
            device=cost['device'],
            clips=cost['clips'],
            cpu_seconds_a_clip=cost['cpu_seconds'] / cost['clips'],
            gpu_seconds_a_clip=cost['wall_seconds'] / cost['clips'],
        )

    def train(self) -> None:
        """Train, or go on with it."""
        folder = self.folder
        if folder.is_trained():
            return
        words = ['--work-dir', folder.work_dir, '--seed', folder.seed]
        if (folder.work_dir / 'last_checkpoint').is_file():
            words.append('--resume')
        config = folder.path / 'config.py'
        train = self.scheduler.commands.train
        self.start('the training', *train, config, *words)
        if folder.is_trained():
            return
        plan, done = folder.plan() or {}, folder.cost().get('step', 0)
        ended = f'{done} of {plan["iterations"]} iterations'
        if self.scheduler.deadline is not None and done:
            raise Stopped(ended)
        log = folder.path / 'log.txt'
        raise StageError(f'the training ended after {ended}, see {log}')

    def checkpoint(self) -> str:
        """The last checkpoint, for a schedule ends where it is best."""
        plan = self.folder.plan() or {}
        if plan.get('checkpoint'):
            return plan['checkpoint']
        note = self.folder.work_dir / 'last_checkpoint'
        if not note.is_file():
            raise StageError(f'the training left no {note}')
        name = Path(note.read_text(encoding='utf-8').strip()).name
        return str(self.folder.work_dir / name)

    def test(self, trial: Trial) -> None:
        """Predict and score, then measure what a clip costs."""
        if self.folder.tested(trial) is not None:
            return
        place = self.folder.trial(trial)
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        cfg = self.config(trial)
        config = place / 'config.py'
        write_text(config, cfg.pretty_text)
        checkpoint = self.checkpoint()
        dump, log = place / 'predictions.json', place / 'log'
        words = ['--work-dir', log, '--dump', dump]
        test = self.scheduler.commands.test
        start = time.monotonic()
        self.start(f'test {trial.name!r}', *test, config, checkpoint, *words)
        annotation, protocol = annotation_of(cfg)
        found = dict(
            asked=asked_of(trial),
            annotation=annotation,
            protocol=protocol,
            scores=_logged_scores(log),
            seconds=time.monotonic() - start,
            **self.cost(trial, config, checkpoint),
        )
        write_json(place / 'test.json', found)

    def cost(self, trial: Trial, config: Path, checkpoint: str) -> Any:
        """Parameters, FLOPs and time; what cannot be had is left out."""
        if not trial.cost:
            return {}
        out = self.folder.trial(trial) / 'cost.json'
        words = [*self.scheduler.commands.cost, config, checkpoint]
        try:
            self.start(f'the cost of {trial.name!r}', *words, '--out', out)
            return read_json(out)
        except StageError as error:
            return dict(errors=dict(cost=str(error)))

    def finish(self) -> None:
        """Write the result."""
        folder, result = self.folder, dict(self.folder.plan() or {})
        if folder.run.budget.kind == 'trained':
            other = _result_of(source_of(folder))
            result['config'] = other['config']
            result['options'] = {**other['options'], **result['options']}
            keys = (*COUNTED, 'curve', 'commit')
            result.update({key: other[key] for key in keys})
        else:
            cost = folder.cost()
            on_cpu = cost['device'] == 'cpu'
            cost['gpu_seconds'] = 0.0 if on_cpu else cost['wall_seconds']
            cost['iterations'] = cost['step']
            result.update({key: cost[key] for key in COUNTED})
            result['curve'] = cost['points']
        tests = {t.name: folder.tested(t) for t in folder.run.tests}
        first = next(iter(tests.values())) or {}
        result.update(
            commit_at_end=commit_of(self.scheduler.commands.root),
            date_of_end=now(),
            checkpoint=self.checkpoint(),
            params=first.get('params'),
            flops=first.get('flops'),
            ms=first.get('ms'),
            tests=tests,
        )
        write_json(folder.path / 'result.json', result)


def commit_of(root: Path) -> Optional[str]:
    """The commit of a folder of code, with a + where files differ from it."""
    words = ['--always', '--abbrev=40', '--exclude=*', '--dirty=+']
    try:
        done = subprocess.run(
            ['git', 'describe', *words],
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def source_of(folder: Folder) -> Folder:
    """The folder of the run that has trained, or whose seconds are taken."""
    suite, _, name = folder.run.budget.run.rpartition('/')
    out = folder.out.parent / suite if suite else folder.out
    found = sorted((out / name).glob('seed*/result.json'))
    seeds = [int(path.parent.name.removeprefix('seed')) for path in found]
    seed = folder.seed if folder.seed in seeds or not seeds else seeds[0]
    return Folder(Run(name, folder.run.budget), seed, out)


def _result_of(folder: Folder) -> dict[str, Any]:
    result = folder.result()
    if result is None:
        raise StageError(
            f'run {folder.run.name!r} has no result in {folder.path.parent}; '
            'run it first'
        )
    return result


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
    if not lines:
        return 'it wrote nothing'
    errors = [line for line in lines if line.startswith('error: ')]
    if errors:
        return errors[-1].removeprefix('error: ')
    return f'{lines[-1]} / see the last lines of {log}'


def _logged_scores(log: Path) -> dict[str, float]:
    """The scores that a test has logged, without their prefix."""
    found = sorted(log.glob('*/*.json'))
    scores = (read_json(found[-1]) if found else None) or {}
    return {
        name.removeprefix('tube/'): float(value)
        for name, value in scores.items()
        if isinstance(value, (int, float))
        and name not in ('time', 'data_time')
    }


def now() -> str:
    """Date and time, to the second."""
    return datetime.now().isoformat(timespec='seconds')
