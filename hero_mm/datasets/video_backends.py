"""Readers through OpenCV, decord and torchcodec; PyAV is the default.

Shape legend: N frames, H height, W width. Frames are uint8 RGB, turned as the
video is to be displayed.
"""

import importlib
from typing import Any

import cv2
import numpy as np

from .video_base import VideoError, VideoReader


class OpenCVReader(VideoReader):
    """Read through OpenCV, always from the start: its seeking is not exact.

    Args:
        path (str): The file.
        num_threads (int): Threads of the decoder; 0 lets FFmpeg choose.
    """

    def __init__(self, path: str, num_threads: int = 1) -> None:
        super().__init__(path)
        self._num_threads = num_threads
        self._open()

    def _open(self) -> None:
        options = [cv2.CAP_PROP_N_THREADS, self._num_threads]
        self._capture = cv2.VideoCapture(
            self.path, cv2.CAP_FFMPEG, options if self._num_threads else []
        )
        if not self._capture.isOpened():
            raise VideoError(self.path, 'not a readable video')
        self._fresh = True

    def close(self) -> None:
        """Free the file."""
        self._capture.release()

    def _rewind(self) -> None:
        if not self._fresh:
            self.close()
            self._open()
        self._fresh = False

    @property
    def frame_count(self) -> int:
        """int: Number of frames, counted in the file."""
        self._rewind()
        count = 0
        while self._capture.grab():
            count += 1
        return count

    @property
    def fps(self) -> float:
        """float: Mean frames a second."""
        return float(self._capture.get(cv2.CAP_PROP_FPS))

    @property
    def size(self) -> tuple[int, int]:
        """tuple[int, int]: (width, height) as displayed, in pixels."""
        height, width = self._read(np.array([0])).shape[1:3]
        return width, height

    def _read(self, wanted: np.ndarray) -> np.ndarray:
        self._rewind()
        frames: list[np.ndarray] = []
        for rank in range(int(wanted[-1]) + 1):
            if not self._capture.grab():
                raise self._too_short(rank, wanted)
            if rank == wanted[len(frames)]:
                good, image = self._capture.retrieve()
                if not good:
                    raise VideoError(self.path, f'frame {rank} is damaged')
                frames.append(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
        return np.stack(frames)


class DecordReader(VideoReader):
    """Read through decord, where it is installed.

    Args:
        path (str): The file.
        num_threads (int): Threads of the decoder; 0 lets it choose.
    """

    def __init__(self, path: str, num_threads: int = 1) -> None:
        super().__init__(path)
        decord = _optional('decord')
        self._errors = (RuntimeError, decord.DECORDError)
        try:
            self._reader = decord.VideoReader(path, num_threads=num_threads)
        except self._errors as error:
            raise VideoError(
                path, f'not a readable video ({_last_line(error)})'
            ) from error

    def close(self) -> None:
        """Free the file."""
        self._reader = None

    @property
    def frame_count(self) -> int:
        """int: Number of frames."""
        return len(self._reader)

    @property
    def fps(self) -> float:
        """float: Mean frames a second."""
        return float(self._reader.get_avg_fps())

    @property
    def size(self) -> tuple[int, int]:
        """tuple[int, int]: (width, height) as displayed, in pixels."""
        height, width = self._read(np.array([0])).shape[1:3]
        return width, height

    def _read(self, wanted: np.ndarray) -> np.ndarray:
        if wanted[-1] >= len(self._reader):
            raise self._too_short(len(self._reader), wanted)
        try:
            return self._reader.get_batch(wanted.tolist()).asnumpy()
        except self._errors as error:
            raise VideoError(
                self.path,
                f'decord fails on it ({_last_line(error)})',
                "use the backend 'pyav': decord cannot read some videos that "
                'are turned',
            ) from error


class TorchCodecReader(VideoReader):
    """Read through torchcodec, where it is installed.

    Args:
        path (str): The file.
        num_threads (int): Threads of the decoder; 0 lets FFmpeg choose.
    """

    def __init__(self, path: str, num_threads: int = 1) -> None:
        super().__init__(path)
        decoders = _optional('torchcodec.decoders')
        try:
            self._decoder = decoders.VideoDecoder(
                path, dimension_order='NHWC', num_ffmpeg_threads=num_threads
            )
        except (RuntimeError, ValueError) as error:
            raise VideoError(
                path, f'not a readable video ({error})'
            ) from error

    def close(self) -> None:
        """Free the file."""
        self._decoder = None

    @property
    def frame_count(self) -> int:
        """int: Number of frames."""
        return len(self._decoder)

    @property
    def fps(self) -> float:
        """float: Mean frames a second."""
        return float(self._decoder.metadata.average_fps)

    @property
    def size(self) -> tuple[int, int]:
        """tuple[int, int]: (width, height) as displayed, in pixels."""
        height, width = self._read(np.array([0])).shape[1:3]
        return width, height

    def _read(self, wanted: np.ndarray) -> np.ndarray:
        if wanted[-1] >= len(self._decoder):
            raise self._too_short(len(self._decoder), wanted)
        return self._decoder.get_frames_at(wanted.tolist()).data.numpy()


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1]


def _optional(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.split('.')[0]
        raise ImportError(
            f'the video backend {package!r} is not installed ({error}); '
            f"install it with `pip install {package}`, or use 'pyav'"
        ) from error
