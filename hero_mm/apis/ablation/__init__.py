"""Ablations: train many variants at equal cost, and compare them in pairs.

``tools/analysis_tools/ablate.py`` is the command line, ``docs/ablations.md``
says how a suite is written.
"""

from .job import Commands
from .report import write_report
from .scheduler import Scheduler, folders_of
from .suite import Suite, load_suite

__all__ = [
    'Commands',
    'Scheduler',
    'Suite',
    'folders_of',
    'load_suite',
    'write_report',
]
