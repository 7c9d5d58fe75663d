"""Worker processes that end when their parent is killed."""

import os
import subprocess
import sys
import time

import pytest

SCRIPT = """
import multiprocessing, os, time
from concurrent.futures import ProcessPoolExecutor
from hero_mm.processes import end_with_parent

if __name__ == '__main__':
    pool = ProcessPoolExecutor(
        2,
        mp_context=multiprocessing.get_context({start!r}),
        initializer=end_with_parent,
    )
    tasks = [pool.submit(time.sleep, 0.2) for _ in range(4)]
    for task in tasks:
        task.result()
    print(*pool._processes, flush=True)
    time.sleep(60)
"""


def _lives(pid):
    try:
        with open(f'/proc/{pid}/stat', encoding='ascii') as file:
            return file.read().rpartition(')')[2].split()[0] != 'Z'
    except FileNotFoundError:
        return False


@pytest.mark.parametrize('start', ['fork', 'spawn'])
def test_idle_workers_end_with_a_killed_parent(tmp_path, start):
    script = tmp_path / 'pool.py'
    script.write_text(SCRIPT.format(start=start))
    parent = subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, text=True
    )
    workers = parent.stdout.readline().split()
    assert len(workers) == 2 and all(map(_lives, workers))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    until = time.monotonic() + 20
    while any(map(_lives, workers)) and time.monotonic() < until:
        time.sleep(0.1)
    left = [pid for pid in workers if _lives(pid)]
    for pid in left:
        os.kill(int(pid), 9)
    assert not left
