"""Write what a browser shows: h264 mp4 files and PNG pictures.

Shape legend: H height, W width of a picture in pixels; pictures are RGB.
"""

from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from hero_mm.errors import UserError
from hero_mm.files import PathLike, replacing


class VideoWriter:
    """Write an mp4 (h264, yuv420p, faststart) frame by frame.

    A context manager. The file appears under its name when it is complete; an
    interrupted writing leaves nothing behind, and without a frame there is no
    file.

    Args:
        path (str | os.PathLike): File to write, ends in ``.mp4``. Its folder
            is made where it is missing.
        fps (float): Frames a second, above 0.
        comment (str): Stored in the file.

    Examples:
        >>> with VideoWriter('/tmp/x.mp4', fps=10) as writer:
        ...     writer.write(np.zeros((64, 64, 3), np.uint8))
    """

    def __init__(self, path: PathLike, fps: float, comment: str = '') -> None:
        self.path = Path(path)
        if self.path.suffix.lower() != '.mp4' or not fps > 0:
            raise UserError(
                f'{self.path}, {fps} frames a second: give a name that ends '
                'in .mp4, and a rate above 0.'
            )
        self.fps = Fraction(fps).limit_denominator(1001)
        self.comment = comment
        self.frame_count = 0
        self._open_files = ExitStack()
        self._container: Any = None
        self._stream: Any = None
        self._shape: tuple[int, ...] = ()

    def _open(self, shape: tuple[int, ...]) -> None:
        self._shape = shape
        part = self._open_files.enter_context(replacing(self.path))
        options = {'movflags': 'faststart'}
        self._container = self._open_files.enter_context(
            av.open(str(part), 'w', format='mp4', options=options)
        )
        self._container.metadata['comment'] = self.comment
        options = {'crf': '20', 'preset': 'veryfast'}
        self._stream = self._container.add_stream(
            'libx264', rate=self.fps, options=options
        )
        # yuv420p needs even sides.
        self._stream.height = shape[0] + shape[0] % 2
        self._stream.width = shape[1] + shape[1] % 2
        self._stream.pix_fmt = 'yuv420p'

    def write(self, image: np.ndarray) -> None:
        """Append a frame, RGB uint8 of shape (H, W, 3), all of one shape."""
        if self._container is None:
            self._open(image.shape)
        if image.shape != self._shape:
            raise UserError(
                f'{self.path}: frame {self.frame_count} has shape '
                f'{image.shape}, the frames before it {self._shape}; resize '
                'it first.'
            )
        height, width = image.shape[:2]
        pad = ((0, height % 2), (0, width % 2), (0, 0))
        image = np.ascontiguousarray(np.pad(image, pad, mode='edge'))
        frame = av.VideoFrame.from_ndarray(image, format='rgb24')
        frame.pts = self.frame_count
        frame.time_base = 1 / self.fps
        self._container.mux(self._stream.encode(frame))
        self.frame_count += 1

    def __enter__(self) -> 'VideoWriter':
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        # What was written is removed where something went wrong.
        with self._open_files:
            if error is not None:
                raise error
            if self._container is not None:
                self._container.mux(self._stream.encode())


def write_png(path: PathLike, image: np.ndarray, comment: str = '') -> None:
    """Write an RGB picture, uint8 (H, W, 3), as PNG with a comment.

    Its folder is made where it is missing; a ``WriteError`` says why it cannot
    be written.
    """
    stored = PngInfo()
    stored.add_text('Comment', comment)
    with replacing(path) as part:
        Image.fromarray(image).save(part, 'png', pnginfo=stored)


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
