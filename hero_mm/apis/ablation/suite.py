"""What a suite of ablations is: a Python file of plain data.

``docs/ablations.md`` says what its keys mean.
"""

import re
import runpy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Optional

from hero_mm.errors import UserError

METRICS = ('m_tIoU', 'm_vIoU', 'gt_m_vIoU')
MAIN_METRIC = 'm_vIoU'
AMOUNTS = ('clips', 'cpu_seconds', 'gpu_seconds')
OTHERS = ('compute_of', 'trained')
_NAME = re.compile(r'[\w.+=-]+')


class Budget(NamedTuple):
    """How long a run is trained: an amount, or the name of another run."""

    kind: str
    value: Any

    def __str__(self) -> str:
        if self.kind in OTHERS:
            return f'{self.kind} {self.value}'
        return f'{self.value:g} {self.kind}'


@dataclass(frozen=True)
class Trial:
    """How a trained model is tested; the keys of a test in a suite."""

    name: str = 'test'
    options: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, float] = field(default_factory=dict)
    cost: bool = True


@dataclass(frozen=True)
class Run:
    """A training, at one or more seeds; the keys of a run in a suite."""

    name: str
    budget: Budget
    config: str = ''
    options: Mapping[str, Any] = field(default_factory=dict)
    seeds: Sequence[int] = (0,)
    tests: Sequence[Trial] = (Trial(),)
    compare_to: Optional[str] = None
    facts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """A table of the report; a row is ``RUN`` or ``RUN/TEST``."""

    title: str
    rows: Sequence[str]
    reference: Optional[str] = None


@dataclass(frozen=True)
class Plot:
    """A plot of the report: rows by name of the line."""

    title: str
    x: str
    series: Mapping[str, Sequence[str]]
    x_label: str = ''


@dataclass(frozen=True)
class Suite:
    """Runs in the order of their importance, and what is made of them."""

    name: str
    runs: Sequence[Run]
    comparisons: Sequence[Comparison] = ()
    plots: Sequence[Plot] = ()
    prepare: Sequence[dict[str, Any]] = ()

    def run(self, name: str) -> Run:
        """A run by its name."""
        runs = {run.name: run for run in self.runs}
        if name not in runs:
            raise UserError(
                f'suite {self.name!r} has no run {name!r}; its runs are '
                f'{", ".join(runs)}'
            )
        return runs[name]

    def row(self, text: str) -> tuple[Run, Trial]:
        """What a row of a table means."""
        name, _, test = text.partition('/')
        run = self.run(name)
        for trial in run.tests:
            if not test or trial.name == test:
                return run, trial
        raise UserError(
            f'run {name!r} of suite {self.name!r} has no test {test!r}; its '
            f'tests are {", ".join(trial.name for trial in run.tests)}'
        )


def load_suite(path: Any) -> Suite:
    """Read a suite from a Python file and check it."""
    return read_suite(Path(path).stem, runpy.run_path(str(path)))


def read_suite(name: str, given: Mapping[str, Any]) -> Suite:
    """A suite from what its file defines."""
    runs = [_read_run(item) for item in given.get('runs') or ()]
    if not runs:
        raise UserError(f'suite {name!r} defines no list `runs`')
    names = [run.name for run in runs]
    _check_names('run', names)
    tables = given.get('comparisons') or [dict(title='All runs', rows=names)]
    suite = Suite(
        name,
        runs,
        [_make(Comparison, item) for item in tables],
        [_make(Plot, item) for item in given.get('plots') or ()],
        given.get('prepare') or (),
    )
    # All that is named anywhere must be there.
    rows = [run.compare_to for run in runs]
    for table in suite.comparisons:
        rows += [*table.rows, table.reference]
    for plot in suite.plots:
        for line in plot.series.values():
            rows += line
    for text in filter(None, rows):
        suite.row(text)
    for run in runs:
        kind, name = run.budget
        if kind not in OTHERS or '/' in name:
            continue
        other = suite.run(name)
        if other.budget.kind in OTHERS:
            raise UserError(
                f'run {run.name!r} depends on {other.name!r}, whose budget is '
                f'{other.budget}: name one that has an amount'
            )
    return suite


def _make(kind: type, given: Mapping[str, Any]) -> Any:
    """A part of a suite, from what the file says of it."""
    try:
        return kind(**given)
    except TypeError as error:
        raise UserError(f'{kind.__name__} {dict(given)!r}: {error}') from error


def _read_run(given: Mapping[str, Any]) -> Run:
    budget = _read_budget(given.get('name'), given.get('budget'))
    tests = [_make(Trial, test) for test in given.get('tests') or [{}]]
    run: Run = _make(Run, {**given, 'budget': budget, 'tests': tests})
    _check_names(f'test of run {run.name!r}', [t.name for t in run.tests])
    if not run.seeds or len(set(run.seeds)) < len(run.seeds):
        raise UserError(
            f'run {run.name!r} needs one or more different seeds, got '
            f'{run.seeds!r}'
        )
    if bool(run.config) == (run.budget.kind == 'trained'):
        raise UserError(
            f'run {run.name!r} needs a config, or a budget dict(trained=...), '
            'and not both: then the config is that of the run that trained'
        )
    return run


def _read_budget(name: Any, given: Any) -> Budget:
    if isinstance(given, Mapping) and len(given) == 1:
        ((kind, value),) = given.items()
        if kind in OTHERS and isinstance(value, str) and value:
            return Budget(kind, value)
        if kind in AMOUNTS and isinstance(value, (int, float)) and value > 0:
            return Budget(kind, float(value))
    raise UserError(
        f'run {name!r}: budget must be a dict with one key: a positive number '
        f'of {", ".join(AMOUNTS)}, or the name of a run for '
        f'{", ".join(OTHERS)}; got {given!r}'
    )


def _check_names(what: str, names: Sequence[Any]) -> None:
    for name in names:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise UserError(
                f'{what}: the name {name!r} must be letters, digits and '
                '_ . + - = (it names a folder)'
            )
        if names.count(name) > 1:
            raise UserError(f'{what}: the name {name!r} comes twice')
