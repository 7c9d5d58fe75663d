"""A run from its plan to its result, stage by stage.

Each stage leaves a file, so that an interrupted run goes on with the first
stage that has left none.
"""

import asyncio
import fcntl
import shutil
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Optional

from mmengine.config import Config

from hero_mm.config import read_config
from hero_mm.files import write_text

from .commands import Launcher, StageError, Stopped
from .folder import Folder, asked_of, read_json, read_options, write_json
from .schedule import (
    annotation_of,
    fit_calibration,
    fit_training,
    iterations_of,
)
from .suite import Run, Trial

TIMES = ('time', 'data_time')
COUNTED = (
    'device',
    'iterations',
    'clips',
    'cpu_seconds',
    'gpu_seconds',
    'wall_seconds',
)
POLL_SECONDS = 0.1
# Workers of a training that was stopped live a little longer.
LOCK_SECONDS = 12.0


def commit_of(root: Path) -> Optional[str]:
    """The commit that a folder of code is at."""
    found = []
    for words in (['rev-parse', 'HEAD'], ['status', '--porcelain', '-uno']):
        try:
            done = subprocess.run(
                ['git', *words],
                cwd=root,
                capture_output=True,
                text=True,
                check=True,
            )
        except (OSError, subprocess.CalledProcessError):
            return None
        found.append(done.stdout.strip())
    return found[0] + ('+' if found[1] else '')


def source_of(folder: Folder) -> Folder:
    """The folder of the run that has trained, or whose seconds are taken."""
    suite, _, name = folder.run.budget.run.rpartition('/')
    out = folder.out.parent / suite if suite else folder.out
    found = sorted((out / name).glob('seed*/result.json'))
    seeds = [int(path.parent.name.removeprefix('seed')) for path in found]
    seed = folder.seed if folder.seed in seeds or not seeds else seeds[0]
    return Folder(Run(name, folder.run.budget), seed, out)


async def finish_run(
    folder: Folder, launcher: Launcher, device: Optional[int] = None
) -> None:
    """Go on with a run until its result is written.

    Raises:
        Stopped: If time is up, or another process works on it.
        StageError: If a command fails.
    """
    folder.path.mkdir(parents=True, exist_ok=True)
    async with _locked(folder) as lock:
        (folder.path / 'failed.json').unlink(missing_ok=True)
        job = _Job(folder, launcher, lock, device)
        await job.plan()
        await job.train()
        for trial in folder.run.tests:
            await job.test(trial)
        job.finish()


@asynccontextmanager
async def _locked(folder: Folder) -> AsyncIterator[int]:
    """Keep others out; a command that outlives this process does so too."""
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
                await asyncio.sleep(POLL_SECONDS)
        yield file.fileno()


@dataclass
class _Job:
    """A run at work."""

    folder: Folder
    launcher: Launcher
    lock: int
    device: Optional[int]

    async def start(self, what: str, *words: Any) -> None:
        log = self.folder.path / 'log.txt'
        await self.launcher.run(what, words, log, self.lock, self.device)

    def config(self, trial: Optional[Trial] = None) -> Config:
        """Config of the training, or of a test."""
        plan: dict[str, Any] = self.folder.plan() or self.folder.wanted()
        path = plan.get('trained_config') or self.folder.run.config
        options = read_options(plan.get('trained_options') or {})
        options.update(self.folder.run.options)
        if trial is not None:
            options.update(trial.options)
        return read_config(path, options)

    async def plan(self) -> None:
        """Decide how much is trained, and write the config."""
        if self.folder.plan() is not None:
            return
        plan = self.folder.wanted()
        plan['commit'] = commit_of(self.launcher.root)
        plan['date'] = _now()
        budget = self.folder.run.budget
        if budget.kind == 'trained':
            source = source_of(self.folder)
            result = _result_of(source)
            plan['trained_config'] = result['config']
            plan['trained_options'] = result['options']
            plan['checkpoint'] = result['checkpoint']
            near = source.work_dir / Path(result['checkpoint']).name
            if near.is_file():
                # The folder may have been moved.
                plan['checkpoint'] = str(near)
            plan['source'] = str(source.path)
        else:
            cfg = self.config()
            clips = budget.amount
            if budget.kind != 'clips':
                plan['calibration'] = await self.calibration()
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
            seconds = result[kind]
            plan['seconds'] = seconds
        found = plan['calibration']
        if kind == 'gpu_seconds' and found['device'] == 'cpu':
            raise StageError(
                'the budget is in GPU-seconds, and there is no GPU here'
            )
        return seconds / found[f'{kind}_a_clip']

    async def calibration(self) -> dict[str, Any]:
        """The cost of a clip, measured once for all seeds."""
        folder, locks = self.folder, self.launcher.locks
        async with locks.setdefault(folder.run.name, asyncio.Lock()):
            found = read_json(folder.calibration)
            if found is None:
                found = await self.measure()
                write_json(folder.calibration, found)
        return found

    async def measure(self) -> dict[str, Any]:
        """Train a little."""
        work_dir = self.folder.path / 'calibration'
        shutil.rmtree(work_dir, ignore_errors=True)
        cfg = self.config()
        fit_calibration(cfg)
        work_dir.mkdir()
        path = work_dir / 'calibration_config.py'
        write_text(path, cfg.pretty_text)
        words = ['--work-dir', work_dir, '--seed', self.folder.seed]
        words.append('--no-validate')
        train = self.launcher.commands.train
        await self.start('the calibration', *train, path, *words)
        cost = read_json(work_dir / 'training_cost.json') or {}
        if not cost.get('clips'):
            raise StageError(
                f'the calibration counted no clips, see {work_dir}'
            )
        found = dict(
            device=cost['device'],
            clips=cost['clips'],
            cpu_seconds_a_clip=cost['cpu_seconds'] / cost['clips'],
            gpu_seconds_a_clip=cost['wall_seconds'] / cost['clips'],
        )
        shutil.rmtree(work_dir)
        return found

    async def train(self) -> None:
        """Train, or go on with it."""
        folder = self.folder
        if folder.is_trained():
            return
        words = ['--work-dir', folder.work_dir, '--seed', folder.seed]
        if (folder.work_dir / 'last_checkpoint').is_file():
            words.append('--resume')
        config = folder.path / 'config.py'
        train = self.launcher.commands.train
        await self.start('the training', *train, config, *words)
        if folder.is_trained():
            return
        plan, done = folder.plan() or {}, folder.cost().get('step', 0)
        if self.launcher.deadline is not None and done:
            raise Stopped(f'{done} of {plan["iterations"]} iterations')
        raise StageError(
            f'the training ended after {done} of {plan["iterations"]} '
            f'iterations, see {folder.path / "log.txt"}'
        )

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

    async def test(self, trial: Trial) -> None:
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
        test = self.launcher.commands.test
        what = f'test {trial.name!r}'
        start = time.monotonic()
        await self.start(what, *test, config, checkpoint, *words)
        if not dump.is_file():
            raise StageError(f'{what} left no {dump}')
        annotation, protocol = annotation_of(cfg)
        found = dict(
            asked=asked_of(trial),
            annotation=annotation,
            protocol=protocol,
            scores=_logged_scores(log),
            seconds=time.monotonic() - start,
            **await self.cost(trial, config, checkpoint),
        )
        write_json(place / 'test.json', found)

    async def cost(self, trial: Trial, config: Path, checkpoint: str) -> Any:
        """Parameters, FLOPs and time; what cannot be had is None."""
        if not trial.cost:
            return {}
        out = self.folder.trial(trial) / 'cost.json'
        words = [config, checkpoint, '--out', out]
        try:
            what = f'the cost of test {trial.name!r}'
            await self.start(what, *self.launcher.commands.cost, *words)
            return read_json(out) or dict(errors=dict(cost=f'no {out}'))
        except StageError as error:
            return dict(errors=dict(cost=str(error)))

    def finish(self) -> None:
        """Write the result."""
        folder, plan = self.folder, self.folder.plan() or {}
        spent: dict[str, Any]
        if folder.run.budget.kind == 'trained':
            other = _result_of(source_of(folder))
            keys = [*COUNTED, 'curve', 'commit']
            spent = {key: other[key] for key in keys}
            options = {**other['options'], **plan['options']}
            result = dict(plan, config=other['config'], options=options)
        else:
            cost = folder.cost()
            on_cpu = cost['device'] == 'cpu'
            spent = dict(
                device=cost['device'],
                iterations=cost['step'],
                clips=cost['clips'],
                cpu_seconds=cost['cpu_seconds'],
                gpu_seconds=0.0 if on_cpu else cost['wall_seconds'],
                wall_seconds=cost['wall_seconds'],
                curve=cost['points'],
            )
            result = dict(plan)
        tests = {t.name: folder.tested(t) for t in folder.run.tests}
        first = next(iter(tests.values())) or {}
        result.update(
            spent,
            commit_at_end=commit_of(self.launcher.root),
            date_of_end=_now(),
            checkpoint=self.checkpoint(),
            params=first.get('params'),
            flops=first.get('flops'),
            ms=first.get('ms'),
            tests=tests,
        )
        write_json(folder.path / 'result.json', result)


def _now() -> str:
    return datetime.now().isoformat(timespec='seconds')


def _result_of(folder: Folder) -> dict[str, Any]:
    result = folder.result()
    if result is None:
        raise StageError(
            f'run {folder.run.name!r} has no result in {folder.path.parent}; '
            f'run it first'
        )
    return result


def _logged_scores(log: Path) -> dict[str, float]:
    """The scores that a test has logged, without their prefix."""
    found = sorted(log.glob('*/*.json'))
    scores = (read_json(found[-1]) if found else None) or {}
    return {
        name.removeprefix('tube/'): float(value)
        for name, value in scores.items()
        if isinstance(value, (int, float)) and name not in TIMES
    }
