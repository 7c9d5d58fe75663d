"""Proposals on disk: one file a video, written as a whole or not at all.

Shape legend: F frames, N boxes of all of them. Boxes are xyxy in pixels of
the original video.
"""

import io
import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional, Union
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from hero_mm.errors import UserError
from hero_mm.files import write_bytes

PathLike = Union[str, Path]
_FIELDS = ('frames', 'counts', 'boxes', 'scores', 'size', 'made_by')
_BROKEN = (
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    OSError,
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True)
class VideoProposals:
    """Proposals of a video.

    Attributes:
        frames (np.ndarray): Native frame numbers, increasing, int64, has
            shape (F,).
        counts (np.ndarray): Boxes of each frame, int64, has shape (F,).
        boxes (np.ndarray): Frame by frame, best first, float32, has shape
            (N, 4).
        scores (np.ndarray): In [0, 1], float32, has shape (N,).
        size (tuple[int, int]): (width, height) of the video.
        made_by (dict): How they were made.
    """

    frames: NDArray[np.int64]
    counts: NDArray[np.int64]
    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    size: tuple[int, int]
    made_by: dict[str, Any] = field(default_factory=dict)

    def at(
        self, frame: int
    ) -> tuple[int, NDArray[np.float32], NDArray[np.float32]]:
        """The nearest frame that has proposals, boxes (K, 4), scores (K,)."""
        place = int(np.abs(self.frames - frame).argmin())
        start = int(self.counts[:place].sum())
        part = slice(start, start + int(self.counts[place]))
        return int(self.frames[place]), self.boxes[part], self.scores[part]


def proposal_path(folder: PathLike, video_id: str) -> Path:
    """File of a video, ``<video id>.npz`` with unusual characters quoted."""
    return Path(folder) / f'{quote(video_id, safe="")}.npz'


def save_proposals(
    folder: PathLike,
    video_id: str,
    frames: Sequence[int],
    boxes: Sequence[np.ndarray],
    scores: Sequence[np.ndarray],
    size: tuple[int, int],
    made_by: Optional[Mapping[str, Any]] = None,
) -> Path:
    """Write the proposals of a video.

    Args:
        folder (PathLike): Made where it is missing.
        video_id (str): Of the annotation.
        frames (Sequence[int]): F increasing native frame numbers.
        boxes (Sequence[np.ndarray]): F times has shape (K_i, 4).
        scores (Sequence[np.ndarray]): F times has shape (K_i,).
        size (tuple[int, int]): (width, height) of the video.
        made_by (Mapping, optional): How they were made, for JSON.

    Returns:
        Path: The file.

    Raises:
        ValueError: The numbers cannot be.
    """
    if not len(frames):
        raise UserError(f'no frames of proposals of video {video_id!r}')
    arrays: dict[str, Any] = dict(
        frames=np.asarray(frames, np.int64),
        counts=np.array([len(one) for one in boxes], np.int64),
        boxes=np.concatenate(boxes).astype(np.float32).reshape(-1, 4),
        scores=np.concatenate(scores).astype(np.float32),
    )
    wrong = _wrong_numbers(**arrays)
    if wrong:
        raise UserError(f'proposals of video {video_id!r}: {wrong}')
    stream = io.BytesIO()
    np.savez_compressed(
        stream,
        size=np.array(size, np.int64),
        made_by=np.array(json.dumps(dict(made_by or {}))),
        **arrays,
    )
    path = proposal_path(folder, video_id)
    write_bytes(path, stream.getvalue())
    return path


def load_proposals(folder: PathLike, video_id: str) -> VideoProposals:
    """Read the proposals of a video.

    Raises:
        FileNotFoundError: There is none of this video.
        ValueError: The file is not one of ours, or its numbers cannot be.
    """
    path = proposal_path(folder, video_id)
    if not path.is_file():
        raise FileNotFoundError(
            f'no proposals of video {video_id!r} at {path}; make them with '
            'tools/extract_proposals.py'
        )
    try:
        with np.load(path) as data:
            *arrays, size, made_by = (data[name] for name in _FIELDS)
            frames, counts, boxes, scores = arrays
            width, height = size.tolist()
            how = json.loads(str(made_by))
    except _BROKEN as error:
        raise UserError(
            f'{path} is no file of proposals ({error}); delete it and make it '
            'again with tools/extract_proposals.py'
        ) from error
    wrong = _wrong_numbers(frames, counts, boxes, scores)
    if wrong:
        raise UserError(
            f'{path}: {wrong}; make the file again, with '
            'tools/extract_proposals.py or save_proposals'
        )
    return VideoProposals(frames, counts, boxes, scores, (width, height), how)


def _wrong_numbers(
    frames: np.ndarray,
    counts: np.ndarray,
    boxes: np.ndarray,
    scores: np.ndarray,
) -> Optional[str]:
    """What cannot be in the numbers of a file; None where all is well."""
    shapes = frames.shape, counts.shape, boxes.shape, scores.shape
    number = int(counts.sum()) if counts.dtype.kind in 'iu' else -1
    one_each = (counts.size,)
    wanted = one_each, one_each, (number, 4), (number,)
    if shapes != wanted or number < 0 or frames.dtype.kind not in 'iu':
        return (
            'frames and counts (F,) and boxes (sum of counts, 4) with scores '
            f'do not go together: shapes {", ".join(map(str, shapes))}, '
            f'{number} boxes counted'
        )
    if not len(frames) or (counts < 0).any() or (np.diff(frames) <= 0).any():
        return 'there must be frames, increasing, and no count below 0'
    owner = np.repeat(frames, counts)
    good = np.isfinite(boxes).all(1) & np.isfinite(scores)
    good &= (boxes[:, :2] <= boxes[:, 2:]).all(1)
    if not good.all():
        place = int(good.argmin())
        return (
            f'a box of frame {owner[place]} is {boxes[place].tolist()} with '
            f'score {scores[place]}, not finite x1, y1, x2, y2 in pixels'
        )
    return None
