"""Ablations: train many variants at equal cost, and compare them in pairs.

``tools/analysis_tools/ablate.py`` is the command line, ``docs/ablations.md``
says how a suite is written.
"""

from .report import write_report
from .scheduler import Scheduler
from .suite import Suite, load_suite

__all__ = ['Scheduler', 'Suite', 'load_suite', 'write_report']
