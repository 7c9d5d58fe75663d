"""Read a video that lies in a folder as one picture a frame.

Shape legend: N frames, H height, W width. Frames are uint8 RGB.
"""

import re
from pathlib import Path
from typing import Optional

import cv2
import numpy as np
from mmengine import fileio

from .video_base import VideoError, VideoReader

SUFFIXES = ('.jpeg', '.jpg', '.png', '.bmp', '.webp')
_CURE = 'unpack the pictures again: the number of a picture says its frame'


def is_picture(name: str) -> bool:
    """Whether a file is a picture, by its name."""
    return name.lower().endswith(SUFFIXES)


class PictureReader(VideoReader):
    """Read pictures, whose names end in their number: ``000017.JPEG``.

    They count from 0 or from 1, and none may be missing: with one missing,
    all after it would be taken for the frame before theirs.

    Args:
        path (str): The folder.
        backend_args (dict, optional): Arguments of the MMEngine storage
            backend. Defaults to None, the local disk.

    Raises:
        VideoError: There is no picture in the folder, or one is missing.
    """

    def __init__(self, path: str, backend_args: Optional[dict] = None) -> None:
        super().__init__(path)
        self._backend_args = backend_args
        self._names = self._list()

    def _list(self) -> list[str]:
        """Names of the pictures, in order of their numbers."""
        found: dict[int, str] = {}
        for name in fileio.list_dir_or_file(
            self.path, list_dir=False, backend_args=self._backend_args
        ):
            if not is_picture(name):
                continue
            number = re.search(r'\d+$', Path(name).stem)
            if number is None:
                raise VideoError(
                    self.path,
                    f'picture {name} has no number at the end of its name',
                    'name the pictures by their frames, as in 000017.jpg',
                )
            other = found.setdefault(int(number.group()), name)
            if other != name:
                raise VideoError(
                    self.path,
                    f'{other} and {name} have the same number',
                    'keep one picture a frame',
                )
        if not found:
            raise VideoError(
                self.path,
                'is a folder without pictures',
                "correct the path (of a data set: data_prefix['video'])",
            )
        numbers = sorted(found)
        start = min(numbers[0], 1)
        gap = next((n for n, m in enumerate(numbers, start) if n != m), None)
        if gap is not None:
            raise VideoError(
                self.path,
                f'picture {gap} is missing between {found[numbers[0]]} and '
                f'{found[numbers[-1]]} ({len(numbers)} pictures)'
                if gap > numbers[0]
                else f'it begins with {found[numbers[0]]}, not with 0 or 1',
                _CURE,
            )
        return [found[number] for number in numbers]

    def close(self) -> None:
        """Nothing is held."""

    @property
    def frame_count(self) -> int:
        """int: Number of pictures."""
        return len(self._names)

    @property
    def fps(self) -> float:
        """float: Not known.

        Raises:
            VideoError: Always.
        """
        raise VideoError(
            self.path,
            'a folder of pictures has no frame rate',
            'make a video of it, or take the rate of its annotation',
        )

    @property
    def size(self) -> tuple[int, int]:
        """tuple[int, int]: (width, height), in pixels."""
        if self._size is None:
            self._load(0)
        assert self._size is not None
        return self._size

    def _read(self, wanted: np.ndarray) -> np.ndarray:
        if wanted[-1] >= len(self._names):
            raise self._too_short(len(self._names), wanted)
        first = self._load(int(wanted[0]))
        out = np.empty((len(wanted), *first.shape), dtype=np.uint8)
        out[0] = first
        for place, rank in enumerate(wanted[1:].tolist(), 1):
            image = self._load(rank)
            if image.shape != first.shape:
                raise VideoError(
                    self.path,
                    f'{self._names[rank]} is {image.shape[:2]} (height, '
                    f'width), {self._names[int(wanted[0])]} is '
                    f'{first.shape[:2]}',
                    'give all pictures one size',
                )
            out[place] = image
        return out

    def _load(self, rank: int) -> np.ndarray:
        """One picture, has shape (H, W, 3)."""
        name = self._names[rank]
        where = fileio.join_path(
            self.path, name, backend_args=self._backend_args
        )
        data = fileio.get(where, backend_args=self._backend_args)
        image = None
        if data:
            image = cv2.imdecode(
                np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR
            )
        if image is None:
            raise VideoError(
                self.path, f'{name} is damaged ({len(data)} bytes)', _CURE
            )
        self._size = image.shape[1], image.shape[0]
        size = self._reduced(*self._size)
        if size != self._size:
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
