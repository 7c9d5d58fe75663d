"""Videos against their annotation: do they open, how long, how large.

What a file was found to be is appended to a small file beside the output as
soon as it is known. A run that was interrupted, or one for another split,
goes on from there; a video is looked at again when its size or its time of
change differs, and always when it could not be read.

Frame numbers of an annotation count the frames that can be decoded. So where
a file ends a few frames early, the tubes and segments of its annotation end
there too; one that lacks more counts as cut off.

Shape legend: R runs of a track.
"""

import json
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Optional, Union

from hero_mm.files import append_line
from hero_mm.processes import end_with_parent

from ..tracks import VideoInfo
from ..video_base import ENOUGH, VideoError, same_aspect
from ..video_reader import open_video
from .common import ConversionError, PathLike, Progress, Record

# The frame rates of a file and of its annotation are rounded differently.
FPS_TOLERANCE = 0.01
_NAMED = 5

SHORTER = 'videos with fewer frames than annotated, tubes cut to them'
LONGER = 'videos with more frames than annotated (kept as annotated)'
RESIZED = 'videos of another size than annotated (boxes are scaled)'
FPS = 'videos with another frame rate than annotated (kept as annotated)'


@dataclass(frozen=True)
class VideoCheck:
    """A folder of videos that are to be verified, and how.

    Attributes:
        folder (PathLike): Holds the videos.
        state (PathLike, optional): File that remembers what was verified.
            Defaults to None, which remembers nothing.
        workers (int): Processes. Defaults to 1.
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
    """Open a video, count its frames and decode the first and the last.

    Args:
        path (PathLike): The file, or the folder of pictures.

    Returns:
        VideoFacts | str: What it is, or why it cannot be read.
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


def verify_videos(
    videos: Iterable[VideoInfo],
    check: VideoCheck,
    raw_path: PathLike,
    record: Record,
    skip_bad: bool,
    lengths_told: bool = True,
) -> dict[str, VideoInfo]:
    """Compare videos with what is annotated.

    Args:
        videos (Iterable[VideoInfo]): With paths below the folder. Those that
            are shorter than annotated get the frame count of their file, and
            their tracks are cut.
        check (VideoCheck): Where they lie and how to go about it.
        raw_path (PathLike): The raw file, for errors.
        record (Record): Counts and lists what differs.
        skip_bad (bool): Leave out and list what cannot be used, instead of
            raising when all were looked at.
        lengths_told (bool): Whether the raw file tells the number of frames.
            Else it is that of the file. Defaults to True.

    Returns:
        dict[str, VideoInfo]: The videos that can be used, by their id.

    Raises:
        ConversionError: Videos cannot be read, are cut off, or are not the
            annotated ones.
    """
    videos = list(videos)
    found = probe_videos([video.path for video in videos], check)
    good: dict[str, VideoInfo] = {}
    bad: list[str] = []
    for video in videos:
        facts = found[video.path]
        if isinstance(facts, VideoFacts):
            wrong = _why_not(video, facts)
            if wrong is None:
                good[video.video_id] = video
                _adapt(video, facts, record, lengths_told)
                continue
        else:
            wrong = facts
        bad.append(wrong)
        if skip_bad:
            record.skipped.append(f'video {video.video_id}: {wrong}')
    if bad and not skip_bad:
        more = len(bad) - _NAMED
        told = bad[:_NAMED] + ([f'and {more} more'] if more > 0 else [])
        raise ConversionError(
            raw_path,
            f'{len(bad)} of {len(videos)} videos in {check.folder}',
            f'cannot be used: {"; ".join(told)}',
            'fetch them again and repeat the command, which goes on from '
            'here, or leave them out and list them with --skip-bad',
        )
    return good


def compare_video(video: VideoInfo, facts: VideoFacts) -> dict[str, str]:
    """What of a video is not as annotated.

    Args:
        video (VideoInfo): As annotated.
        facts (VideoFacts): What its file is.

    Returns:
        dict[str, str]: What was found, and what is annotated, by kind:
        ``aspect``, another picture, or ``size``, the same one resized;
        ``cut``, too few frames, or ``length``, some more or less; ``fps``.
    """
    found = {}
    count, fps = facts.frame_count, facts.fps
    if count != video.frame_count:
        near = ENOUGH <= count / video.frame_count <= 1 / ENOUGH
        told = f'{count} frames, annotated {video.frame_count}'
        found['length' if near else 'cut'] = told
    if fps is not None and abs(fps / video.fps - 1) > FPS_TOLERANCE:
        found['fps'] = f'{fps:.6g}, annotated {video.fps:.6g}'
    size, annotated = (facts.width, facts.height), (video.width, video.height)
    if size != annotated:
        kind = 'size' if same_aspect(size, annotated) else 'aspect'
        told = f'{size[0]}x{size[1]}, annotated {annotated[0]}x{annotated[1]}'
        found[kind] = told
    return found


def _why_not(video: VideoInfo, facts: VideoFacts) -> Optional[str]:
    """Why a video that can be read is not the annotated one."""
    found = compare_video(video, facts)
    if 'aspect' in found:
        return f'{video.path} is {found["aspect"]} (width x height)'
    if 'cut' in found and facts.frame_count < video.frame_count:
        return f'{video.path} has {found["cut"]}: cut off'
    return None


def _adapt(
    video: VideoInfo, facts: VideoFacts, record: Record, lengths_told: bool
) -> None:
    """Note what differs; cut what lies past the end of the file."""
    place = f'{video.video_id} ({video.path})'
    found, count = compare_video(video, facts), facts.frame_count
    for kind, name in (('size', RESIZED), ('fps', FPS)):
        if kind in found:
            record.note(name, f'{place}: {found[kind]}')
    shorter = count < video.frame_count
    if shorter or (count > video.frame_count and lengths_told):
        name = SHORTER if shorter else LONGER
        record.note(name, f'{place}: {count}, annotated {video.frame_count}')
    if shorter or not lengths_told:
        video.frame_count = count
        _cut_tracks(video)


def _cut_tracks(video: VideoInfo) -> None:
    """Drop the boxes past the last frame."""
    for track_id, track in list(video.tracks.items()):
        runs_R3 = track.runs[track.runs[:, 0] < video.frame_count].copy()
        runs_R3[:, 1] = runs_R3[:, 1].clip(max=video.frame_count)
        track.runs = runs_R3
        if len(runs_R3) == 0:
            del video.tracks[track_id]


def probe_videos(
    paths: list[str], check: VideoCheck
) -> dict[str, Union[VideoFacts, str]]:
    """Look at videos that were not looked at before.

    Args:
        paths (list[str]): Below the folder; each must be there.
        check (VideoCheck): Where they lie and how to go about it.

    Returns:
        dict[str, VideoFacts | str]: Path to what the video is, or why it
        cannot be read.
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
    if check.workers <= 1 or len(paths) < 2:
        for path in paths:
            yield path, probe_video(Path(check.folder, path))
        return
    pool = ProcessPoolExecutor(
        min(check.workers, len(paths)), initializer=end_with_parent
    )
    try:
        tasks = {
            pool.submit(probe_video, Path(check.folder, path)): path
            for path in paths
        }
        for task in as_completed(tasks):
            yield tasks[task], task.result()
    except BrokenProcessPool as error:
        raise ConversionError(
            check.folder,
            'its videos',
            'a process that looked at one was ended from outside, or crashed',
            'repeat the command, which goes on from here; with --workers 1 '
            'if it happens again',
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


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
