"""One training a work dir, by a lock that a kill takes away."""

import errno
import multiprocessing
import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from hero_mm.engine import work_lock
from hero_mm.engine.hooks.checkpoint_hook import _check_weights
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


def one_of_two(rank, folder, answers):
    """A process of a launch; the weights of the second are not finite."""
    store = torch.distributed.FileStore(str(folder / 'store'), 2)
    torch.distributed.init_process_group(
        'gloo', store=store, rank=rank, world_size=2
    )
    try_it(folder / 'work', answers)
    try_it(folder / 'other', answers)
    answers.put(folder / 'other' in work_lock._held)
    model = torch.nn.Linear(1, 1)
    model.bias.data.fill_(float('inf') if rank else 0.0)
    try:
        _check_weights(SimpleNamespace(model=model, hooks=[]))
    except FloatingPointError as error:
        answers.put(str(error))
    torch.distributed.barrier()


@pytest.mark.slow
def test_all_processes_of_a_launch_stop_together(tmp_path, holder):
    """The first one asks, the others hear what it found."""
    context = multiprocessing.get_context('fork')
    answers = [context.Queue(), context.Queue()]
    children = [
        context.Process(target=one_of_two, args=(rank, tmp_path, answer))
        for rank, answer in enumerate(answers)
    ]
    for child in children:
        child.start()
    first, second = ([q.get(timeout=60) for _ in range(4)] for q in answers)
    for child in children:
        child.join()
    assert first[0] == second[0]
    assert f'process {holder.pid} on' in first[0]
    # A free one is held by the first.
    assert first[1:3] == [None, True] and second[1:3] == [None, False]
    assert '1 weights are not finite (in another process)' in first[3]
    assert '1 weights are not finite (bias)' in second[3]


def test_where_there_are_no_locks_it_is_said(tmp_path, monkeypatch):
    def none(handle, kind):
        raise OSError(errno.ENOLCK, 'No locks available')

    said = []
    monkeypatch.setattr(
        work_lock, 'print_log', lambda text, **unused: said.append(text)
    )
    monkeypatch.setattr(work_lock.fcntl, 'flock', none)
    for _ in range(2):
        hold_work_dir(tmp_path)
        release_work_dir(tmp_path)
        monkeypatch.setattr(work_lock, 'fcntl', None)
    assert 'cannot be locked ([Errno 37] No locks available)' in said[0]
    assert 'this system has no flock' in said[1]


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(BlockingIOError, match='file.* cannot be written'):
        hold_work_dir(tmp_path / 'file' / 'work')


@pytest.mark.parametrize('text', ['', '{"pid"', '[1]'])
def test_a_record_that_cannot_be_read_is_empty(tmp_path, text):
    assert read_record(tmp_path) == {}
    (tmp_path / work_lock.LOCK_FILE).write_text(text)
    assert read_record(tmp_path) == {}
