"""Read the annotation of a video as VidOR publishes it.

``trajectories`` holds, for each frame, a list of boxes with the id of their
object. Ends of relations are exclusive, and so are our spans: no shift.
"""

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..annotation import Track, VideoInfo
from .common import ConversionError, PathLike, need, read_json

_KEYS = ('frame_count', 'fps', 'width', 'height', 'trajectories')
_CORNERS = ('xmin', 'ymin', 'xmax', 'ymax')


@dataclass
class VidORVideo:
    """A video as read.

    Attributes:
        video (VideoInfo): With its tracks.
        notes (Counter): What was repaired.
        skipped (list[str]): Boxes that were dropped, and why.
    """

    video: VideoInfo
    notes: Counter = field(default_factory=Counter)
    skipped: list[str] = field(default_factory=list)


def find_vidor(folder: PathLike) -> dict[str, Path]:
    """Find the file of every video, in nested or flat folders.

    Args:
        folder (PathLike): Holds ``<video id>.json`` at any depth.

    Returns:
        dict[str, Path]: Video id to file.

    Raises:
        FileNotFoundError: There is no such folder, or no JSON file in it.
    """
    if not os.path.isdir(folder):
        raise FileNotFoundError(
            f'folder of VidOR annotations {folder} does not exist; unpack '
            "VidOR's training and validation annotations and give their folder"
        )
    found: dict[str, Path] = {}
    for root, folders, names in os.walk(folder, followlinks=True):
        folders.sort()
        for name in sorted(names):
            if name.endswith('.json'):
                found.setdefault(name[: -len('.json')], Path(root, name))
    if not found:
        raise FileNotFoundError(
            f'no JSON file in {folder} or below; give the folder of the '
            'VidOR annotations (<video id>.json)'
        )
    return found


def read_vidor(path: Path, skip_bad: bool = False) -> VidORVideo:
    """Read the file of a video.

    Args:
        path (Path): ``<video id>.json``.
        skip_bad (bool): Drop and list boxes without an area instead of
            raising. Defaults to False.

    Returns:
        VidORVideo: The video with its tracks, boxes cut to the picture.

    Raises:
        ConversionError: The file is wrong; names frame and track.
    """
    raw = read_json(path)
    need(path, 'top level', raw, _KEYS)
    name = path.stem
    notes: Counter = Counter()
    skipped: list[str] = []
    frames = raw['trajectories']
    frame_count = int(raw['frame_count'])
    if len(frames) > frame_count:
        notes['videos with boxes past frame_count, which was raised'] += 1
        frame_count = len(frames)
    categories = {
        str(thing['tid']): str(thing.get('category', ''))
        for thing in raw.get('subject/objects', ())
    }
    tracks: dict[str, Track] = {}
    for track_id, (numbers, boxes) in _collect(path, frames).items():
        boxes_T4 = _cut(boxes, raw['width'], raw['height'], notes)
        numbers_T, boxes_T4 = _drop_bad(
            path, track_id, numbers, boxes_T4, skip_bad, skipped
        )
        if len(numbers_T):
            if track_id not in categories:
                notes['tracks without a category'] += 1
            tracks[track_id] = Track.from_boxes(
                categories.get(track_id, ''), numbers_T, boxes_T4
            )
    video = VideoInfo(
        video_id=name,
        path=raw.get('video_path') or f'{name}.mp4',
        frame_count=frame_count,
        fps=float(raw['fps']),
        width=int(raw['width']),
        height=int(raw['height']),
        tracks=tracks,
        predicates=tuple(
            sorted(
                {
                    str(relation['predicate'])
                    for relation in raw.get('relation_instances', ())
                }
            )
        ),
    )
    return VidORVideo(video, notes, skipped)


def _collect(
    path: Path, frames: list[list[dict]]
) -> dict[str, tuple[list[int], list[list[float]]]]:
    """Frame numbers and boxes of each track, tracks in order of their id."""
    found: dict[Any, tuple[list[int], list[list[float]]]] = {}
    for number, boxes in enumerate(frames):
        for box in boxes:
            try:
                corners = box['bbox']
                values = [corners[corner] for corner in _CORNERS]
                numbers, kept = found.setdefault(box['tid'], ([], []))
            except (KeyError, TypeError) as error:
                raise ConversionError(
                    path,
                    f'frame {number}',
                    f'a box needs tid and bbox with {", ".join(_CORNERS)}, '
                    f'found {box!r:.120}',
                    'check that this is the official file',
                ) from error
            if numbers and numbers[-1] == number:
                raise ConversionError(
                    path,
                    f'frame {number}, tid {box["tid"]}',
                    'two boxes for one object',
                    'keep one of them',
                )
            numbers.append(number)
            kept.append(values)
    return {str(tid): found[tid] for tid in sorted(found)}


def _cut(
    boxes: list[list[float]], width: int, height: int, notes: Counter
) -> np.ndarray:
    """Cut boxes to the picture; whole numbers that fit become int16."""
    boxes_T4 = np.array(boxes)
    if boxes_T4.dtype.kind not in 'if':
        boxes_T4 = boxes_T4.astype(np.float32)
    inside_T4 = np.clip(boxes_T4, 0, [width, height, width, height])
    changed = int((inside_T4 != boxes_T4).any(1).sum())
    if changed:
        notes['boxes cut to the picture'] += changed
    # A box that was wrong before the cut stays so, for the error to show it.
    wrong = (boxes_T4[:, 2:] <= boxes_T4[:, :2]).any(1)
    inside_T4[wrong] = boxes_T4[wrong]
    if inside_T4.dtype.kind == 'i' and np.abs(inside_T4).max() < 1 << 15:
        return inside_T4.astype(np.int16)
    return inside_T4.astype(np.float32)


def _drop_bad(
    path: Path,
    track_id: str,
    numbers: list[int],
    boxes_T4: np.ndarray,
    skip_bad: bool,
    skipped: list[str],
) -> tuple[np.ndarray, np.ndarray]:
    """Drop boxes without an area, or raise at the first."""
    good = (boxes_T4[:, 2:] > boxes_T4[:, :2]).all(1)
    good &= np.isfinite(boxes_T4).all(1)
    numbers_T = np.array(numbers, dtype=np.int64)
    for place in np.flatnonzero(~good):
        error = ConversionError(
            path,
            f'frame {numbers_T[place]}, tid {track_id}',
            f'box {boxes_T4[place].tolist()} (xmin, ymin, xmax, ymax) has no '
            'area: xmax <= xmin or ymax <= ymin',
            'correct it, or drop and list such boxes with --skip-bad '
            '(skip_bad=True)',
        )
        if not skip_bad:
            raise error
        skipped.append(f'box: {error}')
    return numbers_T[good], boxes_T4[good]
