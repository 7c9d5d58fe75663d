"""A run at one seed: its folder, how far it is, and its stages.

========================  ==================================================
``plan.json``             what is to be done, with the commit at the start
``config.py``             config of the training
``train/``                work dir of the training
``tests/NAME/``           config, ``predictions.json``, ``cost.json`` and log
``log.txt``               what all commands wrote
``result.json``           what was trained, and each test when it is done
``failed.json``           why it failed, when it did
``../calibration.json``   measured cost of a clip, for budgets in seconds
========================  ==================================================

An interrupted run goes on with the first stage that has left no file.
Trainings, tests and the measuring of costs are commands in processes of their
own; a stage yields while its command runs.
"""

import json
import shutil
import subprocess
from ast import literal_eval
from collections.abc import Callable, Generator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Optional

from mmengine.config import Config

from hero_mm import json_reader
from hero_mm.config import read_config
from hero_mm.engine.hooks.training_cost_hook import COST_FILE
from hero_mm.files import PathLike, write_text

from .schedule import (
    annotation_of,
    fit_calibration,
    fit_training,
    iterations_of,
)
from .suite import OTHERS, Run, Trial

# How far a run is.
NEW, BEGUN, TRAINED = 'new', 'begun', 'trained'
DONE, FAILED, CHANGED = 'done', 'failed', 'changed'
COUNTED = ('device', 'clips', 'cpu_seconds', 'wall_seconds')
Steps = Generator[None, None, None]
Start = Callable[..., Steps]
"""Runs a command: a name for messages, a kind, and what it works on."""


class StageError(RuntimeError):
    """A run cannot go on."""


class Stopped(Exception):
    """A run was stopped and goes on another time."""


def read_json(path: Path) -> Any:
    """What is in a file, None where there is none."""
    return json_reader.read_json(path) if path.is_file() else None


def write_json(path: PathLike, content: Any) -> None:
    """Write a file as a whole."""
    write_text(path, json.dumps(content, indent=1) + '\n')


def write_options(options: Mapping[str, Any]) -> dict[str, str]:
    """Options as Python writes them, for JSON has no tuples.

    Examples:
        >>> write_options({'model.neck.scales': (1,)})
        {'model.neck.scales': '(1,)'}
    """
    return {key: repr(value) for key, value in options.items()}


def read_options(options: Mapping[str, str]) -> dict[str, Any]:
    """The inverse of :func:`write_options`."""
    return {key: literal_eval(value) for key, value in options.items()}


class Job:
    """A run at one seed, in the folder of its suite."""

    def __init__(self, run: Run, seed: int, out: Path) -> None:
        self.run, self.seed, self.out = run, seed, out
        self.label = f'{run.name}, seed {seed}'
        self.path = out / run.name / f'seed{seed}'
        self.work_dir, self.log = self.path / 'train', self.path / 'log.txt'
        self.calibration = self.path.parent / 'calibration.json'

    def read(self, name: str) -> Any:
        """What is in ``NAME.json``, None where it is missing."""
        return read_json(self.path / f'{name}.json')

    def tested(self, trial: Trial) -> Any:
        """What a test gave, None where it, as the suite has it, is to come."""
        found = (self.read('result') or {}).get('tests', {}).get(trial.name)
        return found if found and found.get('asked') == _asked(trial) else None

    def state(self) -> str:
        """How far it is, one of the states above."""
        plan = self.read('plan')
        if plan and any(plan.get(k) != v for k, v in self._wanted().items()):
            return CHANGED
        if self.read('failed'):
            return FAILED
        if not plan:
            return NEW
        if not self.read('result'):
            return BEGUN
        return DONE if all(map(self.tested, self.run.tests)) else TRAINED

    def _wanted(self) -> dict[str, Any]:
        """What the suite says of the training."""
        return dict(
            run=self.run.name,
            config=self.run.config,
            options=write_options(self.run.options),
            seed=self.seed,
            budget=dict([self.run.budget]),
        )

    def depends(self) -> bool:
        """Whether another run has to be trained before it."""
        return self.run.budget.kind in OTHERS and not self.read('plan')

    def source(self) -> Optional[Path]:
        """Result of the run that has trained, or whose seconds are taken."""
        suite, _, name = self.run.budget.value.rpartition('/')
        out = self.out.parent / suite if suite else self.out
        found = sorted((out / name).glob('seed*/result.json'))
        own = out / name / f'seed{self.seed}/result.json'
        return own if own in found else next(iter(found), None)

    def work(self, start: Start, limited: bool) -> Steps:
        """Go on until all tests are done, or time is up where it is limited.

        Raises:
            Stopped: If time is up.
            StageError: If a command fails.
        """
        (self.path / 'failed.json').unlink(missing_ok=True)
        if not self.read('plan'):
            yield from self._plan(start)
        if not self.read('result'):
            yield from self._train(start, limited)
        for trial in self.run.tests:
            if not self.tested(trial):
                yield from self._test(trial, start)

    def _plan(self, start: Start) -> Steps:
        """Decide how much is trained, and write the config."""
        plan = dict(self._wanted(), commit=_commit(), date=_now())
        budget = self.run.budget
        source = self.source() if self.depends() else None
        result = read_json(source) if source else {}
        if source and budget.kind == 'trained':
            plan['trained_config'] = result['config']
            plan['trained_options'] = result['options']
            plan['checkpoint'] = _checkpoint(source.parent, result)
            plan['source'] = str(source.parent)
        else:
            cfg = self._config(plan)
            clips = budget.value
            if budget.kind != 'clips':
                if not self.calibration.is_file():
                    yield from self._calibrate(start)
                found = plan['calibration'] = read_json(self.calibration)
                kind, seconds = budget
                if kind == 'compute_of':
                    on_cpu = result['device'] == 'cpu'
                    kind = 'cpu_seconds' if on_cpu else 'gpu_seconds'
                    seconds = plan['seconds'] = result[kind]
                if kind == 'gpu_seconds' and found['device'] == 'cpu':
                    raise StageError(
                        'the budget is in GPU-seconds, and there is no GPU '
                        'here'
                    )
                clips = seconds / found[f'{kind}_a_clip']
            plan['iterations'] = iterations_of(clips, cfg)
            fit_training(cfg, plan['iterations'])
            write_text(self.path / 'config.py', cfg.pretty_text)
        write_json(self.path / 'plan.json', plan)

    def _config(self, plan: Mapping[str, Any], more: Any = ()) -> Config:
        """Config of the training, or of a test with more options."""
        path = plan.get('trained_config') or self.run.config
        options = read_options(plan.get('trained_options') or {})
        return read_config(path, {**options, **self.run.options, **dict(more)})

    def _calibrate(self, start: Start) -> Steps:
        """Train a little, to see what a clip costs; it serves all seeds."""
        work_dir = self.path / 'calibration'
        shutil.rmtree(work_dir, ignore_errors=True)
        cfg = self._config({})
        fit_calibration(cfg)
        path = work_dir / 'calibration_config.py'
        write_text(path, cfg.pretty_text)
        words = ['--work-dir', work_dir, '--seed', self.seed]
        words.append('--no-validate')
        yield from start('the calibration', 'train', path, *words)
        cost = read_json(work_dir / COST_FILE)
        if not cost or not cost['clips']:
            raise StageError(f'{work_dir}: the calibration counted no clips')
        shutil.rmtree(work_dir)
        found = dict(
            device=cost['device'],
            clips=cost['clips'],
            cpu_seconds_a_clip=cost['cpu_seconds'] / cost['clips'],
            gpu_seconds_a_clip=cost['wall_seconds'] / cost['clips'],
        )
        write_json(self.calibration, found)

    def _train(self, start: Start, limited: bool) -> Steps:
        """Train, or go on with it; then write the result, without tests."""
        plan, note = self.read('plan'), self.work_dir / 'last_checkpoint'
        result = dict(plan, tests={})
        if self.run.budget.kind == 'trained':
            other = read_json(Path(plan['source']) / 'result.json')
            result['config'] = other['config']
            result['options'] = {**other['options'], **plan['options']}
            keys = (*COUNTED, 'iterations', 'gpu_seconds', 'curve', 'commit')
            result.update({key: other[key] for key in keys})
        else:
            cost_file = self.work_dir / COST_FILE
            if (read_json(cost_file) or {}).get('step') != plan['iterations']:
                words = ['--work-dir', self.work_dir, '--seed', self.seed]
                words += ['--resume'] if note.is_file() else []
                config = self.path / 'config.py'
                yield from start('the training', 'train', config, *words)
            cost = read_json(cost_file) or dict(step=0)
            ended = f'{cost["step"]} of {plan["iterations"]} iterations'
            whole = cost['step'] >= plan['iterations']
            if limited and cost['step'] and not whole:
                # It ends by itself where time would be up.
                raise Stopped(ended)
            if not whole or not note.is_file():
                raise StageError(
                    f'the training ended after {ended}, see {self.log}'
                )
            on_cpu = cost['device'] == 'cpu'
            # The last checkpoint, for a schedule ends where it is best.
            name = Path(note.read_text(encoding='utf-8').strip()).name
            result.update(
                {key: cost[key] for key in COUNTED},
                iterations=cost['step'],
                gpu_seconds=0.0 if on_cpu else cost['wall_seconds'],
                curve=cost['points'],
                checkpoint=str(self.work_dir / name),
            )
        write_json(self.path / 'result.json', result)

    def _test(self, trial: Trial, start: Start) -> Steps:
        """Predict and score, then measure what a clip costs."""
        place = self.path / 'tests' / trial.name
        shutil.rmtree(place, ignore_errors=True)
        config, log = place / 'config.py', place / 'log'
        cfg = self._config(self.read('plan'), trial.options)
        write_text(config, cfg.pretty_text)
        model = config, _checkpoint(self.path, self.read('result'))
        words = ['--work-dir', log, '--dump', place / 'predictions.json']
        yield from start(f'test {trial.name!r}', 'test', *model, *words)
        annotation, protocol = annotation_of(cfg)
        found = dict(
            asked=_asked(trial),
            annotation=annotation,
            protocol=protocol,
            scores=_logged_scores(log),
        )
        if trial.cost:
            file = place / 'cost.json'
            what = f'the cost of {trial.name!r}'
            try:
                yield from start(what, 'cost', *model, file)
                found.update(read_json(file))
            except StageError as error:  # The table says it.
                found['errors'] = dict(cost=str(error))
        result = self.read('result')
        result.update(commit_at_end=_commit(), date_of_end=_now())
        result['tests'][trial.name] = found
        write_json(self.path / 'result.json', result)


def _asked(trial: Trial) -> dict[str, Any]:
    """What the suite says of a test, as the result keeps it."""
    return dict(options=write_options(trial.options))


def _checkpoint(folder: Path, result: Mapping[str, Any]) -> str:
    """Path of the checkpoint of a run, whose folder may have been moved."""
    near = folder / 'train' / Path(result['checkpoint']).name
    return str(near) if near.is_file() else result['checkpoint']


def _commit() -> Optional[str]:
    """The commit of this code, with a + where files differ from it."""
    words = ['--always', '--abbrev=40', '--exclude=*', '--dirty=+']
    try:
        done = subprocess.run(
            ['git', 'describe', *words],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _logged_scores(log: Path) -> dict[str, float]:
    """The scores that a test has logged, without their prefix."""
    found = sorted(log.glob('*/*.json'))
    scores = read_json(found[-1]) if found else {}
    return {
        name.removeprefix('tube/'): float(value)
        for name, value in scores.items()
        if isinstance(value, (int, float))
        and name not in ('time', 'data_time')
    }


def _now() -> str:
    return datetime.now().isoformat(timespec='seconds')
