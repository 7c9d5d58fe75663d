"""Videos and the tracks of their objects.

Shape legend: N boxes of all tracks, T frames, R runs of a track. Boxes are
xyxy in pixels, ``(x2, y2)`` exclusive. Frame numbers are native and 0-based.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Optional, Union

import numpy as np
from numpy.typing import ArrayLike

from hero_mm.errors import UserError

MOST_FRAMES = 10_000_000
"""A video of more frames (four days) is damage, and would fill the memory."""


class TrackStore:
    """The array of all boxes of an annotation file.

    A file is memory-mapped; its pickle holds the path alone, so that worker
    processes share the pages instead of copying them.

    Args:
        path (str): The ``.npy`` file, or '' for an array in memory.
        array (np.ndarray, optional): The boxes, has shape (N, 4).
    """

    def __init__(self, path: str, array: Optional[np.ndarray] = None) -> None:
        self.path = path
        self._array = array

    @property
    def array(self) -> np.ndarray:
        """np.ndarray: The boxes, has shape (N, 4), int16 or float32."""
        if self._array is None:
            self._array = np.load(self.path, mmap_mode='r')
        return self._array

    def __getstate__(self) -> dict:
        state = self.__dict__.copy()
        if self.path:
            state['_array'] = None
        return state


@dataclass
class Track:
    """The boxes of one object.

    Attributes:
        category (str): What the object is.
        runs (np.ndarray): int64, has shape (R, 3): frames ``begin .. end-1``
            have their boxes in the rows from ``row`` on. Sorted by ``begin``.
        boxes (np.ndarray, optional): The rows. None where they lie in the
            store of the video.
        predicates (tuple[str, ...]): What is true of it at any time.
    """

    category: str
    runs: np.ndarray
    boxes: Optional[np.ndarray] = None
    predicates: tuple[str, ...] = ()

    @property
    def frames(self) -> np.ndarray:
        """np.ndarray: Frames that have a box, increasing, has shape (T,)."""
        spans = [np.arange(begin, end) for begin, end, _ in self.runs.tolist()]
        return np.concatenate(spans) if spans else np.zeros(0, np.int64)

    @classmethod
    def from_boxes(
        cls,
        category: str,
        frames: Union[Sequence[int], np.ndarray],
        boxes: ArrayLike,
        predicates: tuple[str, ...] = (),
    ) -> 'Track':
        """Make a track from its frames.

        Args:
            category (str): What the object is.
            frames (Sequence[int]): Native numbers, in any order, each once.
            boxes (ArrayLike): xyxy pixels, has shape (len(frames), 4).
            predicates (tuple[str, ...]): What is true of it.
        """
        shape = np.shape(boxes)
        if shape != (len(frames), 4) and (len(frames) or np.size(boxes)):
            raise UserError(
                f'{len(frames)} frames of a track need boxes of shape '
                f'({len(frames)}, 4), found {shape}; give one box a frame'
            )
        order = np.argsort(np.asarray(frames, dtype=np.int64), kind='stable')
        frames_T = np.asarray(frames, dtype=np.int64)[order]
        if (np.diff(frames_T) == 0).any():
            raise UserError(
                f'frame {frames_T[:-1][np.diff(frames_T) == 0][0]} occurs '
                'twice in a track; give one box a frame'
            )
        boxes_T4 = np.asarray(boxes).reshape(-1, 4)[order]
        starts = np.flatnonzero(np.diff(frames_T, prepend=-2) != 1)
        ends = np.append(starts[1:], len(frames_T))
        runs = np.stack(
            [frames_T[starts], frames_T[starts] + (ends - starts), starts], 1
        )
        return cls(category, runs, boxes_T4, predicates)

    @classmethod
    def from_key_frames(
        cls,
        category: str,
        frames: Union[Sequence[int], np.ndarray],
        boxes: ArrayLike,
        shown: Optional[Sequence[bool]] = None,
        runs_on: Optional[Sequence[bool]] = None,
        end: Optional[int] = None,
    ) -> 'Track':
        """Make a track from boxes on key frames, linear between them.

        Args:
            category (str): See :meth:`from_boxes`.
            frames (Sequence[int]): See :meth:`from_boxes`.
            boxes (ArrayLike): See :meth:`from_boxes`.
            shown (Sequence[bool], optional): Whether the object is there on
                each key frame. Defaults to None: on all.
            runs_on (Sequence[bool], optional): Whether it is there from each
                key frame to the next one. Defaults to None: ``shown``.
            end (int, optional): Where the last key frame runs on, its box is
                held up to here, exclusive. Defaults to None: not at all.
        """
        keys = cls.from_boxes(category, frames, boxes)
        if keys.boxes is None or not len(keys.boxes):
            return keys
        frames_K = np.asarray(frames, dtype=np.int64)
        order = np.argsort(frames_K)
        shown_K = np.ones(len(order), bool) if shown is None else shown
        shown_K = np.asarray(shown_K, bool)[order]
        on_K = shown_K if runs_on is None else np.asarray(runs_on, bool)[order]
        frames_K = frames_K[order]
        stop = max(int(frames_K[-1]) + 1, end or 0)
        frames_T = np.arange(frames_K[0], stop)
        place_T = np.searchsorted(frames_K, frames_T, side='right') - 1
        is_key_T = frames_K[place_T] == frames_T
        there_T = np.where(is_key_T, shown_K[place_T], on_K[place_T])
        boxes_T4 = interpolate(frames_T, keys.frames, keys.boxes)
        return cls.from_boxes(category, frames_T[there_T], boxes_T4[there_T])


@dataclass
class VideoInfo:
    """One video and the objects annotated in it.

    Attributes:
        video_id (str): Name of the video in the annotation file.
        path (str): Relative to ``data_prefix['video']``.
        frame_count (int), fps (float): Frames, and how many a second.
        width (int), height (int): Size in pixels, as it is displayed.
        tracks (dict[str, Track]): Track id to track.
        store (TrackStore, optional): Boxes of tracks without own ones.
        predicates (tuple[str, ...]): All that happens in the video.
        tracks_complete (bool): Whether every object of the data set's kind
            has a box on each frame where it is visible.
    """

    video_id: str
    path: str
    frame_count: int
    fps: float
    width: int
    height: int
    tracks: dict[str, Track] = field(default_factory=dict)
    store: Optional[TrackStore] = None
    predicates: tuple[str, ...] = ()
    tracks_complete: bool = False

    def rows(self, track_id: str) -> np.ndarray:
        """The array that the runs of a track point into, of shape (N, 4)."""
        boxes = self._track(track_id).boxes
        if boxes is None and self.store is not None:
            boxes = self.store.array
        if boxes is None:
            raise UserError(
                f'track {track_id!r} of video {self.video_id!r} has runs but '
                'the video has no array of boxes; give `store`'
            )
        return boxes

    def track_boxes(
        self, track_id: str, frames: ArrayLike
    ) -> tuple[np.ndarray, np.ndarray]:
        """Boxes of a track on T native frames: float32 (T, 4), zeros where
        there is none, and whether there is one, bool (T,).
        """
        runs = self._track(track_id).runs
        frames_T = np.asarray(frames, dtype=np.int64)
        boxes_T4 = np.zeros((len(frames_T), 4), dtype=np.float32)
        if len(runs) == 0:
            return boxes_T4, np.zeros(len(frames_T), dtype=bool)
        place = np.searchsorted(runs[:, 0], frames_T, side='right') - 1
        run = runs[np.maximum(place, 0)]
        valid_T = (place >= 0) & (frames_T < run[:, 1])
        rows = run[:, 2] + frames_T - run[:, 0]
        boxes_T4[valid_T] = self.rows(track_id)[rows[valid_T]]
        return boxes_T4, valid_T

    def _track(self, track_id: str) -> Track:
        track = self.tracks.get(track_id)
        if track is None:
            raise KeyError(
                f'video {self.video_id!r} has no track {track_id!r}; it has '
                f'{sorted(self.tracks)}'
            )
        return track


def interpolate(
    frames: np.ndarray, known: np.ndarray, boxes: np.ndarray
) -> np.ndarray:
    """Boxes (T, 4) on T frames, linear between those of known frames (K,)."""
    return np.stack([np.interp(frames, known, side) for side in boxes.T], 1)


def frames_of_span(
    span: tuple[float, float], segment: tuple[int, int]
) -> np.ndarray:
    """Frames of a segment that begin in a span, int64; where none does, the
    one that shows its middle.
    """
    first, last = segment
    start = max(int(np.ceil(span[0])), first)
    end = min(int(np.ceil(span[1])), last)
    if end <= start:
        middle = int(np.floor((span[0] + span[1]) / 2))
        start = min(max(middle, first), last - 1)
        end = start + 1
    return np.arange(start, end, dtype=np.int64)
