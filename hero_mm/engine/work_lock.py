"""One training a work dir: a lock of the operating system.

A process that is killed leaves no lock. The file stays, and says which config
the folder was last trained with, and by which process.
"""

import json
import logging
import os
import socket
import time
from errno import EACCES, EAGAIN
from pathlib import Path
from typing import Any, Optional, Union

from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.logging import print_log

from ..files import check_folder

try:
    import fcntl
except ImportError:  # Not on Windows.
    fcntl = None  # type: ignore[assignment]

LOCK_FILE = 'training.lock'
_held: dict[Path, int] = {}


def hold_work_dir(
    folder: Union[str, Path], config: Optional[str] = None
) -> None:
    """Keep other trainings out of a folder until this process ends.

    The first process of a launch holds it; the others stop with it. Who
    holds a folder already may ask again. The name of the ``config`` is kept.

    Raises:
        BlockingIOError: Another process trains there, and is named; or the
            folder cannot be written to.
    """
    said: list[Any] = [None]
    if is_main_process():
        try:
            said[0] = _take(Path(folder).resolve(), config)
        except OSError as error:
            # The others wait for an answer.
            said[0] = str(error)
    broadcast_object_list(said)
    if said[0] is not None:
        raise BlockingIOError(said[0])


def release_work_dir(folder: Union[str, Path]) -> None:
    """Let other trainings into a folder again."""
    handle = _held.pop(Path(folder).resolve(), None)
    if handle is not None:
        os.close(handle)


def read_record(folder: Union[str, Path]) -> dict[str, Any]:
    """What the last training wrote about itself: host, pid, since, config."""
    try:
        text = (Path(folder) / LOCK_FILE).read_text(encoding='utf-8')
        found = json.loads(text)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _take(folder: Path, config: Optional[str]) -> Optional[str]:
    """Lock a folder; says who holds it where that fails."""
    if folder in _held:
        return None
    check_folder(folder)
    handle = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if fcntl is None:
            raise OSError('this system has no flock')
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (EAGAIN, EACCES):
            os.close(handle)
            who = read_record(folder)
            return (
                f'another training runs in {folder}: process '
                f'{who.get("pid", "?")} on {who.get("host", "?")}, since '
                f'{who.get("since", "?")}. Wait for it, end it, or give '
                'another folder with --work-dir'
            )
        print_log(
            f'{folder} cannot be locked ({error}): see to it that no other '
            'training runs there',
            logger='current',
            level=logging.WARNING,
        )
    record = dict(
        host=socket.gethostname(),
        pid=os.getpid(),
        since=time.strftime('%Y-%m-%d %H:%M:%S %z'),
        config=config,
    )
    os.ftruncate(handle, 0)
    os.write(handle, json.dumps(record).encode())
    _held[folder] = handle
    return None


def _leave_to_parent() -> None:
    """A data worker that outlives a killed training holds nothing."""
    for handle in _held.values():
        os.close(handle)
    _held.clear()


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_leave_to_parent)
