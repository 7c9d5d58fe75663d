"""Where the videos lie below a folder, nested or flat."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Optional, Union

from ..picture_reader import is_picture
from ..tracks import VideoInfo
from .common import ConversionError, PathLike, Record
from .verify import VideoCheck, verify_videos

SUFFIXES = ('.mp4', '.mkv', '.avi', '.webm', '.mov')
TWICE = 'videos found at several places, the first in order taken'


class VideoFolder:
    """The videos in a folder and below it.

    Args:
        folder (PathLike): The folder.

    Raises:
        FileNotFoundError: There is none.
    """

    def __init__(self, folder: PathLike) -> None:
        if not os.path.isdir(folder):
            raise FileNotFoundError(
                f'folder of videos {folder} does not exist; unpack the videos '
                'or correct --videos'
            )
        self.folder = folder
        self._places: Optional[dict[str, list[str]]] = None

    def find(self, path: str, video_id: str) -> list[str]:
        """Find a video, first where it is said to be.

        Args:
            path (str): Its path as the raw file tells it; a file or a folder
                of pictures.
            video_id (str): Its name, for files called ``<video id>.mp4``.

        Returns:
            list[str]: Its path relative to the folder; several where it is
            not where it is said to be and more than one file has its name.
        """
        stems = dict.fromkeys((video_id, Path(path).stem))
        names = [stem + suffix for stem in stems for suffix in SUFFIXES]
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
                if name.lower().endswith(SUFFIXES):
                    place = os.path.relpath(Path(root, name), self.folder)
                    places.setdefault(name, []).append(Path(place).as_posix())
        return places


def place_videos(
    infos: Iterable[VideoInfo],
    folder: Optional[Union[PathLike, VideoCheck]],
    raw_path: PathLike,
    record: Record,
    skip_bad: bool,
    lengths_told: bool = True,
) -> dict[str, VideoInfo]:
    """Set the path of each video to where it lies, and verify it.

    Args:
        infos (Iterable[VideoInfo]): With the paths that the raw file tells.
        folder (PathLike | VideoCheck, optional): Holds the videos, nested or
            flat; a :class:`VideoCheck` has them verified, too. None leaves
            the paths as told.
        raw_path (PathLike): The raw file, for errors.
        record (Record): Lists what is missing or differs.
        skip_bad (bool): Leave out and list videos that are missing or cannot
            be used, instead of raising.
        lengths_told (bool): Whether the raw file tells the number of frames.
            Defaults to True.

    Returns:
        dict[str, VideoInfo]: The videos that are there, by their id.

    Raises:
        FileNotFoundError: There is no such folder.
        ConversionError: A video is missing or cannot be used.
    """
    if folder is None:
        return {video.video_id: video for video in infos}
    check = None
    if isinstance(folder, VideoCheck):
        check, folder = folder, folder.folder
    films = VideoFolder(folder)
    found: dict[str, VideoInfo] = {}
    for video in infos:
        places = films.find(video.path, video.video_id)
        if places:
            if len(places) > 1:
                record.note(TWICE, f'{video.video_id}: {", ".join(places)}')
            video.path = places[0]
            found[video.video_id] = video
            continue
        error = ConversionError(
            raw_path,
            f'video_path {video.path!r}',
            f'no such file in {folder} or below, nor {video.video_id}.mp4',
            'fetch the video, or skip such videos with --skip-bad',
        )
        record.skip(error, skip_bad, 'video')
    if check is None:
        return found
    return verify_videos(
        found.values(), check, raw_path, record, skip_bad, lengths_told
    )
