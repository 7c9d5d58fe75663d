"""Read the annotation of a video as VidOR publishes it.

``trajectories`` holds, for each frame, a list of boxes with the id of their
object. Ends of relations are exclusive, and so are our spans: no shift.
Objects of VidOR's categories are annotated wherever they are visible.
"""

import os
from collections import defaultdict
from pathlib import Path
from typing import Any

from ..action_phrases import PLACES
from ..entries import Entry, PathLike
from ..tracks import VideoInfo
from .boxes import make_track
from .common import ReadVideo, Record, read_json

_KEYS = ('frame_count', 'fps', 'width', 'height', 'trajectories')
CORNERS = ('xmin', 'ymin', 'xmax', 'ymax')
RAISED = 'videos with boxes past frame_count, which was raised'
# Frame numbers and boxes of a track.
_Boxes = tuple[list[int], list[list[float]]]


def find_vidor(folder: PathLike) -> dict[str, list[Path]]:
    """Video id to its file, several where it lies at several places.

    The folders may be nested or flat.

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
    """Read ``<video id>.json``: the video with its tracks, and what was
    repaired.

    A track has the predicates of all relations of the video that it is the
    subject of. It has those that it is the object of, too, where sentences ask
    for the object (*what does he hold?*), and where they are places. Tracks
    are complete unless a box was dropped, with ``skip_bad``.

    Raises:
        ConversionError: The file is wrong; names frame and track.
    """
    file, record = Entry(path, 'top level', read_json(path)), Record(skip_bad)
    file.need(*_KEYS)
    frames = _frames(file)
    frame_count = file.whole('frame_count', least=1)
    name = path.name.partition('.json')[0]
    has_path = bool(file.value.get('video_path'))
    video = VideoInfo(
        video_id=name,
        path=file.text('video_path') if has_path else f'{name}.mp4',
        frame_count=max(frame_count, len(frames)),
        fps=float(file.number('fps', least=1e-3)),
        width=file.whole('width', least=1),
        height=file.whole('height', least=1),
    )
    if len(frames) > frame_count:
        record.note(RAISED, f'{path}: {frame_count} to {len(frames)}')
    true_of: dict[str, set[str]] = defaultdict(set)
    for relation in _entries(file, 'relation_instances'):
        predicate = relation.text('predicate')
        subject, other = map(relation.name, ('subject_tid', 'object_tid'))
        true_of[subject].add(predicate)
        if asks_for_objects or predicate in PLACES:
            true_of[other].add(predicate)
    video.predicates = tuple(sorted(set().union(*true_of.values())))
    categories = {
        thing.name('tid'): thing.text('category')
        for thing in _entries(file, 'subject/objects')
    }
    size = video.width, video.height
    for tid, (numbers, boxes) in _collect(file, frames).items():
        track = make_track(
            file.at(f'tid {tid}', boxes),
            numbers,
            boxes,
            size,
            record,
            categories.get(tid, ''),
        )
        if track is not None:
            track.predicates = tuple(sorted(true_of[tid]))
            video.tracks[tid] = track
            if tid not in categories:
                record.note('tracks without a category', f'{path}, tid {tid}')
    video.tracks_complete = not record.skipped
    return video, record


def _entries(file: Entry, name: str) -> list[Entry]:
    """What stands in a list, which may be missing."""
    values = file.list(name) if name in file.value else []
    return [file.at(f'{name}[{n}]', value) for n, value in enumerate(values)]


def _frames(file: Entry) -> list[list[dict]]:
    """``trajectories``, where it is a list of lists."""
    frames = file.value['trajectories']
    places = [file.at('trajectories', frames)]
    if isinstance(frames, list):
        places = [file.at(f'frame {n}', f) for n, f in enumerate(frames)]
    for place in places:
        if not isinstance(place.value, list):
            found = type(place.value).__name__
            raise place.error(f'expected a list, found {found}')
    return frames


def _collect(file: Entry, frames: list[list[dict]]) -> dict[str, _Boxes]:
    """Frame numbers and boxes of each track, tracks in order of their id."""
    found: dict[Any, _Boxes] = {}
    for number, boxes in enumerate(frames):
        frame = file.at(f'frame {number}', boxes)
        for box in boxes:
            try:
                corners = box['bbox']
                values = [corners[corner] for corner in CORNERS]
                numbers, kept = found.setdefault(box['tid'], ([], []))
            except (KeyError, TypeError) as error:
                raise frame.error(
                    f'a box needs tid and bbox with {", ".join(CORNERS)}, '
                    f'found {box!r:.120}'
                ) from error
            if numbers and numbers[-1] == number:
                raise frame.error(
                    'two boxes for one object',
                    'keep one of them',
                    f'tid {box["tid"]}',
                )
            numbers.append(number)
            kept.append(values)
    kinds = set(map(type, found))
    if kinds not in ({int}, {str}, set()):
        kind = int if int in kinds else str
        tid = next(tid for tid in found if type(tid) is not kind)
        frame = file.at(f'frame {found[tid][0][0]}', tid)
        raise frame.error(
            f'a tid must be a whole number like the others, found {tid!r:.40}'
        )
    return {str(tid): found[tid] for tid in sorted(found)}
