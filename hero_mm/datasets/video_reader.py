"""Read chosen frames of a video, by index.

The index of a frame is its rank in what a full decode in order shows; what the
container says is not trusted.

Shape legend: N frames, H height, W width. Frames are uint8 RGB, turned as the
video is to be displayed.
"""

import errno
import functools
import io
import math
import os
import struct
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Optional, Union

import av
import numpy as np
from av.stream import Disposition
from av.video.frame import PictureType
from av.video.reformatter import VideoReformatter
from mmengine import fileio

from .frame_table import (
    NO_STAMP,
    FrameTable,
    check_sum,
    find_table,
    keep_table,
)
from .picture_reader import PictureReader
from .video_base import ENOUGH, VideoError, VideoReader

# Up to here one decode from the start beats looking for key frames.
_SEEK_FROM = 48
# Frames that a seek must save to be worth the refilled decoder.
_SEEK_GAIN = 8
# Frames that may come before a key frame that was jumped to.
_LEADING = 64
# B frames in a row that are held back; some streams consist of them.
_B_RUN = 16
# A rank after that of every frame.
_NEVER = math.inf


@functools.lru_cache(maxsize=8)
def scaling_options(num_threads: int) -> dict[str, int]:
    """Threads of the colour conversion, where this PyAV lets one choose.

    By default each small frame starts as many as there are cores, which costs
    ten times the conversion. Gives keywords for ``VideoReformatter.reformat``.
    """
    options = dict(threads=num_threads)
    try:
        frame = av.VideoFrame(16, 16, 'yuv420p')
        VideoReformatter().reformat(frame, format='rgb24', **options)
    except TypeError:
        return {}
    return options


class PyAVReader(VideoReader):
    """Read through PyAV: what a full decode in order shows, always.

    The first read that goes far into a file decodes all of it, once, and
    keeps a :class:`FrameTable`. Later reads seek where that is faster, and
    decode in order where what a seek leads to is not what the table says.

    Args:
        path (str): The file.
        data (bytes, optional): Its content, instead of reading ``path``.
        num_threads (int): Threads of the decoder; 0 lets FFmpeg choose.
    """

    def __init__(
        self, path: str, data: Optional[bytes] = None, num_threads: int = 1
    ) -> None:
        super().__init__(path)
        self._data = data
        self._num_threads = num_threads
        self._table: Optional[FrameTable] = None
        if data is None:
            self._table = find_table(path)
        self._may_seek = True
        self._turned: Optional[bool] = None
        self._reformatter = VideoReformatter()
        self._open()

    def _open(self) -> None:
        source = self.path if self._data is None else io.BytesIO(self._data)
        try:
            self._container: Any = av.open(source)
        except (av.FFmpegError, ValueError) as error:
            if getattr(error, 'errno', 0) in (errno.EMFILE, errno.ENFILE):
                # Too many open files: no fault of this one.
                raise
            raise VideoError(
                self.path, f'not a readable video ({error})'
            ) from error
        # FFmpeg's choice; a cover picture is no video.
        stream: Any = self._container.streams.best('video')
        if stream is None or stream.disposition & Disposition.attached_pic:
            self.close()
            raise VideoError(self.path, 'no video stream in the file')
        self._stream: Any = stream
        threads = self._num_threads
        stream.thread_type = 'NONE' if threads == 1 else 'AUTO'
        stream.codec_context.thread_count = threads
        self._fresh = True

    def close(self) -> None:
        """Free the file."""
        self._container.close()

    @property
    def frame_count(self) -> int:
        """int: Number of frames, counted by decoding."""
        return len(self._whole())

    @property
    def fps(self) -> float:
        """float: Mean frames a second."""
        rate = self._stream.average_rate or self._stream.guessed_rate
        if rate:
            return float(rate)
        stamps = self._stamps()
        if stamps is None or len(stamps) < 2 or stamps[-1] <= stamps[0]:
            raise VideoError(self.path, 'the container gives no frame rate')
        return float((len(stamps) - 1) / (stamps[-1] - stamps[0]))

    @property
    def times(self) -> np.ndarray:
        """np.ndarray: Seconds at which each frame is shown, from 0 on."""
        stamps = self._stamps()
        if stamps is None:
            return super().times
        return stamps - stamps[0]

    @property
    def pixel_aspect(self) -> float:
        """float: Width of a stored pixel, as displayed, in its heights."""
        ratio = self._stream.sample_aspect_ratio
        if not ratio:
            return 1.0
        if self._turned is None:
            self.get_frames([0])
        return float(1 / ratio if self._turned else ratio)

    def check_whole(self) -> int:
        """See :meth:`VideoReader.check_whole`."""
        table = self._whole()
        found = f'{len(table)} frames that can be decoded'
        if table.broken or not len(table):
            why = f': {table.broken}' if table.broken else ''
            raise VideoError(self.path, f'cut off: it holds {found}{why}')
        stamps, length = self._stamps(), self._video_seconds()
        end = None if stamps is None else stamps[-1] + 1 / self.fps
        if length is None:
            # Of the sound, too, which may be longer.
            end, length = self._last_packet(), self._file_seconds()
        if end is not None and length is not None and end < ENOUGH * length:
            raise VideoError(
                self.path,
                f'cut off: it holds {found}, up to second {end:.2f}; its '
                f'header says {length:.2f} seconds',
            )
        return len(table)

    @property
    def header_seconds(self) -> Optional[float]:
        """float, optional: See :class:`VideoReader`."""
        end, start = self._video_seconds(), self._stream.start_time or 0
        if end is None and len(self._container.streams) == 1:
            end = self._file_seconds()
        if end is None:
            return None
        return end - float(start * self._stream.time_base)

    def _video_seconds(self) -> Optional[float]:
        """Where the stream ends, as its header says; None where it does not.

        In the seconds of the time stamps.
        """
        kind, stream = self._container.format.name, self._stream
        entries = getattr(stream, 'index_entries', ())
        ticks = None
        if 'mp4' in kind and len(entries):
            ticks = max(entry.timestamp for entry in entries)
        elif kind == 'avi' and stream.frames:
            # Its duration is what is there.
            ticks = stream.frames
        elif stream.duration and not kind.startswith(('ivf', 'matroska')):
            ticks = stream.duration + (stream.start_time or 0)
        return None if ticks is None else float(ticks * stream.time_base)

    def _file_seconds(self) -> Optional[float]:
        """Where all of its streams end, as the header says."""
        # The header of an ivf counts packets, shown or not.
        known = self._container.format.name != 'ivf'
        length = self._container.duration
        return length / av.time_base if known and length else None

    def _last_packet(self) -> Optional[float]:
        """Where the packets of all streams end."""
        with closing(PyAVReader(self.path, self._data)) as other:
            ends = [
                (packet.pts + (packet.duration or 0)) * packet.time_base
                for packet in other._container.demux()
                if packet.pts is not None
            ]
        return float(max(ends)) if ends else None

    def _stamps(self) -> Optional[np.ndarray]:
        """Time stamps of the frames in seconds; None where they have none."""
        stamps = self._whole().stamps
        if not len(stamps) or (stamps == NO_STAMP).any():
            return None
        # Some files have those of the packets, which are in another order;
        # where parts were joined, they begin anew.
        order = np.argsort(stamps, kind='stable')
        if np.abs(order - np.arange(len(order))).max() > _B_RUN:
            return None
        return stamps[order] * float(self._stream.time_base)

    def _whole(self) -> FrameTable:
        """The table, found by decoding where it is not known."""
        if self._table is None:
            for _ in self._in_order([_NEVER], learn=True):
                pass
        assert self._table is not None
        return self._table

    def _read(self, wanted: np.ndarray) -> np.ndarray:
        is_far = bool(wanted[-1] >= _SEEK_FROM)
        learn = self._table is None and is_far
        if self._table is not None:
            self._check(self._table, wanted)
            if is_far and self._may_seek:
                try:
                    frames = self._seek(self._table, wanted)
                    return self._images(frames, len(wanted))
                except VideoError:
                    self._may_seek = False
        # In order; to the end, where the table is to be learned.
        ranks = [*wanted.tolist(), _NEVER] if learn else wanted.tolist()
        frames = (frame for _, frame in self._in_order(ranks, learn))
        out = self._images(frames, len(wanted))
        if len(out) < len(wanted):
            raise self._too_short(len(self._whole()), wanted)
        return out

    def _in_order(
        self, ranks: Iterable[float], learn: bool
    ) -> Iterator[tuple[int, Any]]:
        """Decode from the start; gives the frames of increasing ranks.

        To ``learn`` is to keep the table where the file ends before they do.
        """
        todo = iter(ranks)
        wanted: Optional[float] = next(todo, _NEVER)
        rows, broken = [], ''
        try:
            for rank, (frame, sound) in enumerate(
                _with_soundness(self._decode())
            ):
                if learn:
                    row = frame.pts, check_sum(frame), frame.key_frame, sound
                    rows.append(row)
                if rank != wanted:
                    continue
                if not sound:
                    raise self._damaged(rank)
                yield rank, frame
                wanted = next(todo, None)
                if wanted is None:
                    return
        except VideoError as error:
            if wanted != _NEVER:
                raise
            broken = error.found
        if learn:
            self._table = FrameTable.of_rows(rows, broken)
            if self._data is None:
                keep_table(self.path, self._table)

    def stream(
        self, ranks: Iterable[int], max_side: Optional[int] = None
    ) -> Iterator[tuple[int, np.ndarray]]:
        """See :class:`VideoReader`; the end of the file gives the table."""
        self._max_side = max_side
        for rank, frame in self._in_order(ranks, self._table is None):
            yield rank, self._image(frame).copy()

    def _check(self, table: FrameTable, wanted: np.ndarray) -> None:
        """VideoError where a frame is not there, or not what was encoded."""
        there = wanted[wanted < len(table)]
        if not table.sound[there].all():
            raise self._damaged(int(there[~table.sound[there]][0]))
        if len(there) < len(wanted):
            if table.broken:
                raise VideoError(self.path, table.broken)
            raise self._too_short(len(table), wanted)

    def _damaged(self, rank: int) -> VideoError:
        return VideoError(
            self.path,
            f'frame {rank} is damaged, or predicted from one that is',
        )

    def _seek(self, table: FrameTable, wanted: np.ndarray) -> Iterator[Any]:
        """Frames after jumps to key frames, each compared with the table."""
        ranks = table.rank_by_stamp()
        if ranks is None:
            raise VideoError(self.path, 'its frames have no time stamps')
        keys = np.flatnonzero(table.keys)
        stamps = table.stamps[wanted]
        needed = set(stamps.tolist()) if table.in_order() else None
        frames: Iterator[Any] = self._decode(needed=needed)
        position = 0
        for rank in wanted.tolist():
            before = keys[keys <= rank]
            if len(before) and before[-1] - position >= _SEEK_GAIN:
                frames = self._decode_from(table, int(before[-1]), needed)
            for frame in frames:
                # Of frames in between, the time stamp has to do.
                position = ranks.get(frame.pts, len(table)) + 1
                if position > rank:
                    break
            if position != rank + 1 or check_sum(frame) != table.sums[rank]:
                raise VideoError(self.path, f'no seek finds frame {rank}')
            yield frame

    def _decode_from(
        self, table: FrameTable, key: int, needed: Optional[set[int]]
    ) -> Iterator[Any]:
        """Frames from a key frame on; none where a seek does not find it."""
        stamp, total = table.stamps[key], table.sums[key]
        frames = self._decode(int(stamp), needed)
        for number, frame in enumerate(frames):
            if frame.pts == stamp and check_sum(frame) == total:
                yield frame
                yield from frames
            # What comes first may need what was jumped over.
            if number > _LEADING:
                return

    def _images(self, frames: Iterable[Any], count: int) -> np.ndarray:
        """So many frames, or fewer where they end before."""
        out, place = np.empty(0, dtype=np.uint8), 0
        for frame in frames:
            image = self._image(frame)
            if place == 0:
                out = np.empty((count, *image.shape), dtype=np.uint8)
            out[place] = image
            place += 1
        return out[:place]

    def _image(self, frame: Any) -> np.ndarray:
        """A frame as it is displayed, has shape (H, W, 3)."""
        whole = frame.width, frame.height
        width, height = self._reduced(*whole)
        rgb = self._reformatter.reformat(
            frame,
            width,
            height,
            'rgb24',
            interpolation=None if (width, height) == whole else 'AREA',
            **scaling_options(self._num_threads),
        )
        plane: Any = rgb.planes[0]
        lines = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
        image = lines[:height, : width * 3].reshape(height, width, 3)
        turned, mirrored, upside_down = orientation(frame)
        self._turned = turned
        if turned:
            image, whole = image.transpose(1, 0, 2), whole[::-1]
        if self._size not in (None, whole):
            raise VideoError(
                self.path,
                f'the size changes from {self._size} to {whole} (width, '
                f'height) at {frame.time} seconds',
                'encode it again at one size',
            )
        self._size = whole
        return image[:: -1 if upside_down else 1, :: -1 if mirrored else 1]

    def _decode(
        self, pts: Optional[int] = None, needed: Optional[set[int]] = None
    ) -> Iterator[Any]:
        """Frames from the start, or from the key frame at ``pts`` on.

        Where time stamps are ``needed``, of the other frames come those alone
        that some are predicted from.
        """
        count = 0
        try:
            if pts is not None:
                self._container.seek(pts, stream=self._stream)
            elif not self._fresh:
                self.close()
                self._open()
            self._fresh = False
            for packet in self._container.demux(self._stream):
                if needed is not None:
                    is_needed = packet.pts is None or packet.pts in needed
                    self._stream.codec_context.skip_frame = (
                        'DEFAULT' if is_needed else 'NONREF'
                    )
                for frame in packet.decode():
                    yield frame
                    count += 1
        except (av.FFmpegError, EOFError) as error:
            raise VideoError(
                self.path, f'decoding stops after {count} frames ({error})'
            ) from error


def orientation(frame: Any) -> tuple[bool, bool, bool]:
    """How a frame of PyAV is to be displayed, by its display matrix.

    Returns:
        tuple[bool, bool, bool]: Whether rows become columns, and whether it
        is then mirrored left to right, and upside down.
    """
    for data in frame.side_data:
        if data.type.name == 'DISPLAYMATRIX':
            # x' = a x + c y, y' = b x + d y, in fixed point.
            a, b, _, c, d, *_ = struct.unpack('=9i', bytes(data)[:36])
            if abs(b) + abs(c) > abs(a) + abs(d):
                return True, c < 0, b < 0
            return False, a < 0, d < 0
    return False, False, False


def _with_soundness(frames: Iterable[Any]) -> Iterator[tuple[Any, bool]]:
    """Frames, each with whether it is what was encoded.

    A decoder conceals what it cannot read and marks the frame, but not those
    that are predicted from it: all up to the next key frame, and the B frames
    that are shown just before it. These are held back until it is there.
    """
    held: list[tuple[Any, bool]] = []
    damaged = False
    for frame in frames:
        damaged = frame.is_corrupt or (damaged and not frame.key_frame)
        held.append((frame, not damaged))
        if frame.pict_type == PictureType.B and len(held) < _B_RUN:
            continue
        yield from _judged(held)
        held = []
    yield from _judged(held)


def _judged(held: list[tuple[Any, bool]]) -> Iterator[tuple[Any, bool]]:
    """The B frames in a row and the frame that they end with."""
    marked = any(frame.is_corrupt for frame, _ in held)
    for frame, sound in held:
        yield frame, sound and (not marked or frame.key_frame)


@contextmanager
def open_video(
    path: Union[str, Path],
    backend_args: Optional[dict] = None,
    num_threads: int = 1,
) -> Iterator[VideoReader]:
    """Open a video to read frames by index.

    Args:
        path (str | Path): The file, or a folder with a picture a frame.
        backend_args (dict, optional): Arguments of the MMEngine storage
            backend. Defaults to None, the local disk.
        num_threads (int): Threads of the decoder; 0 lets it choose.

    Yields:
        VideoReader: Closed at the end of the ``with`` block.

    Raises:
        VideoError: The file is missing, empty or not a video.
    """
    path = str(path)
    reader: VideoReader
    if _is_folder(path, backend_args):
        reader = PictureReader(path, backend_args)
    else:
        data = _fetch(path, backend_args)
        reader = PyAVReader(path, data, num_threads)
    with reader:
        yield reader


def _is_folder(path: str, backend_args: Optional[dict]) -> bool:
    if backend_args is None:
        return os.path.isdir(path)
    # Asked only where it may be one: each question is a request.
    if Path(path).suffix:
        return False
    try:
        return fileio.isdir(path, backend_args)
    except AttributeError:  # A storage without folders, such as http.
        return False


def _fetch(path: str, backend_args: Optional[dict]) -> Optional[bytes]:
    """The content of a file that is not on the local disk."""
    data = None
    try:
        if backend_args is None:
            size = os.path.getsize(path)
        else:
            data = bytes(fileio.get(path, backend_args=backend_args))
            size = len(data)
    except OSError as error:
        found = 'does not exist'
        if not isinstance(error, FileNotFoundError):
            found = f'cannot be fetched ({error})'
        raise VideoError(
            path,
            found,
            "correct the path (of a data set: data_prefix['video'])",
        ) from error
    if size == 0:
        raise VideoError(path, 'the file is empty')
    return data
