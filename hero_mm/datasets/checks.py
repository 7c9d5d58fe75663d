"""What an annotation must fulfil, and what is worth knowing of one.

What makes a sentence or a box unusable (:func:`find_fault`, :func:`is_box`),
what a video file is (:func:`probe_videos`) and how it differs from its
annotation (:func:`compare_video`): the converters, the reader of annotation
files and the audit look for the same. The audit looks for what can be read
and is wrong all the same.

Shape legend: N boxes of a run. Boxes are xyxy in pixels; frame numbers are
native and 0-based, spans and segments half-open ``[start, end)``.
"""

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Optional, Union

import numpy as np

from hero_mm.processes import in_processes

from .entries import AnnotationError, PathLike
from .progress import show_progress
from .tracks import VideoInfo
from .video_base import ENOUGH, VideoError, same_aspect
from .video_reader import open_video

if TYPE_CHECKING:
    from .annotation import GroundingAnnotation

QUERY_TYPES = ('declarative', 'interrogative')
ERRORS = {
    'missing': 'videos that are missing',
    'broken': 'videos that cannot be read',
    'cut': 'videos of another length than annotated, by more than 5 %',
    'aspect': 'videos of another aspect ratio than annotated',
    'beyond': 'segments or tracks that go on after the end of the video',
    'outside': 'tracks with boxes wholly outside the picture',
    'shares': 'videos whose boxes are all in [0, 1]: shares, not pixels',
    'sides': 'annotations whose boxes look like left, top, width, height',
    'keys': 'tracks with boxes on single frames alone: key frames',
}
NOTES = {
    'length': 'videos with some frames more or less than annotated',
    'fps': 'videos with another frame rate than annotated',
    'size': 'videos of another size than annotated (boxes are scaled)',
    'gap': 'sentences with frames in their span that have no box',
    'truths': 'sentences given for one clip with different truth',
}

# The frame rates of a file and of its annotation are rounded differently.
_FPS_TOLERANCE = 0.01
# Boxes on single frames are key frames where so many are, and so many alone.
_LEAST_KEYS = 3
_MOST = 0.8
# Pixels that the boxes of a video must move to count, and the share
# of it that the other two numbers move less than, where they are lengths.
_LEAST_MOVE = 40
_SIDES_MOVE = 0.4
# What boxes in shares go beyond the picture by.
_ROUNDED = 0.05


def is_box(boxes: np.ndarray) -> np.ndarray:
    """Which boxes (..., 4), xyxy, are finite and have an area; shape (...)."""
    area: np.ndarray = np.all(boxes[..., 2:] > boxes[..., :2], axis=-1)
    if boxes.dtype.kind == 'f':
        return area & np.isfinite(boxes).all(-1)
    return area


def find_fault(
    query: Mapping[str, Any], segment: Sequence[int], video: VideoInfo
) -> Optional[str]:
    """Say what makes a sentence unusable, whatever file it stands in.

    Its segment and its ``span`` are half-open, in frames.
    """
    span, name, count = query['span'], query['track_id'], video.frame_count
    if not query['text'].strip():
        return "the sentence ('text') is empty"
    if query['type'] not in QUERY_TYPES:
        return f"'type' is {query['type']!r:.40}, not one of {QUERY_TYPES}"
    if not 0 <= segment[0] < segment[1] <= count:
        frames = f'the {count} frames of the video'
        return f'segment {[*segment]} is empty or not in {frames}'
    if not segment[0] <= span[0] < span[1] <= segment[1]:
        return f'span {[*span]} is empty or outside its segment {[*segment]}'
    if name not in video.tracks:
        known = sorted(video.tracks)
        return f'unknown track id {name!r}, the video has {known}'
    return None


class VideoFacts(NamedTuple):
    """What a video file is found to be; pictures have no ``fps``."""

    frame_count: int
    fps: Optional[float]
    width: int
    height: int


def probe_video(
    folder: PathLike, path: str
) -> tuple[str, Union[VideoFacts, str]]:
    """The path of a video (or a folder of pictures) in a folder, and what it
    is or why it cannot be read: its frames are counted, the first and the
    last are decoded.
    """
    place = os.path.join(folder, path)
    try:
        with open_video(place) as reader:
            count = reader.frame_count
            ends = reader.get_frames([0, max(count - 1, 0)])
            fps = None if os.path.isdir(place) else reader.fps
    except VideoError as error:
        return path, f'{error.path}: {error.found}'
    except OSError as error:
        return path, str(error)
    height, width = ends.shape[1:3]
    return path, VideoFacts(count, fps, width, height)


def probe_videos(
    folder: PathLike, paths: Sequence[str], workers: int = 1
) -> dict[str, Union[VideoFacts, str]]:
    """What :func:`probe_video` gives of videos in a folder, by path.

    Readers remember the frames of a file, so that a second run is quick.
    """
    wanted = list(dict.fromkeys(paths))
    found = in_processes(partial(probe_video, folder), wanted, workers)
    try:
        return dict(show_progress(found, len(wanted), 'looking at videos'))
    except BrokenProcessPool as error:
        raise AnnotationError(
            folder,
            'its videos',
            'a process that looked at one was ended from outside, or crashed',
            'repeat the command, which goes on from here; with --workers 1 '
            'if it happens again',
        ) from error


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
    if fps is not None and abs(fps / video.fps - 1) > _FPS_TOLERANCE:
        found['fps'] = f'{fps:.6g}, annotated {video.fps:.6g}'
    size, annotated = (facts.width, facts.height), (video.width, video.height)
    if size != annotated:
        kind = 'size' if same_aspect(size, annotated) else 'aspect'
        found[kind] = '{}x{}, annotated {}x{}'.format(*size, *annotated)
    return found


class Finding(NamedTuple):
    """Something that is wrong or worth knowing, where, and what is there.

    ``kind`` is a key of :data:`ERRORS`: something must be done about it, or
    of :data:`NOTES`.
    """

    kind: str
    where: str
    found: str


def audit_annotation(annotation: 'GroundingAnnotation') -> Iterator[Finding]:
    """Look at an annotation alone."""
    for video_id, video in annotation.videos.items():
        where = f'video {video_id!r}'
        for track_id in video.tracks:
            yield from _audit_track(
                video, track_id, f'{where}, track {track_id!r}'
            )
        most = max((run.max() for run in _all_boxes(video)), default=np.inf)
        if most <= 1 + _ROUNDED and min(video.width, video.height) > 2:
            found = f'none is larger than 1 in {video.width}x{video.height}'
            yield Finding('shares', where, found)
    yield from _audit_sides(annotation)
    yield from _audit_sentences(annotation)


def _all_boxes(video: VideoInfo) -> Iterator[np.ndarray]:
    """The boxes of each run of each track, has shape (N, 4)."""
    for track_id, track in video.tracks.items():
        for begin, end, row in track.runs.tolist():
            yield video.rows(track_id)[row : row + end - begin]


def _audit_track(
    video: VideoInfo, track_id: str, where: str
) -> Iterator[Finding]:
    """Boxes outside the picture, and on single frames alone."""
    track = video.tracks[track_id]
    boxes_N4, _ = video.track_boxes(track_id, track.frames)
    size = np.array([video.width, video.height])
    outside_N = np.any((boxes_N4[:, 2:] <= 0) | (boxes_N4[:, :2] >= size), 1)
    if outside_N.any():
        at = int(outside_N.argmax())
        box = ', '.join(f'{side:g}' for side in boxes_N4[at])
        found = (
            f'{outside_N.sum()} boxes, first on frame {track.frames[at]}: '
            f'[{box}] in {video.width}x{video.height}'
        )
        yield Finding('outside', where, found)
    runs_R3 = track.runs
    single = (runs_R3[:, 1] - runs_R3[:, 0] == 1).sum()
    if len(runs_R3) >= _LEAST_KEYS and single >= _MOST * len(runs_R3):
        step = int(np.median(np.diff(runs_R3[:, 0])))
        found = (
            f'{len(runs_R3)} boxes, one every {step} frames; where they are '
            "key frames, give 'boxes' with 'key_frames': true, or convert "
            'with own.py --interpolate'
        )
        yield Finding('keys', where, found)


def _audit_sides(annotation: 'GroundingAnnotation') -> Iterator[Finding]:
    """Whether the last two numbers stay where the first two move."""
    alike, measured = 0, 0
    for video in annotation.videos.values():
        edge = np.array([video.width, video.height]) - 1
        moves = np.zeros(2)
        for run in _all_boxes(video):
            steps = np.abs(np.diff(run.astype(np.float64), axis=0))
            # At the border of the picture a side stays where it is.
            inside = (run[1:, 2:] < edge) & (run[1:, :2] > 0)
            moves += [
                (steps[:, :2] * inside).sum(),
                (steps[:, 2:] * inside).sum(),
            ]
        if moves[0] >= _LEAST_MOVE:
            measured += 1
            alike += moves[1] < _SIDES_MOVE * moves[0]
    if alike > measured / 2:
        found = (
            f'in {alike} of {measured} videos with moving boxes [x1, y1] '
            'moves while [x2, y2] stays'
        )
        yield Finding('sides', 'boxes', found)


def _audit_sentences(annotation: 'GroundingAnnotation') -> Iterator[Finding]:
    """Gaps in the tubes, and sentences with several truths."""
    said: dict[tuple, list[dict]] = defaultdict(list)
    for clip in annotation.data_list:
        name, (start, end) = clip['video_id'], clip['segment']
        video = annotation.videos[name]
        for query in clip['queries']:
            frames = np.arange(*query['span'])
            _, valid = video.track_boxes(query['track_id'], frames)
            if not valid.all():
                where = f'query {query["query_id"]!r} of video {name!r}'
                missing = frames[~valid]
                found = f'{len(missing)} of {len(frames)}, first {missing[0]}'
                yield Finding('gap', where, found)
            text = ' '.join(query['text'].lower().split())
            said[f'video {name!r} [{start}, {end})', text].append(query)
    for (place, text), queries in said.items():
        truths = {(*query['span'], query['track_id']) for query in queries}
        if len(truths) > 1:
            ids = ', '.join(repr(query['query_id']) for query in queries)
            yield Finding('truths', place, f'{text!r:.60}: queries {ids}')


def audit_videos(
    annotation: 'GroundingAnnotation', folder: PathLike, workers: int = 1
) -> Iterator[Finding]:
    """Look at the videos of an annotation, in processes."""
    paths = {
        video.path
        for video in annotation.videos.values()
        if os.path.exists(os.path.join(folder, video.path))
    }
    facts = probe_videos(folder, sorted(paths), workers)
    ends: dict[str, int] = defaultdict(int)
    for clip in annotation.data_list:
        name = clip['video_id']
        ends[name] = max(ends[name], clip['segment'][1])
    for video_id, video in annotation.videos.items():
        if video.path in paths:
            yield from _audit_video(video, ends[video_id], facts[video.path])
            continue
        where = f'video {video_id!r}'
        yield Finding('missing', where, f'no file {video.path}')


def _audit_video(
    video: VideoInfo, end: int, facts: Union[VideoFacts, str]
) -> Iterator[Finding]:
    """Compare one video with its annotation, whose segments end at ``end``."""
    where = f'video {video.video_id!r}'
    if isinstance(facts, str):
        yield Finding('broken', where, facts)
        return
    for kind, found in compare_video(video, facts).items():
        yield Finding(kind, where, found)
    tracks_end = max(
        (int(t.runs[-1, 1]) for t in video.tracks.values() if len(t.runs)),
        default=0,
    )
    if max(end, tracks_end) > facts.frame_count:
        found = (
            f'{facts.frame_count} frames, but segments go to frame {end - 1} '
            f'and tracks to frame {tracks_end - 1}'
        )
        yield Finding('beyond', where, found)
