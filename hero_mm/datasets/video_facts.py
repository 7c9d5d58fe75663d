"""What video files are: do they open, how long, how large.

Readers remember the frames of a file, so that a second run is quick.
"""

import os
from collections.abc import Iterable
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Optional, Union

from hero_mm.processes import in_processes

from .entries import ConversionError, PathLike
from .progress import Progress
from .video_base import VideoError
from .video_reader import open_video


@dataclass(frozen=True)
class VideoCheck:
    """A folder of videos that are to be verified, by how many processes, and
    what wraps the loop over them.
    """

    folder: PathLike
    workers: int = 1
    progress: Optional[Progress] = None


@dataclass(frozen=True)
class VideoFacts:
    """What a video file is found to be; pictures have no ``fps``."""

    frame_count: int
    fps: Optional[float]
    width: int
    height: int


def probe_video(path: PathLike) -> Union[VideoFacts, str]:
    """What a video (or a folder of pictures) is, or why it cannot be read: its
    frames are counted, the first and the last are decoded.
    """
    try:
        with open_video(path) as reader:
            count = reader.frame_count
            ends = reader.get_frames([0, max(count - 1, 0)])
            fps = None if os.path.isdir(path) else reader.fps
    except VideoError as error:
        return f'{error.path}: {error.found}'
    except OSError as error:
        return str(error)
    height, width = ends.shape[1:3]
    return VideoFacts(count, fps, width, height)


def probe_videos(
    paths: list[str], check: VideoCheck
) -> dict[str, Union[VideoFacts, str]]:
    """What :func:`probe_video` gives of videos below the folder, by path."""
    wanted = list(dict.fromkeys(paths))
    look = partial(_look, Path(check.folder))
    looked: Iterable[tuple[str, Union[VideoFacts, str]]]
    looked = in_processes(look, wanted, check.workers)
    if check.progress is not None:
        looked = check.progress(looked, len(wanted))
    try:
        return dict(looked)
    except BrokenProcessPool as error:
        raise ConversionError(
            check.folder,
            'its videos',
            'a process that looked at one was ended from outside, or crashed',
            'repeat the command, which goes on from here; with --workers 1 '
            'if it happens again',
        ) from error


def _look(folder: Path, path: str) -> tuple[str, Union[VideoFacts, str]]:
    return path, probe_video(folder / path)
