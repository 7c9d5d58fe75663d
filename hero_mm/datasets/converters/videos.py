"""Where the videos lie below a folder, and whether they are as annotated.

Frame numbers of an annotation count the frames that can be decoded. So where
a file ends a few frames early, the tubes and segments of its annotation end
there too; one that lacks more counts as cut off.

Shape legend: R runs of a track.
"""

import os
from functools import cached_property
from pathlib import Path
from typing import Optional, Union

from ..checks import ERRORS, NOTES, VideoFacts, compare_video
from ..entries import PathLike
from ..picture_reader import is_picture
from ..tracks import VideoInfo
from ..video_base import VIDEO_SUFFIXES
from .summary import ConversionSummary


def files_below(
    folder: PathLike, suffixes: tuple[str, ...]
) -> dict[str, list[str]]:
    """File name to where such files lie below a folder, folders in order.

    A folder with pictures counts as one, too.

    Raises:
        FileNotFoundError: There is no such folder.
    """
    if not os.path.isdir(folder):
        raise FileNotFoundError(
            f'folder {folder} does not exist; unpack it or correct the path'
        )
    found: dict[str, list[str]] = {}
    for root, folders, names in os.walk(folder, followlinks=True):
        folders.sort()
        places = [Path(root, name) for name in sorted(names)]
        places = [p for p in places if p.name.lower().endswith(suffixes)]
        if any(map(is_picture, names)):
            places.append(Path(root))
        for place in places:
            where = Path(os.path.relpath(place, folder)).as_posix()
            found.setdefault(place.name, []).append(where)
    return found


class VideoFolder:
    """The videos in a folder and below it."""

    def __init__(self, folder: PathLike) -> None:
        self.folder = folder

    @cached_property
    def _places(self) -> dict[str, list[str]]:
        return files_below(self.folder, VIDEO_SUFFIXES)

    def find(self, path: str, video_id: str) -> list[str]:
        """Find a video, first where the raw file says, then by its name.

        Gives its path relative to the folder; several where it is not where
        it is said to be and more than one file has its name.
        """
        place = Path(self.folder, path)
        if place.is_file() or (
            place.is_dir() and any(map(is_picture, os.listdir(place)))
        ):
            return [path]
        stems = dict.fromkeys((video_id, place.stem))
        names = [s + suffix for s in stems for suffix in VIDEO_SUFFIXES]
        there = self._places
        return next((there[n] for n in (place.name, *names) if n in there), [])


def adapt(
    video: VideoInfo,
    facts: Union[VideoFacts, str],
    summary: ConversionSummary,
) -> Optional[str]:
    """Compare a video with its file, and cut what lies past the end of it.

    What of length, rate and size is 0 is not annotated and that of the file.
    Gives why the file cannot be read, or is not the annotated one.
    """
    if isinstance(facts, str):
        return facts
    count, known = facts.frame_count, video.frame_count
    ends = [int(track.runs[-1, 1]) for track in video.tracks.values()]
    video.frame_count = known or max(ends, default=count)
    for name in ('fps', 'width', 'height'):
        setattr(video, name, getattr(video, name) or getattr(facts, name) or 0)
    shorter = count < video.frame_count
    for kind, found in compare_video(video, facts).items():
        is_length = kind in ('cut', 'length')
        if kind == 'aspect' or (kind == 'cut' and shorter):
            return f'{video.path}: {found}'
        if shorter or known or not is_length:
            where = f'{video.video_id} ({video.path})'
            summary.note({**ERRORS, **NOTES}[kind], f'{where}: {found}')
    if shorter or not known:
        video.frame_count = count
        for track_id, track in list(video.tracks.items()):
            track.runs = track.runs[track.runs[:, 0] < count]
            track.runs[:, 1] = track.runs[:, 1].clip(max=count)
            if len(track.runs) == 0:
                del video.tracks[track_id]
    return None
