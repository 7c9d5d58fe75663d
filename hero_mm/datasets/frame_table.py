"""What a full decode of a video shows: the proof of which frame is which.

A container counts packets, not frames: some are never shown, some need what a
seek leaves out. So a video is decoded once, in order, and the time stamp and a
check sum of each frame that is shown are kept. A frame that is read later,
after a seek, is the right one where both agree.

Shape legend: N frames.
"""

import hashlib
import io
import os
import zipfile
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import numpy as np

from hero_mm.files import write_bytes

# In place of a time stamp that a frame does not have.
NO_STAMP = np.iinfo(np.int64).min
# Of the form of the files below.
_VERSION = 1
_KEPT = 1024
# What a file that is missing or no such table raises; it is written anew.
_UNREADABLE = (
    OSError,
    ValueError,
    KeyError,
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
)
_ARRAYS = ('stamps', 'sums', 'keys', 'sound')
_tables: dict[str, 'FrameTable'] = {}


@dataclass
class FrameTable:
    """The frames of a video, in the order in which they are shown.

    Attributes:
        stamps (np.ndarray): Time stamps in units of the stream, int64,
            :data:`NO_STAMP` where there is none, has shape (N,).
        sums (np.ndarray): Check sums of the decoded pixels, uint32, (N,).
        keys (np.ndarray): True on key frames, has shape (N,).
        sound (np.ndarray): False on frames that are damaged or predicted from
            one that is, has shape (N,).
        broken (str): Why decoding stopped before the end of the file; empty
            where it did not.
    """

    stamps: np.ndarray
    sums: np.ndarray
    keys: np.ndarray
    sound: np.ndarray
    broken: str = ''

    @classmethod
    def of_rows(
        cls, rows: list[tuple[Optional[int], int, bool, bool]], broken: str
    ) -> 'FrameTable':
        """From time stamp, check sum, key and soundness of each frame."""
        stamps, sums, keys, sound = zip(*rows) if rows else ((), (), (), ())
        return cls(
            np.array([NO_STAMP if s is None else s for s in stamps], np.int64),
            np.array(sums, dtype=np.uint32),
            np.array(keys, dtype=bool),
            np.array(sound, dtype=bool),
            broken,
        )

    def in_order(self) -> bool:
        """Whether each frame has a later time stamp than the one before."""
        return bool((np.diff(self.stamps) > 0).all())

    def rank_by_stamp(self) -> Optional[dict[int, int]]:
        """Rank by time stamp; None where a frame has none of its own.

        Made anew for each read: many tables are kept, which must stay small.
        """
        ranks = {
            stamp: rank for rank, stamp in enumerate(self.stamps.tolist())
        }
        if NO_STAMP in ranks or len(ranks) < len(self):
            return None
        return ranks

    def __len__(self) -> int:
        return len(self.stamps)


def check_sum(frame: Any) -> int:
    """CRC-32 of the pixels of a frame of PyAV, without what pads its rows."""
    total = 0
    for number, plane in enumerate(frame.planes):
        rows = np.frombuffer(plane, np.uint8)
        # A palette has one row, whose length is not given.
        length = plane.line_size or len(rows)
        rows = rows[: plane.height * length].reshape(plane.height, length)
        used = plane.width * _bytes_a_pixel(frame.format, number)
        total = zlib.crc32(np.ascontiguousarray(rows[:, :used]).data, total)
    return total


def _bytes_a_pixel(kind: Any, plane: int) -> int:
    """Bytes of a pixel in a plane; the second one of packed is a palette."""
    if kind.is_planar:
        here = [part for part in kind.components if part.plane == plane]
        return sum(-(-part.bits // 8) for part in here)
    return 4 if plane else -(-kind.padded_bits_per_pixel // 8)


def find_table(path: str) -> Optional[FrameTable]:
    """The table of a file as it is now, where one was kept."""
    name = _name(path)
    if name is None:
        return None
    if name not in _tables:
        try:
            with np.load(_folder() / f'{name}.npz') as kept:
                _remember(name, FrameTable(*(kept[key] for key in _ARRAYS)))
        except _UNREADABLE:
            return None
    return _tables[name]


def keep_table(path: str, table: FrameTable) -> None:
    """Keep a table in this process and, where that is possible, on disk.

    One of a file that could not be decoded to its end is kept in the process
    alone: it may have been the disk.
    """
    name = _name(path)
    if name is None:
        return
    _remember(name, table)
    if table.broken:
        return
    file = io.BytesIO()
    arrays: dict[str, Any] = {key: getattr(table, key) for key in _ARRAYS}
    np.savez_compressed(file, **arrays)
    # What cannot be written is found again by decoding.
    with suppress(OSError):
        write_bytes(_folder() / f'{name}.npz', file.getvalue())


def _remember(name: str, table: FrameTable) -> None:
    _tables[name] = table
    while len(_tables) > _KEPT:
        del _tables[next(iter(_tables))]


def _name(path: str) -> Optional[str]:
    """Of the file as it is now: path, size and time of change."""
    try:
        stat = os.stat(path)
    except OSError:
        return None
    state = f'{os.path.abspath(path)}\n{stat.st_size}\n{stat.st_mtime_ns}'
    digest = hashlib.sha256(f'{_VERSION}\n{state}'.encode('utf-8', 'replace'))
    return digest.hexdigest()[:40]


def _folder() -> Path:
    """``$HERO_MM_CACHE``, else the user's folder for caches."""
    own = os.environ.get('HERO_MM_CACHE')
    if own:
        return Path(own) / 'frames'
    cache = os.environ.get('XDG_CACHE_HOME') or '~/.cache'
    return Path(cache).expanduser() / 'hero_mm' / 'frames'
