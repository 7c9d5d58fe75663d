"""Ablations: train many variants at equal cost, and compare them in pairs.

``tools/analysis_tools/ablate.py`` is the command line, ``docs/ablations.md``
says how a suite is written.
"""

from .commands import Commands, Launcher, StageError, Stopped
from .folder import Folder
from .report import write_report
from .results import Results, Row
from .scheduler import Outcome, Scheduler, folders_of
from .suite import Budget, Comparison, Plot, Run, Suite, Trial, load_suite

__all__ = [
    'Budget',
    'Commands',
    'Comparison',
    'Folder',
    'Launcher',
    'Outcome',
    'Plot',
    'Results',
    'Row',
    'Run',
    'Scheduler',
    'StageError',
    'Stopped',
    'Suite',
    'Trial',
    'folders_of',
    'load_suite',
    'write_report',
]
