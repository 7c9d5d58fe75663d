"""Decoded clips on the disk, for what is decoded again in every epoch."""

import hashlib
import logging
import os
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Optional, Union

import numpy as np
from mmengine.logging import print_log

from hero_mm.files import WriteError, check_folder, replacing


class ClipCache:
    """A folder of decoded clips that is never larger than it may be.

    Any number of processes use it at a time: a clip appears as a whole, and
    one that another process removes is decoded again. Those that were not
    used for longest go first. Of a full disk a warning is given, and clips
    are decoded.

    Args:
        folder (str | os.PathLike): Where; it is made.
        max_gb (float): Most gigabytes (10 ** 9 bytes). 64 frames of 747 x 420
            pixels are 0.06. Defaults to 20.

    Raises:
        WriteError: The folder cannot be written to.
    """

    def __init__(
        self, folder: Union[str, 'os.PathLike[str]'], max_gb: float = 20.0
    ) -> None:
        self.folder = check_folder(folder)
        self.limit = max_gb * 1e9
        self._has_warned = False

    def path_of(self, video: str, *wanted: Any) -> Optional[Path]:
        """Where a clip of a local video lies; None of others.

        It changes with the size of the file, with the time of its last change
        and with what is ``wanted``: all else that the pixels depend on.
        """
        if not os.path.isfile(video):
            return None
        stat = os.stat(video)
        facts = (os.path.abspath(video), stat.st_size, stat.st_mtime_ns)
        name = hashlib.sha1(repr((*facts, *wanted)).encode()).hexdigest()
        return self.folder / f'{name}.npz'

    def read(self, path: Path) -> Optional[dict[str, Any]]:
        """What is kept under a path; None where there is nothing whole."""
        try:
            with np.load(path) as found:
                arrays = dict(found)
            os.utime(path)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile):
            return None
        return arrays

    def write(self, path: Path, arrays: dict[str, Any]) -> None:
        """Keep arrays under a path, and make room for them."""
        size = sum(array.nbytes for array in arrays.values())
        if size > self.limit:
            return
        self._make_room(size)
        try:
            with replacing(path) as part, open(part, 'wb') as file:
                np.savez(file, **arrays)
        except WriteError as error:
            if not self._has_warned:
                self._has_warned = True
                print_log(
                    f'clips are decoded and not kept: {error}',
                    logger='current',
                    level=logging.WARNING,
                )

    def _make_room(self, size: int) -> None:
        """Remove what was not used for longest, until a clip fits."""
        kept = []
        for entry in os.scandir(self.folder):
            # Another process may remove it.
            with suppress(FileNotFoundError):
                stat = entry.stat()
                if entry.name.endswith('.npz'):
                    kept.append((stat.st_mtime_ns, stat.st_size, entry.path))
        whole = size + sum(one for _, one, _ in kept)
        for _, one, path in sorted(kept):
            if whole <= self.limit:
                break
            with suppress(FileNotFoundError):
                os.unlink(path)
            whole -= one
