"""Proposals on disk: one file a video, written as a whole or not at all.

Shape legend: F frames, N boxes of all of them. Boxes are xyxy in pixels of
the original video.
"""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from hero_mm.errors import UserError
from hero_mm.files import PathLike, write_bytes


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
    made_by: dict[str, Any]

    def __post_init__(self) -> None:
        number = self.counts.sum()
        if (
            not 0 < len(self.frames) == len(self.counts)
            or (np.diff(self.frames) <= 0).any()
            or (self.counts < 0).any()
            or self.boxes.shape != (number, 4)
            or self.scores.shape != (number,)
        ):
            raise UserError(
                'frames, increasing, and counts (F,) do not go together with '
                'boxes (sum of counts, 4) and their scores'
            )
        good = np.isfinite(self.boxes).all(1) & np.isfinite(self.scores)
        good &= (self.boxes[:, :2] <= self.boxes[:, 2:]).all(1)
        if not good.all():
            place = int(good.argmin())
            raise UserError(
                f'box {self.boxes[place].tolist()} with score '
                f'{self.scores[place]}, not finite x1, y1, x2, y2 in pixels'
            )

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
    name = quote(video_id, safe='', errors='backslashreplace')
    return Path(folder) / f'{name}.npz'


def save_proposals(
    folder: PathLike,
    video_id: str,
    frames: Sequence[int],
    boxes: Sequence[np.ndarray],
    scores: Sequence[np.ndarray],
    size: tuple[int, int],
    made_by: Optional[Mapping[str, Any]] = None,
) -> Path:
    """Write the proposals of a video, and give the file.

    Args:
        folder (PathLike): Made where it is missing.
        video_id (str): Of the annotation.
        frames (Sequence[int]): F increasing native frame numbers.
        boxes (Sequence[np.ndarray]): F times has shape (K_i, 4).
        scores (Sequence[np.ndarray]): F times has shape (K_i,).
        size (tuple[int, int]): (width, height) of the video.
        made_by (Mapping, optional): How they were made, for JSON.

    Raises:
        ValueError: The numbers cannot be.
    """
    made = VideoProposals(
        np.asarray(frames, np.int64),
        np.array([len(one) for one in boxes], np.int64),
        np.concatenate([np.zeros((0, 4)), *boxes]).astype(np.float32),
        np.concatenate([np.zeros(0), *scores]).astype(np.float32),
        size,
        dict(made_by or {}),
    )
    stream = io.BytesIO()
    np.savez_compressed(
        stream, **{**vars(made), 'made_by': np.array(json.dumps(made.made_by))}
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
            kept = dict(data)
        kept['size'] = tuple(kept['size'].tolist())
        kept['made_by'] = json.loads(str(kept['made_by']))
        return VideoProposals(**kept)
    except Exception as error:
        raise UserError(
            f'{path} is no file of proposals ({error}); delete it and make it '
            'again with tools/extract_proposals.py'
        ) from error
