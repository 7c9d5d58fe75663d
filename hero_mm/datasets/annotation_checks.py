"""What an annotation file must fulfil, and the errors that say what does not.

Numbers of boxes are checked as arrays: no loop over frames.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Optional

import numpy as np

from .entries import AnnotationError, Entry
from .tracks import MOST_FRAMES, VideoInfo

FORMAT = 'hero_mm/1'
QUERY_TYPES = ('declarative', 'interrogative')
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
_BOX_CURE = (
    'give [x1, y1, x2, y2] with x2 > x1 and y2 > y1, in pixels; convert boxes '
    'of left, top, width and height'
)


class Part(Entry):
    """A part of an annotation file."""

    kind = AnnotationError

    def check(self, kind: type, name: str, value: Any) -> None:
        """Refuse a value of another kind, which has this name."""
        if not isinstance(value, kind):
            raise self.error(
                f'{name} is {value!r:.80}',
                f'give {_KINDS[kind]} (docs/data.md, section 2)',
            )

    def check_key(self, kind: type, key: str, default: Any = None) -> Any:
        """The value of a key, of this kind; or the default."""
        value = self.value.get(key, default)
        self.check(kind, repr(key), value)
        return value

    def need_keys(self, *keys: str, cure: str = 'add {!r}') -> None:
        """Refuse an object that lacks a key."""
        for key in keys:
            if key not in self.value:
                found = f'key {key!r} is missing, found {sorted(self.value)}'
                raise self.error(found, cure.format(key))


def check_format(path: str, metainfo: Mapping[str, Any]) -> None:
    """Refuse a file of another version; one that does not say it is of
    today's.
    """
    found = metainfo.get('format', FORMAT)
    if found != FORMAT:
        raise Part(path, "metainfo, 'format'").error(
            f'{found!r:.80} is not known, only {FORMAT!r}',
            'update hero_mm, or convert the data with this version',
        )


def check_video(path: str, video_id: str, entry: Any, rows: int) -> None:
    """Check the entry of a video, all but the values of its boxes.

    ``rows`` is the number of boxes in the file of tracks.
    """
    part = Part(path, f'video {video_id!r}', entry)
    part.check(dict, 'its entry', entry)
    part.need_keys(*_VIDEO_KEYS, cure='add {!r} or convert the data again')
    for key, types in _VIDEO_KEYS.items():
        value = entry[key]
        wrong = not isinstance(value, types) or isinstance(value, bool)
        if wrong or not value or (key != 'path' and not 0 < value < math.inf):
            kind = 'text' if key == 'path' else 'a number above 0'
            if types == (int,):
                kind = 'a whole number above 0'
            raise part.error(f'{key!r} is {value!r}', f'give {kind}')
    count = entry['frame_count']
    if count > MOST_FRAMES:
        cure = f'give at most {MOST_FRAMES:,}, cut a longer video'
        raise part.error(f"'frame_count' is {count}", cure)
    part.check_key(bool, 'tracks_complete', False)
    _check_predicates(part)
    for track_id, track in part.check_key(dict, 'tracks', {}).items():
        where = f'{part.where}, track {track_id!r}'
        _check_track(Part(path, where, track), count, rows)


def _check_predicates(part: Part) -> None:
    """Check what is true of a video or of a track."""
    for predicate in part.check_key(list, 'predicates', []):
        part.check(str, 'a predicate', predicate)


def _check_track(part: Part, frame_count: int, rows: int) -> None:
    track = part.value
    if not isinstance(track, dict) or not ({'runs', 'boxes'} & set(track)):
        raise part.error(
            f"neither 'runs' nor 'boxes', found {track!r:.80}",
            'add the boxes of the track',
        )
    part.check_key(str, 'category', '')
    _check_predicates(part)
    part.check_key(bool, 'key_frames', False)
    if 'runs' not in track:
        _check_written_boxes(part, frame_count)
        return
    last = 0
    for run in part.check_key(list, 'runs'):
        whole = isinstance(run, list) and [type(n) for n in run] == [int] * 3
        if not whole:
            raise part.error(f'run {run!r}', 'give [begin, end, row]')
        begin, end, row = run
        if not last <= begin < end <= frame_count:
            raise part.error(
                f'run {run} is empty, overlaps the one before or leaves the '
                f'{frame_count} frames of the video',
                'give sorted runs with begin < end <= frame_count',
            )
        if row < 0 or row + end - begin > rows:
            raise part.error(
                f'run {run} needs rows up to {row + end - begin}, the file '
                f'of tracks has {rows}',
                'the two files are not of the same conversion: convert again',
            )
        last = end


def _check_written_boxes(part: Part, frame_count: int) -> None:
    """Check boxes that stand in the JSON itself."""
    for frame, box in part.check_key(dict, 'boxes').items():
        # Python reads numbers of some 4000 digits and no longer ones.
        whole = frame.isdecimal() and len(frame) < 99
        if not whole or int(frame) >= frame_count:
            cure = f'give a number from 0 to {frame_count - 1}'
            raise part.error(f'a box on frame {frame!r:.80}', cure)
        try:
            good = is_box(np.array(box, dtype=np.float32).reshape(1, 4))[0]
        except (TypeError, ValueError):
            good = False
        if not good:
            raise part.error(f'box {box}', _BOX_CURE, f'frame {frame}')


def is_box(boxes_N4: np.ndarray) -> np.ndarray:
    """Which boxes (N, 4), xyxy, are finite and have an area; of shape (N,)."""
    area_N: np.ndarray = np.all(boxes_N4[:, 2:] > boxes_N4[:, :2], axis=1)
    if boxes_N4.dtype.kind == 'f':
        return area_N & np.isfinite(boxes_N4).all(1)
    return area_N


def check_boxes(
    path: str, videos: Mapping[str, VideoInfo], boxes_N4: np.ndarray
) -> None:
    """Check the values of all boxes in the file of tracks, of shape (N, 4)."""
    for start in range(0, len(boxes_N4), _CHUNK):
        bad = np.flatnonzero(~is_box(boxes_N4[start : start + _CHUNK]))
        if len(bad):
            row = start + int(bad[0])
            part = Part(path, _place_of_row(videos, row))
            raise part.error(f'box {boxes_N4[row].tolist()}', _BOX_CURE)


def _place_of_row(videos: Mapping[str, VideoInfo], row: int) -> str:
    for video_id, video in videos.items():
        for track_id, track in video.tracks.items():
            for begin, end, start in track.runs.tolist():
                if track.boxes is None and start <= row < start + end - begin:
                    return (
                        f'video {video_id!r}, track {track_id!r}, frame '
                        f'{begin + row - start}'
                    )
    return f'row {row} of the file of tracks'


def find_fault(
    text: str,
    segment: Sequence[int],
    span: Sequence[int],
    track_id: str,
    video: VideoInfo,
) -> Optional[str]:
    """What makes a sentence unusable, whatever file it stands in.

    Returns:
        str, optional: ``'text'``, ``'segment'``, ``'span'`` (both half-open,
        in frames) or ``'track_id'``.
    """
    if not text.strip():
        return 'text'
    if not 0 <= segment[0] < segment[1] <= video.frame_count:
        return 'segment'
    if not segment[0] <= span[0] < span[1] <= segment[1]:
        return 'span'
    return None if track_id in video.tracks else 'track_id'


def check_clips(
    path: str, videos: Mapping[str, VideoInfo], data_list: Any
) -> None:
    """Check the clips, ``data_list`` of a file, and their queries."""
    if not data_list:
        raise Part(path, 'data_list').error(
            'is empty: there is nothing to learn or to score',
            'convert the data again',
        )
    seen: dict[str, int] = {}
    for index, clip in enumerate(data_list):
        part = Part(path, f'data_list[{index}]', clip)
        video = _check_clip(part, videos)
        for query in clip['queries']:
            _check_query(part, query, video)
            query_id = query['query_id']
            if query_id in seen:
                raise part.error(
                    f'query id {query_id!r} is already in '
                    f'data_list[{seen[query_id]}]',
                    'give each sentence an id of its own',
                )
            seen[query_id] = index


def _check_clip(part: Part, videos: Mapping[str, VideoInfo]) -> VideoInfo:
    """Check a clip, all but its queries; gives its video."""
    clip = part.value
    part.check(dict, 'the clip', clip)
    part.need_keys('video_id', 'segment', 'queries')
    video = videos.get(part.check_key(str, 'video_id'))
    if video is None:
        raise part.error(
            f'unknown video id {clip["video_id"]!r}',
            f"add it to 'videos' ({len(videos)} there) or correct the id",
        )
    part.where += f' (video {clip["video_id"]!r})'
    _check_whole(part, 'segment', clip['segment'])
    if not part.check_key(list, 'queries'):
        raise part.error('no queries', 'add a sentence or drop the clip')
    return video


def _check_whole(part: Part, name: str, span: Any) -> None:
    """Check that a span is a pair of frame numbers."""
    if not isinstance(span, (list, tuple)) or [type(n) for n in span] != [
        int,
        int,
    ]:
        raise part.error(
            f'{name} {span!r:.80} is no pair of whole numbers',
            'give [start, end) in native frames, without decimals',
        )


def _check_query(clip: Part, query: Any, video: VideoInfo) -> None:
    clip.check(dict, 'a query', query)
    query_id = query.get('query_id', 'without an id')
    part = Part(clip.path, f'{clip.where}, query {query_id!r}', query)
    part.need_keys(*_QUERY_KEYS)
    for key in ('query_id', 'text', 'track_id'):
        part.check_key(str, key)
    for key in ('predicate', 'category'):
        if query.get(key) is not None:
            part.check_key(str, key)
    if query['type'] not in QUERY_TYPES:
        cure = f'use one of {list(QUERY_TYPES)}'
        raise part.error(f"'type' is {query['type']!r}", cure)
    segment, span = clip.value['segment'], query['span']
    track_id = query['track_id']
    _check_whole(part, 'span', span)
    fault = find_fault(query['text'], segment, span, track_id, video)
    if fault == 'text':
        raise part.error("the sentence ('text') is empty", 'write or drop it')
    if fault == 'segment':
        raise clip.error(
            f'segment {segment} is empty or not in the {video.frame_count} '
            'frames of the video',
            'give [start, end) with 0 <= start < end <= frame_count',
        )
    if fault == 'span':
        raise part.error(
            f'span {span} is empty or outside its segment {list(segment)}',
            'give [start, end) of native frames inside the segment',
        )
    if fault == 'track_id':
        raise part.error(
            f'unknown track id {track_id!r}',
            f'the video has the tracks {sorted(video.tracks)}',
        )
    runs_R3 = video.tracks[track_id].runs
    if not ((runs_R3[:, 0] < span[1]) & (runs_R3[:, 1] > span[0])).any():
        raise part.error(
            f'track {track_id!r} has no box in the span '
            f'[{span[0]}, {span[1]})',
            'add its boxes, or drop the sentence: it cannot be scored',
        )
