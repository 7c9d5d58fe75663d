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

from ..annotation_checks import is_box
from ..tracks import Track, VideoInfo
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
        raw_T4 = np.array(boxes)
        boxes_T4 = _cut(raw_T4, raw['width'], raw['height'])
        good_T = is_box(boxes_T4)
        _refuse_bad(path, track_id, numbers, raw_T4, good_T, skip_bad, skipped)
        changed_T = (boxes_T4 != raw_T4).any(1) & good_T
        if changed_T.any():
            notes['boxes cut to the picture'] += int(changed_T.sum())
        numbers_T, boxes_T4 = np.array(numbers)[good_T], boxes_T4[good_T]
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


def _cut(raw_T4: np.ndarray, width: int, height: int) -> np.ndarray:
    """Cut boxes to the picture; whole numbers that fit become int16."""
    inside_T4 = np.clip(raw_T4, 0, [width, height, width, height])
    if inside_T4.dtype.kind == 'i' and max(width, height) < 1 << 15:
        return inside_T4.astype(np.int16)
    return inside_T4.astype(np.float32)


def _refuse_bad(
    path: Path,
    track_id: str,
    numbers: list[int],
    raw_T4: np.ndarray,
    good_T: np.ndarray,
    skip_bad: bool,
    skipped: list[str],
) -> None:
    """List boxes without an area in the picture, or raise at the first."""
    for place in np.flatnonzero(~good_T):
        error = ConversionError(
            path,
            f'frame {numbers[place]}, tid {track_id}',
            f'box {raw_T4[place].tolist()} (xmin, ymin, xmax, ymax) has no '
            'area in the picture: xmax <= xmin, ymax <= ymin, or outside',
            'correct it, or drop and list such boxes with --skip-bad '
            '(skip_bad=True)',
        )
        if not skip_bad:
            raise error
        skipped.append(f'box: {error}')
