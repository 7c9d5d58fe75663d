"""What video files are: do they open, how long, how large.

What a file was found to be is appended to a small file of state as soon as it
is known. A run that was interrupted, or one for another split, goes on from
there; a video is looked at again when its size or its time of change differs,
and always when it could not be read.
"""

import json
import os
from collections.abc import Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Optional, Union

from hero_mm.files import append_line
from hero_mm.processes import in_processes

from .entries import ConversionError, PathLike
from .progress import Progress
from .tracks import VideoInfo
from .video_base import ENOUGH, VideoError, same_aspect
from .video_reader import open_video

# The frame rates of a file and of its annotation are rounded differently.
FPS_TOLERANCE = 0.01


@dataclass(frozen=True)
class VideoCheck:
    """A folder of videos that are to be verified, and how.

    Attributes:
        folder (PathLike): Holds the videos.
        state (PathLike, optional): File that remembers what was verified.
        workers (int): Processes.
        progress (Callable, optional): Wraps the loop over the videos; gets an
            iterable and its length.
    """

    folder: PathLike
    state: Optional[PathLike] = None
    workers: int = 1
    progress: Optional[Progress] = None


@dataclass(frozen=True)
class VideoFacts:
    """What a video file is found to be.

    Attributes:
        frame_count (int): Frames, counted in the file.
        fps (float, optional): Mean frames a second; None for pictures.
        width (int), height (int): Size as displayed, in pixels.
    """

    frame_count: int
    fps: Optional[float]
    width: int
    height: int


def probe_video(path: PathLike) -> Union[VideoFacts, str]:
    """Open a video (or a folder of pictures), decode the first and last frame.

    Returns:
        VideoFacts | str: What it is, frames counted, or why it cannot be read.
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


def compare_video(video: VideoInfo, facts: VideoFacts) -> dict[str, str]:
    """What of a video is not as annotated.

    Returns:
        dict[str, str]: What was found, and what is annotated, by kind:
        ``aspect``, another picture, or ``size``, the same one resized;
        ``cut``, too few frames, or ``length``, some more or less; ``fps``.
    """
    found = {}
    count, fps = facts.frame_count, facts.fps
    if count != video.frame_count:
        near = ENOUGH <= count / video.frame_count <= 1 / ENOUGH
        kind = 'length' if near else 'cut'
        found[kind] = f'{count} frames, annotated {video.frame_count}'
    if fps is not None and abs(fps / video.fps - 1) > FPS_TOLERANCE:
        found['fps'] = f'{fps:.6g}, annotated {video.fps:.6g}'
    size, annotated = (facts.width, facts.height), (video.width, video.height)
    if size != annotated:
        kind = 'size' if same_aspect(size, annotated) else 'aspect'
        found[kind] = '{}x{}, annotated {}x{}'.format(*size, *annotated)
    return found


def probe_videos(
    paths: list[str], check: VideoCheck
) -> dict[str, Union[VideoFacts, str]]:
    """Look at videos that were not looked at before.

    Paths are below the folder of the check, and each must be there. Gives
    what :func:`probe_video` gives, by path.
    """
    known = {} if check.state is None else _read_state(check.state)
    found: dict[str, Union[VideoFacts, str]] = {}
    for path in paths:
        seen = known.get((path, *_stamp(check.folder, path)))
        if seen is not None:
            found[path] = seen
    missing = [path for path in dict.fromkeys(paths) if path not in found]
    probed: Iterable[tuple[str, Union[VideoFacts, str]]]
    probed = _probe(missing, check)
    if check.progress is not None:
        probed = check.progress(probed, len(missing))
    for path, facts in probed:
        found[path] = facts
        if check.state is not None and isinstance(facts, VideoFacts):
            _append_state(check, path, facts)
    return found


def _probe(
    paths: list[str], check: VideoCheck
) -> Iterator[tuple[str, Union[VideoFacts, str]]]:
    """Look at videos, in processes where there are several."""
    look = partial(_look, Path(check.folder))
    try:
        yield from in_processes(look, paths, check.workers)
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


def _stamp(folder: PathLike, path: str) -> tuple[int, int]:
    """Size and time of change of a file or folder."""
    stat = os.stat(Path(folder, path))
    return stat.st_size, stat.st_mtime_ns


def _read_state(
    path: PathLike,
) -> dict[tuple[str, int, int], VideoFacts]:
    """Path, size and time of change of each verified video to what it is."""
    if not os.path.isfile(path):
        return {}
    known = {}
    text = Path(path).read_text(encoding='utf-8')
    for line in text.splitlines():
        try:
            entry = json.loads(line)
            key = (entry.pop('path'), entry.pop('size'), entry.pop('mtime'))
            known[key] = VideoFacts(**entry)
        except (AttributeError, KeyError, TypeError, ValueError):
            continue
    return known


def _append_state(check: VideoCheck, path: str, facts: VideoFacts) -> None:
    size, mtime = _stamp(check.folder, path)
    entry = dict(path=path, size=size, mtime=mtime, **asdict(facts))
    append_line(str(check.state), json.dumps(entry))
