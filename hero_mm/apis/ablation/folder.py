"""The folder of a run at one seed: what is in it, and how far it is.

========================  ==================================================
``plan.json``             what is to be done, with the commit at the start
``config.py``             config of the training
``train/``                work dir of the training
``tests/NAME/``           config, ``predictions.json``, ``cost.json`` and log
``log.txt``               what all commands wrote
``result.json``           the result, when all is done
``failed.json``           why it failed, when it did
``../calibration.json``   measured cost of a clip, for budgets in seconds
========================  ==================================================
"""

import json
from ast import literal_eval
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from hero_mm import json_reader
from hero_mm.engine.hooks.training_cost_hook import COST_FILE
from hero_mm.files import write_text

from .suite import Run, Trial

NEW, BEGUN, TRAINED = 'new', 'begun', 'trained'
DONE, FAILED, CHANGED = 'done', 'failed', 'changed'


def read_json(path: Path) -> Optional[Any]:
    """What is in a file, None where there is none."""
    return json_reader.read_json(path) if path.is_file() else None


def write_json(path: Path, content: Any) -> None:
    """Write a file as a whole."""
    write_text(path, json.dumps(content, indent=1) + '\n')


@dataclass(frozen=True)
class Folder:
    """A run at one seed, and its files in the folder of the suite."""

    run: Run
    seed: int
    out: Path

    @property
    def path(self) -> Path:
        """Path: Of this run and seed."""
        return self.out / self.run.name / f'seed{self.seed}'

    @property
    def label(self) -> str:
        """str: What it is called in messages."""
        return f'{self.run.name}, seed {self.seed}'

    @property
    def calibration(self) -> Path:
        """Path: Of the measured cost of a clip, shared by the seeds."""
        return self.out / self.run.name / 'calibration.json'

    @property
    def work_dir(self) -> Path:
        """Path: Of the training."""
        return self.path / 'train'

    def trial(self, trial: Trial) -> Path:
        """Folder of a test."""
        return self.path / 'tests' / trial.name

    def wanted(self) -> dict[str, Any]:
        """What the suite says of the training, as ``plan.json`` keeps it."""
        budget = self.run.budget
        return dict(
            run=self.run.name,
            config=self.run.config,
            options=write_options(self.run.options),
            seed=self.seed,
            budget={budget.kind: budget.run or budget.amount},
        )

    def plan(self) -> Optional[dict[str, Any]]:
        """What is being done, None where nothing is."""
        return read_json(self.path / 'plan.json')

    def result(self) -> Optional[dict[str, Any]]:
        """The result, None before it is there."""
        return read_json(self.path / 'result.json')

    def failure(self) -> Optional[dict[str, Any]]:
        """Why it failed, None where it did not."""
        return read_json(self.path / 'failed.json')

    def cost(self) -> dict[str, Any]:
        """What the training has cost until now."""
        return read_json(self.work_dir / COST_FILE) or {}

    def is_trained(self) -> bool:
        """Whether the training has come to its end."""
        plan = self.plan()
        if plan is None:
            return False
        if self.run.budget.kind == 'trained':
            return True
        done = self.cost().get('step', 0)
        return 0 < plan.get('iterations', 0) <= done

    def tested(self, trial: Trial) -> Optional[dict[str, Any]]:
        """What a test gave, None where it is to be done."""
        found = read_json(self.trial(trial) / 'test.json') or {}
        return found if answers(found, trial) else None

    def state(self) -> str:
        """How far it is, one of the states above."""
        plan = self.plan()
        if plan is None:
            return FAILED if self.failure() else NEW
        if any(plan.get(k) != v for k, v in self.wanted().items()):
            return CHANGED
        if self.failure() is not None:
            return FAILED
        if not self.is_trained():
            return BEGUN
        tests = (self.result() or {}).get('tests', {})
        done = (answers(tests.get(t.name, {}), t) for t in self.run.tests)
        return DONE if all(done) else TRAINED


def answers(found: Mapping[str, Any], trial: Trial) -> bool:
    """Whether what a test has left is of what the suite asks now."""
    return found.get('asked') == asked_of(trial)


def asked_of(trial: Trial) -> dict[str, Any]:
    """What the suite says of a test, as its files keep it."""
    return dict(options=write_options(trial.options))


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
