"""Programs in processes of their own."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PATH = os.pathsep.join([str(ROOT), str(ROOT / 'tests')])


def run_program(
    *words, program=sys.executable, code=0, cwd=None, timeout=900, **env
):
    """Run Python, or another program; gives what it wrote.

    Variables of the environment that are None are taken out.
    """
    given = os.environ | dict(PYTHONPATH=PATH, OMP_NUM_THREADS='1') | env
    done = subprocess.run(
        [program, *map(str, words)],
        cwd=cwd,
        env={k: v for k, v in given.items() if v is not None},
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done
