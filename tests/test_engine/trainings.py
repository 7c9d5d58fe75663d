"""Several trainings by ``tools/train.py`` in one process of a launcher.

Its argument is a list of command lines, in JSON.
"""

import json
import runpy
import sys
from pathlib import Path

from hero_mm.engine import launch

ROOT = Path(__file__).resolve().parents[2]

# The next training needs the group of processes again.
launch.leave_processes = lambda: None
for words in json.loads(sys.argv[1]):
    sys.argv = ['train.py', *words, '--launcher', 'pytorch']
    runpy.run_path(str(ROOT / 'tools/train.py'))['main']()
