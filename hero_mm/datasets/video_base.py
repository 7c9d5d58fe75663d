"""What a reader of videos gives, and the error of a video that is broken.

Shape legend: N frames, H height, W width. Frames are uint8 RGB, turned as the
video is to be displayed.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Optional

import numpy as np
from numpy.typing import ArrayLike

from hero_mm.errors import UserError

VIDEO_SUFFIXES = (
    *('.mp4', '.m4v', '.mov', '.mkv', '.webm', '.avi', '.mpg', '.mpeg'),
    *('.ts', '.mts', '.m2ts', '.wmv', '.flv', '.ogv', '.3gp', '.ivf'),
)
"""How videos in a folder end; one that is named may end as it likes."""
# Width : height of a video encoded again differs by no more than this.
_ASPECT_TOLERANCE = 0.02
# A file that lacks a larger part of its frames is taken for a cut-off one.
ENOUGH = 0.95


def same_aspect(size: tuple[int, int], annotated: tuple[int, int]) -> bool:
    """Whether a video may be the annotated one, encoded at another size."""
    ratio = (size[0] / size[1]) / (annotated[0] / annotated[1])
    return abs(ratio - 1) <= _ASPECT_TOLERANCE


class VideoError(UserError):
    """A video cannot be read: the file, what was found, what to do."""

    def __init__(
        self,
        path: str,
        found: str,
        cure: str = 'fetch or encode the file again, or leave it out',
    ) -> None:
        super().__init__(path, found, cure)
        self.path = path
        self.found = found
        self.cure = cure

    def __str__(self) -> str:
        return f'video {self.path}: {self.found}. Cure: {self.cure}.'


class VideoReader(ABC):
    """Frames of one video by index; use it as a context manager."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._max_side: Optional[int] = None
        # Of whole frames, as displayed, once one was decoded.
        self._size: Optional[tuple[int, int]] = None

    def __enter__(self) -> 'VideoReader':
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    def get_frames(
        self, indices: ArrayLike, max_side: Optional[int] = None
    ) -> np.ndarray:
        """Decode frames to uint8 RGB of shape (N, H, W, 3).

        Args:
            indices (ArrayLike): N frame numbers from 0 on, in any order.
            max_side (int, optional): Frames whose longer side has more pixels
                are reduced to that while they are decoded.

        Raises:
            ValueError: An index is negative, or there is none.
            VideoError: The file is broken, or ends before an index.
        """
        wanted = np.asarray(indices, dtype=np.int64)
        if wanted.ndim != 1 or len(wanted) == 0 or wanted.min() < 0:
            raise UserError(
                f'video {self.path}: frame indices must be one or more '
                f'numbers from 0 on, got {indices!r:.80}'
            )
        self._max_side = max_side
        unique, inverse = np.unique(wanted, return_inverse=True)
        if np.array_equal(unique, wanted):
            return self._read(wanted)
        return self._read(unique)[inverse]

    def stream(
        self, ranks: Iterable[int], max_side: Optional[int] = None
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Decode frames in order, one at a time, and hold none of them.

        Args:
            ranks (Iterable[int]): Strictly increasing frame numbers, without
                an end where all of the video is wanted.
            max_side (int, optional): As :meth:`get_frames` takes it.

        Yields:
            tuple[int, np.ndarray]: Its number and the frame, (H, W, 3).
        """
        for rank in ranks:
            if rank >= self.frame_count:
                return
            yield rank, self.get_frames([rank], max_side)[0]

    @property
    def header_seconds(self) -> Optional[float]:
        """float, optional: How long the header says it is; not decoded."""
        return None

    def check_whole(self) -> int:
        """The number of frames; VideoError where the file was cut off.

        It holds clearly less than its header says then, or decoding stops.
        """
        return self.frame_count

    @abstractmethod
    def _read(self, wanted: np.ndarray) -> np.ndarray:
        """Decode strictly increasing frame numbers."""

    @property
    @abstractmethod
    def frame_count(self) -> int:
        """int: Number of frames, counted in the file."""

    @property
    def times(self) -> np.ndarray:
        """np.ndarray: Seconds at which each frame is shown, from 0 on."""
        return np.arange(self.frame_count) / self.fps

    @property
    def edges(self) -> np.ndarray:
        """np.ndarray: The same, and the second at which the last one ends."""
        times = self.times
        return np.append(times, times[-1] + 1 / self.fps)

    @property
    @abstractmethod
    def fps(self) -> float:
        """float: Mean frames a second."""

    @property
    def pixel_aspect(self) -> float:
        """float: Width of a stored pixel, as displayed, in its heights."""
        return 1.0

    @property
    def size(self) -> tuple[int, int]:
        """tuple[int, int]: (width, height) as displayed, in stored pixels."""
        if self._size is None:
            self.get_frames([0])
        assert self._size is not None
        return self._size

    @abstractmethod
    def close(self) -> None:
        """Free the file."""

    def _reduced(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of what is given of frames of this size."""
        longer = max(width, height)
        if self._max_side is None or longer <= self._max_side:
            return width, height
        share = self._max_side / longer
        return max(1, round(share * width)), max(1, round(share * height))

    def _too_short(self, count: int, wanted: np.ndarray) -> VideoError:
        return VideoError(
            self.path,
            f'frame {wanted[-1]} was asked for, the file has {count} frames '
            'that can be decoded',
            'fetch the file again if it was cut off, or convert its '
            'annotation with --videos, which cuts it to the frames there are',
        )
