"""One training a work dir, by a lock that a kill takes away."""

import errno
import json
import multiprocessing
import os
import signal
import subprocess
import sys

import pytest

from hero_mm.engine import work_lock
from hero_mm.engine.work_lock import (
    hold_work_dir,
    read_record,
    release_work_dir,
)

HOLD = """
import sys, time
from multiprocessing import get_context
from hero_mm.engine.work_lock import hold_work_dir
hold_work_dir(sys.argv[1], 'other.py')
# A data worker, which may outlive it.
get_context('fork').Process(target=time.sleep, args=(60,), daemon=True).start()
print('held', flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process, which trains in ``tmp_path / 'work'``."""
    process = subprocess.Popen(
        [sys.executable, '-c', HOLD, str(tmp_path / 'work')],
        stdout=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    assert process.stdout.readline() == 'held\n'
    yield process
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()


def test_a_second_training_is_refused_until_the_first_is_gone(
    tmp_path, holder
):
    work = tmp_path / 'work'
    with pytest.raises(
        BlockingIOError, match=f'process {holder.pid} on .*, since 20'
    ):
        hold_work_dir(work)
    assert read_record(work)['config'] == 'other.py'
    hold_work_dir(tmp_path / 'another')
    release_work_dir(tmp_path / 'another')
    # Killed, but for its worker.
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    os.killpg(holder.pid, 0)
    hold_work_dir(work, 'mine.py')
    assert read_record(work)['pid'] == os.getpid()
    # Who holds it may ask again, by any name of the folder.
    hold_work_dir(str(work / '..' / 'work'))
    assert read_record(work)['config'] == 'mine.py'
    release_work_dir(work)
    release_work_dir(work)


def try_it(folder, answers):
    try:
        hold_work_dir(folder)
        answers.put(None)
    except BlockingIOError as error:
        answers.put(str(error))


def test_it_is_free_again_when_it_is_released(tmp_path):
    context = multiprocessing.get_context('fork')
    answers = context.Queue()
    hold_work_dir(tmp_path)
    for held in (True, False):
        # Reading the folder does not unlock it.
        (tmp_path / work_lock.LOCK_FILE).read_bytes()
        child = context.Process(target=try_it, args=(tmp_path, answers))
        child.start()
        assert (answers.get(timeout=30) is not None) is held
        child.join()
        release_work_dir(tmp_path)


def test_all_processes_of_a_launch_stop_together(tmp_path, monkeypatch):
    """The first one asks, the others hear what it found."""
    monkeypatch.setattr(work_lock, 'is_main_process', lambda: False)
    hold_work_dir(tmp_path / 'nothing')
    assert not (tmp_path / 'nothing').exists()

    def hear(said):
        said[0] = 'another training runs'

    monkeypatch.setattr(work_lock, 'broadcast_object_list', hear)
    with pytest.raises(BlockingIOError, match='another training runs'):
        hold_work_dir(tmp_path)


def test_where_there_are_no_locks_it_is_said(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(
        work_lock, 'print_log', lambda text, **unused: said.append(text)
    )
    monkeypatch.setattr(work_lock, 'fcntl', None)
    hold_work_dir(tmp_path)
    assert 'cannot be locked (this system has no flock)' in said[0]
    release_work_dir(tmp_path)
    monkeypatch.undo()
    monkeypatch.setattr(
        work_lock, 'print_log', lambda text, **unused: said.append(text)
    )

    def none(handle, kind):
        raise OSError(errno.ENOLCK, 'No locks available')

    monkeypatch.setattr(work_lock.fcntl, 'flock', none)
    hold_work_dir(tmp_path)
    assert 'No locks available' in said[1]
    release_work_dir(tmp_path)


def test_a_record_that_cannot_be_read_is_empty(tmp_path):
    assert read_record(tmp_path) == {}
    for text in ('', '{"pid"', json.dumps([1])):
        (tmp_path / work_lock.LOCK_FILE).write_text(text)
        assert read_record(tmp_path) == {}
