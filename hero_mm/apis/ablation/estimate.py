"""How long runs take: from what was measured, or from a guess."""

import statistics
from dataclasses import dataclass
from typing import Any, Optional

from .folder import DONE, Folder, read_json
from .stages import source_of
from .suite import AMOUNTS, Run, Suite

START_SECONDS = 20.0
TEST_SECONDS = 60.0
VALIDATION_SHARE = 0.1
"""Of the training, where nothing was measured."""


@dataclass
class Estimates:
    """Seconds of one core that runs still take.

    Attributes:
        suite (Suite): Their suite.
        folders (list[Folder]): All runs and seeds of it.
    """

    suite: Suite
    folders: list[Folder]

    def __post_init__(self) -> None:
        self._rates: dict[str, list[float]] = {}
        self._tests: list[float] = []
        for folder in self.folders:
            result = folder.result()
            if result is None:
                continue
            self._tests += [
                test['seconds']
                for test in result['tests'].values()
                if test and 'seconds' in test
            ]
            if folder.run.config and result['clips']:
                rate = result['wall_seconds'] / result['clips']
                rate = max(rate, result['cpu_seconds'] / result['clips'])
                for key in (folder.run.name, f'/{folder.run.config}'):
                    self._rates.setdefault(key, []).append(rate)

    def rate(self, folder: Folder) -> Optional[float]:
        """Seconds of training a clip, None where nothing is known.

        Args:
            folder (Folder): Of a run.
        """
        cost = folder.cost()
        if cost.get('clips'):
            return cost['cpu_seconds'] / cost['clips']
        run = folder.run
        if run.name in self._rates:
            return statistics.median(self._rates[run.name])
        found: Optional[dict[str, Any]] = read_json(folder.calibration)
        if found is not None:
            return found['cpu_seconds_a_clip']
        # Of a run that is like it, but for some options.
        if f'/{run.config}' in self._rates:
            return statistics.median(self._rates[f'/{run.config}'])
        return self.suite.guess.get(run.config)

    def training(self, folder: Folder) -> Optional[float]:
        """Seconds of the whole training, None where nothing is known.

        Args:
            folder (Folder): Of a run.
        """
        budget = folder.run.budget
        if budget.kind == 'trained':
            return 0.0
        if budget.kind == 'clips':
            rate = self.rate(folder)
            return None if rate is None else rate * budget.amount
        if budget.kind in AMOUNTS:
            return budget.amount
        source = source_of(folder)
        result = source.result()
        if result is not None:
            return result['cpu_seconds']
        other: Run = self.suite.run(budget.run)
        return self.training(Folder(other, folder.seed, folder.out))

    def remaining(self, folder: Folder) -> Optional[float]:
        """Seconds that a run still takes, None where nothing is known.

        Args:
            folder (Folder): Of a run.
        """
        if folder.state() == DONE:
            return 0.0
        each = statistics.median(self._tests) if self._tests else TEST_SECONDS
        tests = [t for t in folder.run.tests if folder.tested(t) is None]
        seconds = START_SECONDS + each * len(tests)
        if folder.is_trained():
            return seconds
        whole = self.training(folder)
        if whole is None:
            return None
        plan, cost = folder.plan() or {}, folder.cost()
        share = cost.get('step', 0) / plan.get('iterations', float('inf'))
        return seconds + whole * (1 - share) * (1 + VALIDATION_SHARE)


def duration(seconds: Optional[float]) -> str:
    """A time for people.

    Args:
        seconds (float, optional): None is ``'?'``.

    Examples:
        >>> duration(59), duration(3600), duration(None)
        ('1 min', '1 h 00 min', '?')
    """
    if seconds is None:
        return '?'
    hours, minutes = divmod(round(seconds / 60), 60)
    return f'{hours} h {minutes:02} min' if hours else f'{minutes} min'
