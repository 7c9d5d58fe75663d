"""What a suite of ablations is: runs, how each is tested, what is compared.

A suite is a Python file of plain data, see ``docs/ablations.md``.
"""

import re
import runpy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional, Union

from hero_mm.errors import UserError

METRICS = ('m_tIoU', 'm_vIoU', 'gt_m_vIoU')
MAIN_METRIC = 'm_vIoU'
AMOUNTS = ('clips', 'cpu_seconds', 'gpu_seconds')
OTHERS = ('compute_of', 'trained')
_NAME = re.compile(r'[\w.+=-]+')


@dataclass(frozen=True)
class Budget:
    """How long a run is trained.

    Attributes:
        kind (str): One of :data:`AMOUNTS`; ``'compute_of'``: as many seconds
            as another run of the suite; ``'trained'``: not at all, another
            run has done it.
        amount (float): Of :data:`AMOUNTS`.
        run (str): Of :data:`OTHERS`: name of the run, for ``'trained'`` also
            ``SUITE/RUN``.
    """

    kind: str
    amount: float = 0.0
    run: str = ''

    def __str__(self) -> str:
        if self.kind in OTHERS:
            return f'{self.kind} {self.run}'
        return f'{self.amount:g} {self.kind}'


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
    seeds: tuple[int, ...] = (0,)
    tests: tuple[Trial, ...] = (Trial(),)
    compare_to: Optional[str] = None
    facts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """A table of the report; a row is ``RUN`` or ``RUN/TEST``."""

    title: str
    rows: tuple[str, ...]
    reference: Optional[str] = None


@dataclass(frozen=True)
class Plot:
    """A plot of the report: rows by name of the line."""

    title: str
    x: str
    series: Mapping[str, tuple[str, ...]]
    x_label: str = ''


@dataclass(frozen=True)
class Suite:
    """Runs in the order of their importance, and what is made of them."""

    name: str
    runs: tuple[Run, ...]
    comparisons: tuple[Comparison, ...] = ()
    plots: tuple[Plot, ...] = ()
    prepare: tuple[dict[str, Any], ...] = ()

    def run(self, name: str) -> Run:
        """A run by its name."""
        for run in self.runs:
            if run.name == name:
                return run
        raise UserError(
            f'suite {self.name!r} has no run {name!r}; its runs are '
            f'{", ".join(run.name for run in self.runs)}'
        )

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


def load_suite(
    source: Union[str, Path, Mapping[str, Any]],
    folder: Optional[Path] = None,
) -> Suite:
    """Read a suite and check it.

    Args:
        source (str | Path | Mapping): A Python file, the name of one in the
            folder, or what such a file defines.
        folder (Path, optional): Where suites lie that are given by name.
    """
    if isinstance(source, Mapping):
        return _read_suite('suite', source)
    path = Path(source)
    if path.suffix != '.py' and folder is not None:
        path = folder / f'{source}.py'
    if not path.is_file():
        known = sorted(p.stem for p in folder.glob('*.py')) if folder else []
        raise FileNotFoundError(
            f'there is no suite {path}; give a Python file or one of {known}'
        )
    return _read_suite(path.stem, runpy.run_path(str(path)))


def _read_suite(name: str, given: Mapping[str, Any]) -> Suite:
    runs = tuple(_read_run(item) for item in given.get('runs') or ())
    if not runs:
        raise UserError(f'suite {name!r} defines no list `runs`')
    _check_names('run', [run.name for run in runs])
    tables = given.get('comparisons') or [
        dict(title='All runs', rows=[run.name for run in runs])
    ]
    suite = Suite(
        name,
        runs,
        tuple(_make(Comparison, item) for item in tables),
        tuple(_make(Plot, item) for item in given.get('plots') or ()),
        tuple(given.get('prepare') or ()),
    )
    for text in _rows(suite):
        suite.row(text)
    for run in runs:
        _check_budget(suite, run)
    return suite


def _rows(suite: Suite) -> Iterator[str]:
    """Every row that is named anywhere."""
    for table in suite.comparisons:
        yield from table.rows
        yield from [table.reference] if table.reference else []
    for plot in suite.plots:
        for rows in plot.series.values():
            yield from rows
    for run in suite.runs:
        yield from [run.compare_to] if run.compare_to else []


def _make(kind: type, given: Mapping[str, Any]) -> Any:
    """A part of a suite, from what the file says of it."""
    values = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in given.items()
    }
    try:
        return kind(**values)
    except TypeError as error:
        raise UserError(f'{kind.__name__} {dict(given)!r}: {error}') from error


def _read_run(given: Mapping[str, Any]) -> Run:
    given = dict(given)
    given['budget'] = _read_budget(given.get('name'), given.get('budget'))
    tests = given.get('tests') or [dict()]
    given['tests'] = tuple(_make(Trial, test) for test in tests)
    run: Run = _make(Run, given)
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
    for kind, value in given.items() if isinstance(given, Mapping) else ():
        if len(given) > 1:
            break
        if kind in OTHERS and isinstance(value, str) and value:
            return Budget(kind, run=value)
        if kind in AMOUNTS and isinstance(value, (int, float)) and value > 0:
            return Budget(kind, float(value))
    raise UserError(
        f'run {name!r}: budget must be a dict with one key: a positive number '
        f'of {", ".join(AMOUNTS)}, or the name of a run for '
        f'{", ".join(OTHERS)}; got {given!r}'
    )


def _check_budget(suite: Suite, run: Run) -> None:
    """A run that another one depends on must be there."""
    budget = run.budget
    if budget.kind in OTHERS and '/' not in budget.run:
        other = suite.run(budget.run)
        if other.budget.kind in OTHERS:
            raise UserError(
                f'run {run.name!r} depends on {other.name!r}, whose budget is '
                f'{other.budget}: name one that has an amount'
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
