"""What an annotation file must fulfil, and the errors that say what does not.

Numbers of boxes are checked as arrays: no loop over frames.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hero_mm.errors import UserError

from .tracks import MOST_FRAMES, VideoInfo

FORMAT = 'hero_mm/1'
_VIDEO_KEYS: dict[str, tuple[type, ...]] = {
    'path': (str,),
    'frame_count': (int,),
    'fps': (int, float),
    'width': (int,),
    'height': (int,),
}
_QUERY_KEYS = ('query_id', 'text', 'type', 'span', 'track_id')
_KINDS: dict[type, str] = {
    bool: 'true or false',
    dict: 'an object',
    list: 'a list',
    str: 'text',
}
_CHUNK = 1 << 20


class AnnotationError(UserError):
    """An annotation file is wrong at one place.

    Args:
        path (str): The file.
        where (str): The entry.
        found (str): What is wrong there.
        cure (str): What to do.
    """

    def __init__(self, path: str, where: str, found: str, cure: str) -> None:
        super().__init__(f'{path}, {where}: {found}. Cure: {cure}.')
        self.path = path
        self.where = where


def check_kind(
    path: str, where: str, name: str, value: Any, kind: type
) -> None:
    """Check the kind of a value of JSON.

    Args:
        path (str): The file, for the error.
        where (str): The entry.
        name (str): Of the value.
        value (Any): What is there.
        kind (type): ``bool``, ``dict``, ``list`` or ``str``.

    Raises:
        AnnotationError: It is of another kind.
    """
    if not isinstance(value, kind):
        raise AnnotationError(
            path,
            where,
            f'{name} is {value!r:.80}',
            f'give {_KINDS[kind]} (docs/data.md, section 2)',
        )


def check_format(path: str, metainfo: Mapping[str, Any]) -> None:
    """Refuse a file of a version that is not known.

    Args:
        path (str): The file, for the error.
        metainfo (Mapping): Of the file; without ``format`` it is taken for
            the version of today.

    Raises:
        AnnotationError: It is of another version.
    """
    found = metainfo.get('format', FORMAT)
    if found != FORMAT:
        raise AnnotationError(
            path,
            "metainfo, 'format'",
            f'{found!r:.80} is not known, only {FORMAT!r}',
            'update hero_mm, or convert the data with this version',
        )


def check_video(path: str, video_id: str, entry: Any, rows: int) -> None:
    """Check the entry of a video, all but the values of its boxes.

    Args:
        path (str): The file, for the error.
        video_id (str): Name of the video.
        entry (Any): As in the file.
        rows (int): Number of boxes in the file of tracks.

    Raises:
        AnnotationError: The entry is wrong.
    """
    where = f'video {video_id!r}'
    check_kind(path, where, 'its entry', entry, dict)
    for key, types in _VIDEO_KEYS.items():
        if key not in entry:
            raise AnnotationError(
                path,
                where,
                f'key {key!r} is missing, found {sorted(entry)}',
                f'add {key!r} or convert the data again',
            )
        value = entry[key]
        wrong = not isinstance(value, types) or isinstance(value, bool)
        if wrong or not value or (key != 'path' and not 0 < value < math.inf):
            kind = 'text' if key == 'path' else 'a number above 0'
            raise AnnotationError(
                path, where, f'{key!r} is {value!r}', f'give {kind}'
            )
    if entry['frame_count'] > MOST_FRAMES:
        raise AnnotationError(
            path,
            where,
            f"'frame_count' is {entry['frame_count']}",
            f'give at most {MOST_FRAMES:,}, cut a longer video',
        )
    complete = entry.get('tracks_complete', False)
    check_kind(path, where, "'tracks_complete'", complete, bool)
    _check_predicates(path, where, entry)
    tracks = entry.get('tracks', {})
    check_kind(path, where, "'tracks'", tracks, dict)
    for track_id, track in tracks.items():
        _check_track(
            path,
            f'{where}, track {track_id!r}',
            track,
            entry['frame_count'],
            rows,
        )


def _check_predicates(path: str, where: str, entry: dict) -> None:
    """Check what is true of a video or of a track."""
    told = entry.get('predicates', [])
    check_kind(path, where, "'predicates'", told, list)
    for predicate in told:
        check_kind(path, where, 'a predicate', predicate, str)


def _check_track(
    path: str, where: str, track: Any, frame_count: int, rows: int
) -> None:
    if not isinstance(track, dict) or not ({'runs', 'boxes'} & set(track)):
        raise AnnotationError(
            path,
            where,
            f"neither 'runs' nor 'boxes', found {track!r:.80}",
            'add the boxes of the track',
        )
    check_kind(path, where, "'category'", track.get('category', ''), str)
    _check_predicates(path, where, track)
    keyed = track.get('key_frames', False)
    check_kind(path, where, "'key_frames'", keyed, bool)
    if 'runs' not in track:
        _check_written_boxes(path, where, track['boxes'], frame_count)
        return
    check_kind(path, where, "'runs'", track['runs'], list)
    last = 0
    for run in track['runs']:
        if not (
            isinstance(run, list)
            and len(run) == 3
            and all(isinstance(value, int) for value in run)
        ):
            raise AnnotationError(
                path, where, f'run {run!r}', 'give [begin, end, row]'
            )
        begin, end, row = run
        if not last <= begin < end <= frame_count:
            raise AnnotationError(
                path,
                where,
                f'run {run} is empty, overlaps the one before or leaves the '
                f'{frame_count} frames of the video',
                'give sorted runs with begin < end <= frame_count',
            )
        if row < 0 or row + end - begin > rows:
            raise AnnotationError(
                path,
                where,
                f'run {run} needs rows up to {row + end - begin}, the file '
                f'of tracks has {rows}',
                'the two files are not of the same conversion: convert again',
            )
        last = end


def _check_written_boxes(
    path: str, where: str, boxes: Any, frame_count: int
) -> None:
    """Check boxes that stand in the JSON itself."""
    check_kind(path, where, "'boxes'", boxes, dict)
    for frame, box in boxes.items():
        if not frame.isdecimal() or int(frame) >= frame_count:
            raise AnnotationError(
                path,
                where,
                f'a box on frame {frame!r}',
                f'give a number from 0 to {frame_count - 1}',
            )
        try:
            good = is_box(np.array(box, dtype=np.float32).reshape(1, 4))[0]
        except (TypeError, ValueError):
            good = False
        if not good:
            raise AnnotationError(
                path, f'{where}, frame {frame}', f'box {box}', _BOX_CURE
            )


_BOX_CURE = (
    'give [x1, y1, x2, y2] with x2 > x1 and y2 > y1, in pixels; convert boxes '
    'of left, top, width and height'
)


def is_box(boxes_N4: np.ndarray) -> np.ndarray:
    """Which boxes are finite and have an area.

    Args:
        boxes_N4 (np.ndarray): xyxy, has shape (N, 4).

    Returns:
        np.ndarray: bool, has shape (N,).
    """
    area = (boxes_N4[:, 2] > boxes_N4[:, 0]) & (
        boxes_N4[:, 3] > boxes_N4[:, 1]
    )
    if boxes_N4.dtype.kind == 'f':
        return area & np.isfinite(boxes_N4).all(1)
    return area


def check_boxes(
    path: str, videos: Mapping[str, VideoInfo], boxes_N4: np.ndarray
) -> None:
    """Check the values of all boxes in the file of tracks.

    Args:
        path (str): The annotation file, for the error.
        videos (Mapping[str, VideoInfo]): To name the place.
        boxes_N4 (np.ndarray): xyxy, has shape (N, 4).

    Raises:
        AnnotationError: A box has no area; names video, track and frame.
    """
    for start in range(0, len(boxes_N4), _CHUNK):
        bad = np.flatnonzero(~is_box(boxes_N4[start : start + _CHUNK]))
        if len(bad):
            row = start + int(bad[0])
            raise AnnotationError(
                path,
                _place_of_row(videos, row),
                f'box {boxes_N4[row].tolist()}',
                _BOX_CURE,
            )


def _place_of_row(videos: Mapping[str, VideoInfo], row: int) -> str:
    for video_id, video in videos.items():
        for track_id, track in video.tracks.items():
            if track.boxes is not None:
                continue
            for begin, end, start in track.runs.tolist():
                if start <= row < start + end - begin:
                    return (
                        f'video {video_id!r}, track {track_id!r}, frame '
                        f'{begin + row - start}'
                    )
    return f'row {row} of the file of tracks'


def check_clips(
    path: str,
    videos: Mapping[str, VideoInfo],
    data_list: Any,
    query_types: Sequence[str],
) -> None:
    """Check the clips and their queries.

    Args:
        path (str): The annotation file, for the error.
        videos (Mapping[str, VideoInfo]): The videos that clips may name.
        data_list (Any): As in the file.
        query_types (Sequence[str]): The types that a query may have.

    Raises:
        AnnotationError: A clip or a query is wrong.
    """
    if not data_list:
        raise AnnotationError(
            path,
            'data_list',
            'is empty: there is nothing to learn or to score',
            'convert the data again',
        )
    seen: dict[str, int] = {}
    for index, clip in enumerate(data_list):
        where = f'data_list[{index}]'
        video = _check_clip(path, where, clip, videos)
        where += f' (video {clip["video_id"]!r})'
        for query in clip['queries']:
            _check_query(path, where, clip, query, video, query_types)
            query_id = query['query_id']
            if query_id in seen:
                raise AnnotationError(
                    path,
                    where,
                    f'query id {query_id!r} is already in '
                    f'data_list[{seen[query_id]}]',
                    'give each sentence an id of its own',
                )
            seen[query_id] = index


def _check_clip(
    path: str, where: str, clip: Any, videos: Mapping[str, VideoInfo]
) -> VideoInfo:
    """Check a clip, all but its queries; gives its video."""
    check_kind(path, where, 'the clip', clip, dict)
    for key in ('video_id', 'segment', 'queries'):
        if key not in clip:
            found = f'key {key!r} is missing, found {sorted(clip)}'
            raise AnnotationError(path, where, found, f'add {key!r}')
    check_kind(path, where, "'video_id'", clip['video_id'], str)
    video = videos.get(clip['video_id'])
    if video is None:
        raise AnnotationError(
            path,
            where,
            f'unknown video id {clip["video_id"]!r}',
            f"add it to 'videos' ({len(videos)} there) or correct the id",
        )
    where += f' (video {clip["video_id"]!r})'
    segment = clip['segment']
    _check_whole(path, where, 'segment', segment)
    if not 0 <= segment[0] < segment[1] <= video.frame_count:
        raise AnnotationError(
            path,
            where,
            f'segment {segment} is empty or not in the '
            f'{video.frame_count} frames of the video',
            'give [start, end) with 0 <= start < end <= frame_count',
        )
    check_kind(path, where, "'queries'", clip['queries'], list)
    if not clip['queries']:
        raise AnnotationError(
            path, where, 'no queries', 'add a sentence or drop the clip'
        )
    return video


def _check_whole(path: str, where: str, name: str, span: Any) -> None:
    """Check that a span is a pair of frame numbers."""
    if (
        not isinstance(span, (list, tuple))
        or len(span) != 2
        or not all(isinstance(value, int) for value in span)
    ):
        raise AnnotationError(
            path,
            where,
            f'{name} {span!r:.80} is no pair of whole numbers',
            'give [start, end) in native frames, without decimals',
        )


def _check_query(
    path: str,
    where: str,
    clip: dict,
    query: Any,
    video: VideoInfo,
    query_types: Sequence[str],
) -> None:
    check_kind(path, where, 'a query', query, dict)
    where += f', query {query.get("query_id", "without an id")!r}'
    for key in _QUERY_KEYS:
        if key not in query:
            found = f'key {key!r} is missing, found {sorted(query)}'
            raise AnnotationError(path, where, found, f'add {key!r}')
    for key in ('query_id', 'text', 'track_id'):
        check_kind(path, where, repr(key), query[key], str)
    for key in ('predicate', 'category'):
        if query.get(key) is not None:
            check_kind(path, where, repr(key), query[key], str)
    if not query['text'].strip():
        raise AnnotationError(
            path, where, "the sentence ('text') is empty", 'write or drop it'
        )
    if query['type'] not in query_types:
        found = f"'type' is {query['type']!r}"
        cure = f'use one of {list(query_types)}'
        raise AnnotationError(path, where, found, cure)
    start, end = clip['segment']
    _check_whole(path, where, 'span', query['span'])
    if not start <= query['span'][0] < query['span'][1] <= end:
        raise AnnotationError(
            path,
            where,
            f'span {query["span"]} is empty or outside its segment '
            f'{list(clip["segment"])}',
            'give [start, end) of native frames inside the segment',
        )
    if query['track_id'] not in video.tracks:
        raise AnnotationError(
            path,
            where,
            f'unknown track id {query["track_id"]!r}',
            f'the video has the tracks {sorted(video.tracks)}',
        )
    start, end = query['span']
    runs = video.tracks[query['track_id']].runs
    if not ((runs[:, 0] < end) & (runs[:, 1] > start)).any():
        raise AnnotationError(
            path,
            where,
            f'track {query["track_id"]!r} has no box in the span '
            f'[{start}, {end})',
            'add its boxes, or drop the sentence: it cannot be scored',
        )
