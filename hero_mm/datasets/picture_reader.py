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
        entries = fileio.list_dir_or_file(
            self.path, list_dir=False, backend_args=self._backend_args
        )
        found: dict[int, str] = {}
        for name in filter(is_picture, entries):
            digits = re.search(r'\d+$', Path(name).stem)
            if digits is None or int(digits.group()) in found:
                raise VideoError(
                    self.path,
                    f'picture {name} has no number of its own at the end of '
                    'its name',
                    _CURE,
                )
            found[int(digits.group())] = name
        if not found:
            raise VideoError(
                self.path,
                'is a folder without pictures',
                "correct the path (of a data set: data_prefix['video'])",
            )
        numbers = sorted(found)
        start = min(numbers[0], 1)
        for wanted, number in enumerate(numbers, start):
            if wanted != number:
                raise VideoError(
                    self.path,
                    f'picture {wanted} is missing, before {found[number]}',
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

    def _read(self, wanted: np.ndarray) -> np.ndarray:
        if wanted[-1] >= len(self._names):
            raise self._too_short(len(self._names), wanted)
        images = [self._load(self._names[rank]) for rank in wanted]
        for rank, image in zip(wanted, images):
            if image.shape != images[0].shape:
                raise VideoError(
                    self.path,
                    f'{self._names[rank]} is {image.shape[:2]} (height, '
                    f'width), {self._names[wanted[0]]} is '
                    f'{images[0].shape[:2]}',
                    'give all pictures one size',
                )
        return np.stack(images)

    def _load(self, name: str) -> np.ndarray:
        """One picture, has shape (H, W, 3)."""
        backend = dict(backend_args=self._backend_args)
        data = fileio.get(
            fileio.join_path(self.path, name, **backend), **backend
        )
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
