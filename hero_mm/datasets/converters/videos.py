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
from ..entries import ConversionError, Entry, PathLike
from ..picture_reader import is_picture
from ..tracks import VideoInfo
from ..video_base import VIDEO_SUFFIXES
from ..video_facts import VideoCheck, VideoFacts, probe_videos
from .common import Record

TWICE = 'videos found at several places, the first in order taken'
SHORTER = 'videos with fewer frames than annotated, tubes cut to them'
LONGER = 'videos with more frames than annotated (kept as annotated)'
RESIZED = 'videos of another size than annotated (boxes are scaled)'
FPS = 'videos with another frame rate than annotated (kept as annotated)'
_NAMED = 5

Videos = Optional[Union[PathLike, VideoCheck]]


class VideoFolder:
    """The videos in a folder and below it, which must be there."""

    def __init__(self, folder: PathLike) -> None:
        if not os.path.isdir(folder):
            raise FileNotFoundError(
                f'folder of videos {folder} does not exist; unpack the videos '
                'or correct --videos'
            )
        self.folder = folder
        self._places: Optional[dict[str, list[str]]] = None

    def find(self, path: str, video_id: str) -> list[str]:
        """Find a video, first where the raw file says, then by its name.

        Returns:
            list[str]: Its path relative to the folder; several where it is
            not where it is said to be and more than one file has its name.
        """
        stems = dict.fromkeys((video_id, Path(path).stem))
        names = [stem + suffix for stem in stems for suffix in VIDEO_SUFFIXES]
        names.insert(0, Path(path).name)
        for name in (path, *names):
            if self._is_video(name):
                return [name]
        if self._places is None:
            self._places = self._walk()
        places = self._places
        return next((places[name] for name in names if name in places), [])

    def _is_video(self, name: str) -> bool:
        """Whether there is a file, or a folder with pictures."""
        place = Path(self.folder, name)
        if not place.is_dir():
            return place.is_file()
        with os.scandir(place) as entries:
            return any(is_picture(entry.name) for entry in entries)

    def _walk(self) -> dict[str, list[str]]:
        """File name to where it lies, folders in order."""
        places: dict[str, list[str]] = {}
        for root, folders, names in os.walk(self.folder, followlinks=True):
            folders.sort()
            for name in names:
                if name.lower().endswith(VIDEO_SUFFIXES):
                    place = os.path.relpath(Path(root, name), self.folder)
                    places.setdefault(name, []).append(Path(place).as_posix())
        return places


def place_videos(
    infos: Iterable[VideoInfo],
    folder: Videos,
    raw_path: PathLike,
    record: Record,
    lengths_known: bool = True,
) -> dict[str, VideoInfo]:
    """Set the path of each video to where it lies, and verify it.

    Args:
        infos (Iterable[VideoInfo]): With the paths of the raw file.
        folder (PathLike | VideoCheck, optional): Holds the videos, nested or
            flat; a :class:`VideoCheck` has them verified, too. None leaves
            the paths as they are.
        raw_path (PathLike): The raw file, for errors.
        record (Record): Lists what is missing or differs.
        lengths_known (bool): Whether the raw file has the number of frames;
            else it is that of the video.

    Returns:
        dict[str, VideoInfo]: The videos that are there, by their id.

    Raises:
        FileNotFoundError: There is no such folder.
        ConversionError: A video is missing or cannot be used, and may not be
            left out.
    """
    if folder is None:
        return {video.video_id: video for video in infos}
    check = folder if isinstance(folder, VideoCheck) else VideoCheck(folder)
    films = VideoFolder(check.folder)
    found: dict[str, VideoInfo] = {}
    for video in infos:
        places = films.find(video.path, video.video_id)
        if places:
            if len(places) > 1:
                record.note(TWICE, f'{video.video_id}: {", ".join(places)}')
            video.path = places[0]
            found[video.video_id] = video
            continue
        entry = Entry(raw_path, f'video_path {video.path!r}')
        error = entry.error(
            f'no such file in {check.folder} or below, nor '
            f'{video.video_id}.mp4',
            'fetch the video, or skip such videos with --skip-bad',
        )
        record.skip(error, 'video')
    if check is not folder:
        return found
    return verify_videos(
        found.values(), check, raw_path, record, lengths_known
    )


def verify_videos(
    videos: Iterable[VideoInfo],
    check: VideoCheck,
    raw_path: PathLike,
    record: Record,
    lengths_known: bool = True,
) -> dict[str, VideoInfo]:
    """Compare videos with what is annotated; see :func:`place_videos`.

    Those that are shorter than annotated get the frame count of their file,
    and their tracks are cut. Gives those that can be used, by their id.

    Raises:
        ConversionError: Videos cannot be read, are cut off, or are not the
            annotated ones; raised when all were looked at.
    """
    videos = list(videos)
    found = probe_videos([video.path for video in videos], check)
    good: dict[str, VideoInfo] = {}
    bad: list[str] = []
    for video in videos:
        wrong = _adapt(video, found[video.path], record, lengths_known)
        if wrong is None:
            good[video.video_id] = video
            continue
        bad.append(wrong)
        if record.skip_bad:
            record.skipped.append(f'video {video.video_id}: {wrong}')
    if bad and not record.skip_bad:
        more = len(bad) - _NAMED
        named = bad[:_NAMED] + ([f'and {more} more'] if more > 0 else [])
        raise ConversionError(
            raw_path,
            f'{len(bad)} of {len(videos)} videos in {check.folder}',
            f'cannot be used: {"; ".join(named)}',
            'fetch them again and repeat the command, which goes on from '
            'here, or leave them out and list them with --skip-bad',
        )
    return good


def _adapt(
    video: VideoInfo,
    facts: Union[VideoFacts, str],
    record: Record,
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
            record.note(name, f'{place}: {found[kind]}')
    if shorter or (count > video.frame_count and lengths_known):
        name = SHORTER if shorter else LONGER
        record.note(name, f'{place}: {count}, annotated {video.frame_count}')
    if shorter or not lengths_known:
        video.frame_count = count
        _cut_tracks(video)
    return None


def _cut_tracks(video: VideoInfo) -> None:
    """Drop the boxes past the last frame."""
    for track_id, track in list(video.tracks.items()):
        runs_R3 = track.runs[track.runs[:, 0] < video.frame_count].copy()
        runs_R3[:, 1] = runs_R3[:, 1].clip(max=video.frame_count)
        track.runs = runs_R3
        if len(runs_R3) == 0:
            del video.tracks[track_id]
