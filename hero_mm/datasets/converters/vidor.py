"""Read the annotation of a video as VidOR publishes it.

``trajectories`` holds, for each frame, a list of boxes with the id of their
object. Ends of relations are exclusive, and so are our spans: no shift.
Objects of VidOR's categories are annotated wherever they are visible.
"""

import os
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..action_phrases import PLACES
from ..tracks import VideoInfo
from .boxes import make_track
from .common import (
    ConversionError,
    PathLike,
    ReadVideo,
    need,
    read_json,
    read_list,
    read_name,
    read_number,
    read_text,
    read_whole,
)

_KEYS = ('frame_count', 'fps', 'width', 'height', 'trajectories')
CORNERS = ('xmin', 'ymin', 'xmax', 'ymax')
RAISED = 'videos with boxes past frame_count, which was raised'


def find_vidor(folder: PathLike) -> dict[str, list[Path]]:
    """Find the file of every video, in nested or flat folders.

    Args:
        folder (PathLike): Holds ``<video id>.json`` at any depth.

    Returns:
        dict[str, list[Path]]: Video id to its file, several where it lies at
        several places.

    Raises:
        FileNotFoundError: There is no such folder, or no JSON file in it.
    """
    if not os.path.isdir(folder):
        raise FileNotFoundError(
            f'folder of VidOR annotations {folder} does not exist; unpack '
            "VidOR's training and validation annotations and give their folder"
        )
    found: dict[str, list[Path]] = {}
    for root, folders, names in os.walk(folder, followlinks=True):
        folders.sort()
        for name in sorted(names):
            stem, dot, _ = name.partition('.json')
            if dot and name.endswith(('.json', '.json.gz')):
                found.setdefault(stem, []).append(Path(root, name))
    if not found:
        raise FileNotFoundError(
            f'no JSON file in {folder} or below; give the folder of the '
            'VidOR annotations (<video id>.json)'
        )
    return found


def read_vidor(
    path: Path, skip_bad: bool = False, asks_for_objects: bool = True
) -> ReadVideo:
    """Read the file of a video.

    A track has the predicates of all relations of the video that it is the
    subject of. It has those that it is the object of, too, where sentences
    ask for the object (*what does he hold?*), and where they are places.

    Args:
        path (Path): ``<video id>.json``.
        skip_bad (bool): Drop and list boxes without an area instead of
            raising. Defaults to False.
        asks_for_objects (bool): Whether sentences of the data set ask for
            the object of a relation. Defaults to True.

    Returns:
        ReadVideo: The video with its tracks, boxes cut to the picture. They
        are complete unless a box was dropped.

    Raises:
        ConversionError: The file is wrong; names frame and track.
    """
    raw = read_json(path)
    need(path, 'top level', raw, _KEYS)
    frames = _frames(path, raw['trajectories'])
    frame_count = read_whole(path, 'top level', raw, 'frame_count', least=1)
    video = VideoInfo(
        video_id=_video_id(path),
        path=_video_path(path, raw),
        frame_count=max(frame_count, len(frames)),
        fps=float(read_number(path, 'top level', raw, 'fps', least=1e-3)),
        width=read_whole(path, 'top level', raw, 'width', least=1),
        height=read_whole(path, 'top level', raw, 'height', least=1),
    )
    read = ReadVideo(video)
    if len(frames) > frame_count:
        read.note(RAISED, f'{path}: {frame_count} to {len(frames)}')
    true_of = _relations(path, raw, asks_for_objects)
    video.predicates = tuple(sorted(set().union(*true_of.values())))
    things = 'subject/objects'
    categories = dict(
        zip(
            _told(path, raw, things, 'tid', read_name),
            _told(path, raw, things, 'category'),
        )
    )
    for track_id, (numbers, boxes) in _collect(path, frames).items():
        track = make_track(
            path,
            f'tid {track_id}',
            numbers,
            boxes,
            (video.width, video.height),
            read,
            categories.get(track_id, ''),
            skip_bad,
        )
        if track is not None:
            track.predicates = tuple(sorted(true_of[track_id]))
            video.tracks[track_id] = track
            if track_id not in categories:
                kind = 'tracks without a category'
                read.note(kind, f'{path}, tid {track_id}')
    video.tracks_complete = not read.skipped
    return read


def _relations(
    path: Path, raw: dict, asks_for_objects: bool
) -> defaultdict[str, set[str]]:
    """Track id to the predicates that are true of it."""
    name = 'relation_instances'
    true_of: defaultdict[str, set[str]] = defaultdict(set)
    for subject, other, predicate in zip(
        _told(path, raw, name, 'subject_tid', read_name),
        _told(path, raw, name, 'object_tid', read_name),
        _told(path, raw, name, 'predicate'),
    ):
        true_of[subject].add(predicate)
        if asks_for_objects or predicate in PLACES:
            true_of[other].add(predicate)
    return true_of


def _video_id(path: Path) -> str:
    return path.name.partition('.json')[0]


def _video_path(path: Path, raw: dict) -> str:
    """Where the file says that the video lies."""
    if not raw.get('video_path'):
        return f'{_video_id(path)}.mp4'
    return read_text(path, 'top level', raw, 'video_path')


def _told(
    path: Path,
    raw: dict,
    name: str,
    key: str,
    read: Callable[[PathLike, str, Any, str], str] = read_text,
) -> list[str]:
    """What stands under a key in each entry of a list."""
    entries = read_list(path, 'top level', raw, name) if name in raw else []
    return [
        read(path, f'{name}[{place}]', entry, key)
        for place, entry in enumerate(entries)
    ]


def _frames(path: Path, frames: Any) -> list[list[dict]]:
    """``trajectories``, where it is a list of lists."""
    if isinstance(frames, list):
        wrong = (n for n, f in enumerate(frames) if not isinstance(f, list))
        place = next(wrong, None)
        if place is None:
            return frames
        where, found = f'frame {place}', type(frames[place]).__name__
    else:
        where, found = 'trajectories', type(frames).__name__
    raise ConversionError(
        path,
        where,
        f'expected a list, found {found}',
        'check that this is the official file',
    )


def _collect(
    path: Path, frames: list[list[dict]]
) -> dict[str, tuple[list[int], list[list[float]]]]:
    """Frame numbers and boxes of each track, tracks in order of their id."""
    found: dict[Any, tuple[list[int], list[list[float]]]] = {}
    for number, boxes in enumerate(frames):
        for box in boxes:
            try:
                corners = box['bbox']
                values = [corners[corner] for corner in CORNERS]
                numbers, kept = found.setdefault(box['tid'], ([], []))
            except (KeyError, TypeError) as error:
                raise ConversionError(
                    path,
                    f'frame {number}',
                    f'a box needs tid and bbox with {", ".join(CORNERS)}, '
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
    _check_tids(path, found)
    return {str(tid): found[tid] for tid in sorted(found)}


def _check_tids(path: Path, found: dict[Any, tuple[list[int], Any]]) -> None:
    """Refuse ids that are nothing, or not all numbers or all text."""
    if set(map(type, found)) in ({int}, {str}, set()):
        return
    kind = int if int in map(type, found) else str
    tid = next(tid for tid in found if type(tid) is not kind)
    raise ConversionError(
        path,
        f'frame {found[tid][0][0]}',
        f'a tid must be a whole number like the others, found {tid!r:.40}',
        'check that this is the official file',
    )
