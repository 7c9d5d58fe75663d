"""Write what a browser shows: h264 mp4 files and PNG pictures.

Shape legend: H height, W width of a picture in pixels; pictures are RGB.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Callable, Optional

import av
import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from hero_mm.errors import UserError, UserTypeError
from hero_mm.files import Draft, PathLike, adding, replacing


def check_picture(image: Any) -> np.ndarray:
    """Return the picture, or say what is wrong with it."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        found = getattr(image, 'dtype', type(image).__name__)
        raise UserTypeError(f'A picture must be a uint8 array, got {found}.')
    if image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise UserError(
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
        comment (str): Stored in the file.
        is_ours (Callable, optional): Says of an existing file whether it may
            be replaced; otherwise the next free name is taken, and ``path``
            says which. Without it any file is replaced.

    Raises:
        WriteError: If the file cannot be written; of the context manager.
        ValueError: If the suffix or ``fps`` is not allowed.

    Examples:
        >>> with VideoWriter('/tmp/x.mp4', fps=10) as writer:
        ...     writer.write(np.zeros((64, 64, 3), np.uint8))
    """

    def __init__(
        self,
        path: PathLike,
        fps: float,
        crf: int = 20,
        comment: str = '',
        is_ours: Optional[Callable[[Path], bool]] = None,
    ) -> None:
        self.path = Path(path)
        if self.path.suffix.lower() != '.mp4':
            raise UserError(
                f'{self.path}: only .mp4 is written; give a name that ends '
                'in .mp4.'
            )
        if not fps > 0:
            raise UserError(f'{self.path}: fps must be above 0, got {fps}.')
        self.fps = Fraction(fps).limit_denominator(1001)
        self.crf = crf
        self.comment = comment
        self.is_ours = is_ours
        self.frame_count = 0
        self._place = ExitStack()
        self._container: Any = None
        self._stream: Any = None
        self._shape: Optional[tuple[int, ...]] = None

    def _open(self, height: int, width: int) -> None:
        place = _placed(self.path, self.is_ours)
        self._draft = self._place.enter_context(place)
        self._container = av.open(
            str(self._draft.part),
            'w',
            format='mp4',
            options={'movflags': 'faststart'},
        )
        self._container.metadata['comment'] = self.comment
        self._stream = self._container.add_stream(
            'libx264',
            rate=self.fps,
            options={'crf': str(self.crf), 'preset': 'veryfast'},
        )
        self._stream.width, self._stream.height = width, height
        self._stream.pix_fmt = 'yuv420p'

    def write(self, image: np.ndarray) -> None:
        """Append a frame, RGB uint8 of shape (H, W, 3), all of one shape."""
        shape = check_picture(image).shape
        if self._shape is None:
            self._shape = shape
        elif shape != self._shape:
            raise UserError(
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
        """Finish the file; without a frame none is made."""
        container, self._container = self._container, None
        with self._place:
            if container is not None:
                container.mux(self._stream.encode())
                container.close()
        if container is not None:
            self.path = self._draft.path

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
            return
        if self._container is not None:
            # What was written so far is removed: it may be incomplete.
            with suppress(OSError):
                self._container.close()
        self._place.__exit__(kind, error, trace)


@contextmanager
def _placed(
    path: Path, is_ours: Optional[Callable[[Path], bool]]
) -> Iterator[Draft]:
    if is_ours is not None:
        with adding(path, is_ours) as draft:
            yield draft
    else:
        with replacing(path) as part:
            yield Draft(part, path)


def write_png(
    path: PathLike,
    image: np.ndarray,
    comment: str = '',
    is_ours: Optional[Callable[[Path], bool]] = None,
) -> Path:
    """Write a picture as PNG; its folder is made where it is missing.

    Args:
        path (str | os.PathLike): File to write, ends in ``.png``.
        image (np.ndarray): RGB picture, uint8, has shape (H, W, 3).
        comment (str): Stored in the file.
        is_ours (Callable, optional): As :class:`VideoWriter` takes it.

    Returns:
        Path: Where it is.

    Raises:
        WriteError: If it cannot be written.
        TypeError: If it is no uint8 array.
        ValueError: If it has another shape.
    """
    stored = PngInfo()
    if comment:
        stored.add_text('Comment', comment)
    picture = Image.fromarray(check_picture(image))
    with _placed(Path(path), is_ours) as draft:
        picture.save(draft.part, 'png', pnginfo=stored)
    return draft.path


def read_comment(path: PathLike) -> str:
    """What was written into an mp4 or PNG file as its comment."""
    try:
        if str(path).endswith('.png'):
            with Image.open(path) as image:
                return str(image.info.get('Comment', ''))
        with av.open(str(path)) as container:
            return container.metadata.get('comment', '')
    except (OSError, ValueError):
        return ''
