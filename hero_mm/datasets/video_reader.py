"""Read chosen frames of a video, by index.

The index of a frame is its rank in presentation order; what the container
says about the number of frames is not trusted. Only what is needed is decoded.

Shape legend: N frames, H height, W width. Frames are uint8 RGB, turned as the
video is to be displayed.
"""

import functools
import io
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Optional, Union

import av
import numpy as np
from av.video.frame import PictureType
from av.video.reformatter import VideoReformatter
from mmengine import fileio

from .picture_reader import PictureReader
from .video_backends import DecordReader, OpenCVReader, TorchCodecReader
from .video_base import TooShortError, VideoError, VideoReader

__all__ = [
    'PyAVReader',
    'TooShortError',
    'VideoError',
    'VideoReader',
    'open_video',
]

# Up to here one decode from the start beats looking for key frames.
_SEEK_FROM = 48
# Frames that a seek must save to be worth the refilled decoder.
_SEEK_GAIN = 8
# No codec reorders frames farther than this.
_REORDER = 64
# B frames in a row that are held back; some streams consist of them.
_B_RUN = 16


@functools.lru_cache(maxsize=8)
def scaling_options(num_threads: int) -> dict[str, int]:
    """Threads of the colour conversion, where this PyAV lets one choose.

    By default each small frame starts as many as there are cores, which costs
    ten times the conversion.

    Args:
        num_threads (int): Threads; 0 takes one a core.

    Returns:
        dict: Keywords for ``VideoReformatter.reformat``.
    """
    options = dict(threads=num_threads)
    try:
        frame = av.VideoFrame(16, 16, 'yuv420p')
        VideoReformatter().reformat(frame, format='rgb24', **options)
    except TypeError:
        return {}
    return options


class PyAVReader(VideoReader):
    """Read through PyAV; the default.

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
        # Time stamps in order; empty where they do not tell the ranks.
        self._pts = np.zeros(0, dtype=np.int64)
        # Ranks and time stamps of the key frames.
        self._keys = np.zeros(0, dtype=np.int64)
        self._key_pts = np.zeros(0, dtype=np.int64)
        self._complete = False
        # Frames that an edit list takes out.
        self._hidden = 0
        self._reformatter = VideoReformatter()
        self._open()

    def _open(self) -> None:
        source = self.path if self._data is None else io.BytesIO(self._data)
        try:
            self._container: Any = av.open(source)
        except (av.FFmpegError, ValueError) as error:
            raise VideoError(
                self.path, f'not a readable video ({error})'
            ) from error
        if not self._container.streams.video:
            self.close()
            raise VideoError(self.path, 'no video stream in the file')
        self._stream = self._container.streams.video[0]
        threads = self._num_threads
        self._stream.thread_type = 'NONE' if threads == 1 else 'AUTO'
        self._stream.codec_context.thread_count = threads
        self._fresh = True

    def close(self) -> None:
        """Free the file."""
        self._container.close()

    @property
    def frame_count(self) -> int:
        """int: Number of frames, counted in the file."""
        if self._index(None):
            return len(self._pts)
        return sum(1 for _ in self._decode())

    @property
    def told_count(self) -> int:
        """int: Number of frames that the file tells; 0 where it does not."""
        if 'mp4' not in self._container.format.name:
            return self._stream.frames
        # The index of an mp4 leaves out most of what an edit list hides.
        self._index(None)
        entries = getattr(self._stream, 'index_entries', ())
        return max(len(entries) - self._hidden, 0)

    @property
    def fps(self) -> float:
        """float: Mean frames a second."""
        rate = self._stream.average_rate or self._stream.guessed_rate
        if not rate:
            raise VideoError(self.path, 'the container gives no frame rate')
        return float(rate)

    @property
    def size(self) -> tuple[int, int]:
        """tuple[int, int]: (width, height) as displayed, in pixels."""
        for frame in self._decode():
            turned = (frame.rotation // 90) % 2
            size = (frame.width, frame.height)
            return size[::-1] if turned else size
        raise VideoError(self.path, 'not one frame can be decoded')

    def _read(self, wanted: np.ndarray) -> np.ndarray:
        last = int(wanted[-1])
        if last >= _SEEK_FROM and self._index(last):
            if self._complete and last >= len(self._pts):
                raise self._too_short(len(self._pts), wanted)
            frames = self._read_seeking(wanted)
            if frames is not None:
                return frames
        return self._read_in_order(wanted)

    def _read_in_order(self, wanted: np.ndarray) -> np.ndarray:
        """Decode from the start, keep what is wanted."""
        out = np.empty(0, dtype=np.uint8)
        place, rank = 0, -1
        for rank, (frame, sound) in enumerate(_told_apart(self._decode())):
            if rank != wanted[place]:
                continue
            if not sound:
                raise VideoError(
                    self.path,
                    f'the frame at {frame.time} seconds is damaged, or '
                    'predicted from one that is',
                )
            out = self._store(frame, out, place, len(wanted))
            place += 1
            if place == len(wanted):
                return out
        raise self._too_short(rank + 1, wanted)

    def _read_seeking(self, wanted: np.ndarray) -> Optional[np.ndarray]:
        """Jump to key frames; None where the file does not keep its word."""
        pts = self._pts
        out = np.empty(0, dtype=np.uint8)
        frames: Iterator[tuple[Any, bool]] = iter(())
        position = -_SEEK_GAIN
        for place, rank in enumerate(wanted.tolist()):
            key = int(np.searchsorted(self._keys, rank, 'right')) - 1
            if self._keys[key] - position >= _SEEK_GAIN:
                frames = _told_apart(self._decode(int(self._key_pts[key])))
            for frame, sound in frames:
                here = frame.pts == pts[rank]
                late = frame.pts is None or frame.pts > pts[rank]
                if late or (here and not sound):
                    return None
                if here:
                    break
            else:
                return None
            out = self._store(frame, out, place, len(wanted))
            position = rank + 1
        return out

    def _store(
        self, frame: Any, out: np.ndarray, place: int, count: int
    ) -> np.ndarray:
        """Write a frame into its place of the array, made by the first."""
        rgb = self._reformatter.reformat(
            frame, format='rgb24', **scaling_options(self._num_threads)
        )
        plane: Any = rgb.planes[0]
        height, width = rgb.height, rgb.width
        lines = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
        image = lines[:height, : width * 3].reshape(height, width, 3)
        if frame.rotation:
            image = np.rot90(image, frame.rotation // 90)
        if place == 0:
            out = np.empty((count, *image.shape), dtype=np.uint8)
        elif image.shape != out.shape[1:]:
            raise VideoError(
                self.path,
                f'the size changes from {out.shape[1:3]} to '
                f'{image.shape[:2]} (height, width) at {frame.time} seconds',
                'encode it again at one size',
            )
        out[place] = image
        return out

    def _decode(self, pts: Optional[int] = None) -> Iterator[Any]:
        """Frames from the start, or from the key frame at ``pts`` on."""
        count = 0
        try:
            if pts is not None:
                self._container.seek(pts, stream=self._stream)
            elif not self._fresh:
                self.close()
                self._open()
            self._fresh = False
            for frame in self._container.decode(self._stream):
                yield frame
                count += 1
        except (av.FFmpegError, EOFError) as error:
            raise VideoError(
                self.path, f'decoding stops after {count} frames ({error})'
            ) from error

    def _index(self, last: Optional[int]) -> bool:
        """Learn time stamps and key frames up to frame ``last``, or all.

        Returns:
            bool: Whether the time stamps say the rank of every frame.
        """
        known = last is not None and last + _REORDER < len(self._pts)
        if self._complete or known:
            return len(self._pts) > 0
        stop = None if last is None else last + 2 * _REORDER
        if not self._fresh:
            self.close()
            self._open()
        packets = self._scan(stop)
        self._fresh = False
        shown = [pts for pts, _, hidden in packets if not hidden]
        self._hidden = len(packets) - len(shown)
        sound = (
            len(shown) > 0
            and all(pts is not None for pts, _, _ in packets)
            and len(set(shown)) == len(shown)
            and packets[0][1]
        )
        if not sound:
            self._complete, self._pts = True, self._pts[:0]
            return False
        self._pts = np.sort(np.array(shown, dtype=np.int64))
        keys = [pts for pts, is_key, _ in packets if is_key]
        self._key_pts = np.sort(np.array(keys, dtype=np.int64))
        # An edit list may hide the frames at a key frame.
        self._keys = np.searchsorted(self._pts, self._key_pts)
        return True

    def _scan(self, stop: Optional[int]) -> list[tuple[Any, bool, bool]]:
        """Time stamp, whether a key frame, whether hidden, of packets."""
        packets: list[tuple[Any, bool, bool]] = []
        try:
            for packet in self._container.demux(self._stream):
                if packet.size:
                    packets.append(
                        (packet.pts, packet.is_keyframe, packet.is_discard)
                    )
                if stop is not None and len(packets) > stop:
                    return packets
        except av.FFmpegError:
            # What can be decoded is found out by decoding.
            packets.append((None, False, False))
        self._complete = True
        return packets


def _told_apart(frames: Iterable[Any]) -> Iterator[tuple[Any, bool]]:
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


_READERS: dict[str, Any] = {
    'pyav': PyAVReader,
    'opencv': OpenCVReader,
    'decord': DecordReader,
    'torchcodec': TorchCodecReader,
}


@contextmanager
def open_video(
    path: Union[str, Path],
    backend: str = 'pyav',
    backend_args: Optional[dict] = None,
    num_threads: int = 1,
) -> Iterator[VideoReader]:
    """Open a video to read frames by index.

    Args:
        path (str | Path): The file, or a folder with a picture a frame, which
            is read in the same way by every backend.
        backend (str): 'pyav', 'opencv', 'decord' or 'torchcodec'.
        backend_args (dict, optional): Arguments of the MMEngine storage
            backend. Defaults to None, the local disk.
        num_threads (int): Threads of the decoder; 0 lets it choose.

    Yields:
        VideoReader: Closed at the end of the ``with`` block.

    Raises:
        VideoError: The file is missing, empty or not a video.
        ValueError: The backend is unknown.
        ImportError: The backend is not installed.
    """
    path = str(path)
    if backend not in _READERS:
        raise ValueError(
            f'unknown video backend {backend!r}; use one of {list(_READERS)}'
        )
    if _is_folder(path, backend_args):
        with PictureReader(path, backend_args) as pictures:
            yield pictures
    elif backend_args is None:
        _check_file(path)
        with _READERS[backend](path, num_threads=num_threads) as reader:
            yield reader
    elif backend == 'pyav':
        data = _fetch(path, backend_args)
        with PyAVReader(path, data, num_threads) as reader:
            yield reader
    else:
        with fileio.get_local_path(path, backend_args) as local:
            _check_file(str(local))
            with _READERS[backend](
                str(local), num_threads=num_threads
            ) as reader:
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


def _check_file(path: str) -> None:
    if not os.path.isfile(path):
        raise VideoError(
            path,
            'does not exist',
            "correct the path (of a data set: data_prefix['video'])",
        )
    if os.path.getsize(path) == 0:
        raise VideoError(path, 'the file is empty')


def _fetch(path: str, backend_args: dict) -> bytes:
    try:
        data = fileio.get(path, backend_args=backend_args)
    except OSError as error:
        raise VideoError(
            path, f'cannot be fetched ({error})', 'check path and backend_args'
        ) from error
    if not data:
        raise VideoError(path, 'the file is empty')
    return bytes(data)
