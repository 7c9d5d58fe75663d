"""Write what a browser shows: h264 mp4 files and PNG pictures.

Shape legend: H height, W width of a picture in pixels; pictures are RGB.
"""

import os
import uuid
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Optional, Union

import av
import cv2
import numpy as np

PathLike = Union[str, 'os.PathLike[str]']


def check_picture(image: Any) -> np.ndarray:
    """Return the picture, or say what is wrong with it.

    Args:
        image (np.ndarray): RGB picture, uint8, has shape (H, W, 3).

    Returns:
        np.ndarray: The same picture.

    Raises:
        TypeError: If it is no uint8 array.
        ValueError: If it has another shape or no pixels.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        found = getattr(image, 'dtype', type(image).__name__)
        raise TypeError(f'A picture must be a uint8 array, got {found}.')
    if image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ValueError(
            f'A picture must have shape (H, W, 3), got {image.shape}.'
        )
    return image


def _even(image: np.ndarray) -> np.ndarray:
    """Repeat the last row or column where a side is odd: yuv420p needs it."""
    height, width = image.shape[:2]
    if height % 2 or width % 2:
        pad = ((0, height % 2), (0, width % 2), (0, 0))
        image = np.pad(image, pad, mode='edge')
    return np.ascontiguousarray(image)


class VideoWriter:
    """Write an mp4 (h264, yuv420p, faststart) frame by frame.

    The file appears under its name when it is complete: an interrupted
    writing leaves nothing behind. Use it as a context manager.

    Args:
        path (str | os.PathLike): File to write, ends in ``.mp4``. Its folder
            is made where it is missing.
        fps (float): Frames a second, above 0.
        crf (int): Constant rate factor of x264, lower is better and bigger.
            Defaults to 20.

    Raises:
        ValueError: If the suffix or ``fps`` is not allowed.

    Examples:
        >>> with VideoWriter('/tmp/x.mp4', fps=10) as writer:
        ...     writer.write(np.zeros((64, 64, 3), np.uint8))
    """

    def __init__(self, path: PathLike, fps: float, crf: int = 20) -> None:
        self.path = Path(path)
        if self.path.suffix.lower() != '.mp4':
            raise ValueError(
                f'{self.path}: only .mp4 is written; give a name that ends '
                'in .mp4.'
            )
        if not fps > 0:
            raise ValueError(f'{self.path}: fps must be above 0, got {fps}.')
        self.fps = Fraction(fps).limit_denominator(1001)
        self.crf = crf
        self.frame_count = 0
        # Of this writer alone: others may write to the same place.
        mark = f'{os.getpid()}-{uuid.uuid4().hex[:8]}'
        self._part = self.path.with_name(f'.{self.path.stem}.{mark}.part.mp4')
        self._container: Any = None
        self._stream: Any = None
        self._shape: Optional[tuple[int, ...]] = None

    def _open(self, height: int, width: int) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._container = av.open(
            str(self._part), 'w', options={'movflags': 'faststart'}
        )
        self._stream = self._container.add_stream(
            'libx264',
            rate=self.fps,
            options={'crf': str(self.crf), 'preset': 'veryfast'},
        )
        self._stream.width, self._stream.height = width, height
        self._stream.pix_fmt = 'yuv420p'

    def write(self, image: np.ndarray) -> None:
        """Append a frame.

        Args:
            image (np.ndarray): RGB picture, uint8, has shape (H, W, 3); all
                frames of a video have one shape.

        Raises:
            TypeError: If it is no uint8 array.
            ValueError: If the shape differs from that of the first frame.
        """
        shape = check_picture(image).shape
        if self._shape is None:
            self._shape = shape
        elif shape != self._shape:
            raise ValueError(
                f'{self.path}: frame {self.frame_count} has shape {shape}, '
                f'the frames before it {self._shape}; resize it first.'
            )
        image = _even(image)
        if self._container is None:
            self._open(*image.shape[:2])
        frame = av.VideoFrame.from_ndarray(image, format='rgb24')
        frame.pts = self.frame_count
        frame.time_base = 1 / self.fps
        self._container.mux(self._stream.encode(frame))
        self.frame_count += 1

    def close(self) -> None:
        """Finish the file. Without a frame no file is made."""
        if self._container is None:
            return
        self._container.mux(self._stream.encode())
        self._container.close()
        self._container = None
        os.replace(self._part, self.path)

    def abort(self) -> None:
        """Give up and remove what was written so far."""
        if self._container is not None:
            self._container.close()
            self._container = None
        self._part.unlink(missing_ok=True)

    def __enter__(self) -> 'VideoWriter':
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()


def write_png(path: PathLike, image: np.ndarray) -> None:
    """Write a picture as PNG; its folder is made where it is missing.

    Args:
        path (str | os.PathLike): File to write, ends in ``.png``.
        image (np.ndarray): RGB picture, uint8, has shape (H, W, 3).

    Raises:
        OSError: If the picture cannot be encoded.
        TypeError: If it is no uint8 array.
        ValueError: If it has another shape.
    """
    bgr = cv2.cvtColor(check_picture(image), cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode('.png', bgr)
    if not done:
        raise OSError(f'{path}: OpenCV could not encode the picture.')
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(data.tobytes())
