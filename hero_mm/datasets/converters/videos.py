"""Where the videos lie below a folder, and whether they are as annotated.

Frame numbers of an annotation count the frames that can be decoded. So where
a file ends a few frames early, the tubes and segments of its annotation end
there too; one that lacks more counts as cut off.

Shape legend: R runs of a track.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Optional, Union

from ..checks import compare_video
from ..entries import ConversionError, PathLike
from ..picture_reader import is_picture
from ..tracks import VideoInfo
from ..video_base import VIDEO_SUFFIXES
from ..video_facts import VideoCheck, VideoFacts, probe_videos
from .summary import ConversionSummary

TWICE = 'videos found at several places, the first in order taken'
SHORTER = 'videos with fewer frames than annotated, tubes cut to them'
LONGER = 'videos with more frames than annotated (kept as annotated)'
RESIZED = 'videos of another size than annotated (boxes are scaled)'
FPS = 'videos with another frame rate than annotated (kept as annotated)'
_NAMED = 5


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
        self._places: Optional[dict[str, list[str]]] = None

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
        if self._places is None:
            self._places = files_below(self.folder, VIDEO_SUFFIXES)
        stems = dict.fromkeys((video_id, place.stem))
        names = [s + suffix for s in stems for suffix in VIDEO_SUFFIXES]
        for name in (place.name, *names):
            if name in self._places:
                return self._places[name]
        return []


def place_videos(
    infos: Iterable[VideoInfo],
    check: VideoCheck,
    source: PathLike,
    summary: ConversionSummary,
    lengths_known: bool = True,
) -> dict[str, VideoInfo]:
    """Set the path of each video to where it lies, and verify it.

    Videos that are shorter than annotated get the frame count of their file,
    and their tracks are cut.

    Args:
        infos (Iterable[VideoInfo]): With the paths of the raw file.
        check (VideoCheck): The folder, and how it is verified.
        source (PathLike): The raw file, for errors.
        summary (ConversionSummary): Lists what is missing or differs.
        lengths_known (bool): Whether the raw file has the number of frames;
            else it is that of the video.

    Returns:
        dict[str, VideoInfo]: The videos that can be used, by their id; where
        some cannot and may not be left out, an error names them.
    """
    films, videos = VideoFolder(check.folder), list(infos)
    good: dict[str, VideoInfo] = {}
    bad: dict[str, str] = {}
    for video in videos:
        places = films.find(video.path, video.video_id)
        if not places:
            bad[video.video_id] = f'{video.path}: no such file there or below'
            continue
        if len(places) > 1:
            summary.note(TWICE, f'{video.video_id}: {", ".join(places)}')
        video.path = places[0]
        good[video.video_id] = video
    # What is missing is said before hours of looking at the others.
    if not bad or summary.skip_bad:
        found = probe_videos([video.path for video in good.values()], check)
        for name, video in list(good.items()):
            wrong = _adapt(video, found[video.path], summary, lengths_known)
            if wrong is not None:
                bad[name] = wrong
                del good[name]
    if bad and not summary.skip_bad:
        named = list(bad.values())[:_NAMED]
        if len(bad) > _NAMED:
            named.append(f'and {len(bad) - _NAMED} more')
        raise ConversionError(
            source,
            f'{len(bad)} of {len(videos)} videos in {check.folder}',
            f'cannot be used: {"; ".join(named)}',
            'fetch them again and repeat the command, which goes on from '
            'here, or leave them out and list them with --skip-bad',
        )
    summary.skipped += [f'video {name}: {why}' for name, why in bad.items()]
    return good


def _adapt(
    video: VideoInfo,
    facts: Union[VideoFacts, str],
    summary: ConversionSummary,
    lengths_known: bool,
) -> Optional[str]:
    """Note what differs and cut what lies past the end of the file.

    Gives why it cannot be read, or is not the annotated one.
    """
    if isinstance(facts, str):
        return facts
    found, count = compare_video(video, facts), facts.frame_count
    shorter = count < video.frame_count
    if 'aspect' in found:
        return f'{video.path} is {found["aspect"]} (width x height)'
    if 'cut' in found and shorter:
        return f'{video.path} has {found["cut"]}: cut off'
    place = f'{video.video_id} ({video.path})'
    for kind, name in (('size', RESIZED), ('fps', FPS)):
        if kind in found:
            summary.note(name, f'{place}: {found[kind]}')
    if shorter or (count > video.frame_count and lengths_known):
        name = SHORTER if shorter else LONGER
        summary.note(name, f'{place}: {count}, annotated {video.frame_count}')
    if shorter or not lengths_known:
        video.frame_count = count
        for track_id, track in list(video.tracks.items()):
            runs_R3 = track.runs[track.runs[:, 0] < count].copy()
            runs_R3[:, 1] = runs_R3[:, 1].clip(max=count)
            track.runs = runs_R3
            if len(runs_R3) == 0:
                del video.tracks[track_id]
    return None
