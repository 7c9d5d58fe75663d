"""Choose the frames of a clip.

Shape legend: K queries, T sampled frames. Frame numbers are native; segments
and spans are half-open ``[start, end)``.
"""

from dataclasses import dataclass
from typing import Optional

import numpy as np
from mmcv.transforms import BaseTransform

from hero_mm.errors import UserError
from hero_mm.registry import TRANSFORMS

from ..tracks import MOST_FRAMES

MODES = ('uniform', 'fps')


def uniform_grid(
    start: int, end: int, num_frames: int, place: float = 0.5
) -> np.ndarray:
    """One frame of each of T equal parts of a segment ``[start, end)``.

    All are at the same ``place`` of their part, by default in its middle.

    Returns:
        np.ndarray: Strictly increasing int64, has shape (min(T, length),);
        all frames where there are fewer than T.
    """
    length = end - start
    if length <= num_frames:
        return np.arange(start, end, dtype=np.int64)
    places = (np.arange(num_frames) + place) * length / num_frames
    return start + np.floor(places).astype(np.int64)


def fps_grid(
    start: int,
    end: int,
    native_fps: float,
    fps: float,
    max_frames: Optional[int] = None,
) -> np.ndarray:
    """Frames at a lower rate, by the greedy rule of TubeDETR.

    A frame is taken when ``int(frame * fps / native_fps)`` has grown since
    the last one taken; of more than ``max_frames``, every
    ``n / max_frames``-th stays.

    Returns:
        np.ndarray: Strictly increasing int64, has shape (T,).
    """
    frames = np.arange(start, end, dtype=np.int64)
    steps = np.floor(frames * (fps / native_fps))
    frames = frames[np.diff(steps, prepend=-1) > 0]
    if max_frames is not None and len(frames) > max_frames:
        picks = np.arange(max_frames) * len(frames) // max_frames
        frames = frames[picks]
    return frames


def check_shares(**shares: float) -> None:
    """ValueError where one is no share, percent for example."""
    for name, share in shares.items():
        if not 0 <= share <= 1:
            raise UserError(f'{name} must be in [0, 1], got {share}')


@TRANSFORMS.register_module()
@dataclass(eq=False)
class SampleClipFrames(BaseTransform):
    """Choose which frames of the ``segment`` the model sees: ``frame_inds``.

    Args:
        num_frames (int, optional): Frames T of the mode 'uniform'. A shorter
            segment gives all its frames, none twice.
        fps (float, optional): Frames a second of the mode 'fps'.
        max_frames (int, optional): Most frames of the mode 'fps'.
        mode (str): 'uniform' (the middles of equal parts) or 'fps' (the grid
            that TubeDETR is scored on).
        jitter (bool): Take a random place of the parts, the same in each,
            instead of their middle; for training. The steps stay equal, so
            that speeds do.
        crop_prob (float): Chance of cutting the segment at random so that the
            spans of all queries stay whole; for training.
        min_frames (int): The least native frames that a cut leaves.
    """

    num_frames: Optional[int] = None
    fps: Optional[float] = None
    max_frames: Optional[int] = None
    mode: str = 'uniform'
    jitter: bool = False
    crop_prob: float = 0.0
    min_frames: int = 1

    def __post_init__(self) -> None:
        count, fps = self.num_frames, self.fps
        if self.mode not in MODES:
            raise UserError(f'mode must be one of {MODES}, got {self.mode!r}')
        if self.mode == 'uniform' and (count is None or count < 1):
            raise UserError(
                f"mode 'uniform' needs num_frames >= 1, got {count}"
            )
        if self.mode == 'fps' and (fps is None or fps <= 0):
            raise UserError(f"mode 'fps' needs fps > 0, got {fps}")
        if self.mode == 'fps' and self.jitter:
            raise UserError("mode 'fps' is a fixed grid; set jitter=False")
        check_shares(crop_prob=self.crop_prob)

    def transform(self, results: dict) -> dict:
        """Choose the frames."""
        start, end = results['segment']
        if not 0 <= start < end or end - start > MOST_FRAMES:
            raise UserError(
                f'the segment [{start}, {end}) must have 1 to '
                f'{MOST_FRAMES:,} frames, from 0 on; a segment of one frame '
                'is [n, n + 1)'
            )
        if self.crop_prob > 0:
            spans = [q['span'] for q in results['queries'] if 'span' in q]
            if spans:
                low = min(span[0] for span in spans)
                high = max(span[1] for span in spans)
                start, end = self._random_cut(start, end, low, high)
        results['segment'] = (int(start), int(end))
        if self.mode == 'fps':
            results['frame_inds'] = fps_grid(
                start, end, results['fps'], self.fps or 0.0, self.max_frames
            )
        else:
            count, place = self.num_frames or 1, 0.5
            if self.jitter and end - start > count:
                place = np.random.rand()
            results['frame_inds'] = uniform_grid(start, end, count, place)
        return results

    def _random_cut(
        self, start: int, end: int, low: int, high: int
    ) -> tuple[int, int]:
        """A part of the segment that holds ``[low, high)``."""
        if np.random.rand() >= self.crop_prob:
            return start, end
        new_start = np.random.randint(start, low + 1)
        new_end = np.random.randint(high, end + 1)
        missing = self.min_frames - (new_end - new_start)
        if missing > 0:
            new_end = min(end, new_end + missing)
            new_start = max(start, min(new_start, new_end - self.min_frames))
        return int(new_start), int(new_end)
