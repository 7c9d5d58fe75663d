"""The annotation file: videos, their tracks, and the sentences about them.

One format for every data set, described in ``docs/data.md``. Tracks stand once
a video; their boxes lie in one memory-mapped array beside the JSON, so that
many sentences load in seconds and worker processes share the boxes.

Shape legend: N boxes of all tracks, T frames. Boxes are xyxy in pixels,
``(x2, y2)`` exclusive. Frame numbers are native and 0-based;
spans and segments are half-open ``[start, end)``.
"""

import io
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import numpy as np
from mmengine import fileio

from hero_mm.files import write_bytes, write_text
from hero_mm.json_reader import JsonError, read_json

from .checks import find_fault, is_box
from .entries import AnnotationError, Entry, PathLike
from .tracks import Track, TrackStore, VideoInfo

FORMAT = 'hero_mm/1'
_CURE = 'correct it (docs/data.md, section 2) or convert the data again'
_STORE_CURE = 'copy it again, or convert again'
_BOX_CURE = (
    'give [x1, y1, x2, y2] with x2 > x1 and y2 > y1, in pixels; convert boxes '
    'of left, top, width and height'
)
# Boxes that are checked at once.
_CHUNK = 1 << 20
# The boxes beside a file (N, 4), and which of them are none (N,).
Rows = tuple[np.ndarray, np.ndarray]


class GroundTruths(Mapping):
    """Query id to its true tube, each made when it is asked for: all boxes of
    a large split would fill the memory.
    """

    def __init__(self, annotation: 'GroundingAnnotation') -> None:
        self._annotation = annotation
        self._place = {
            query['query_id']: (clip, query)
            for clip in annotation.data_list
            for query in clip['queries']
        }

    def __getitem__(self, query_id: str) -> dict:
        clip, query = self._place[query_id]
        video = self._annotation.videos[clip['video_id']]
        start, end = query['span']
        # One frame more: some protocols take the end for the last frame.
        frames = np.arange(start, end + 1)
        boxes, valid = video.track_boxes(query['track_id'], frames)
        return dict(
            span=(start, end),
            boxes=dict(zip(frames[valid].tolist(), boxes[valid].tolist())),
            segment=tuple(clip['segment']),
            fps=video.fps,
            query_type=query['type'],
        )

    def __contains__(self, query_id: object) -> bool:
        return query_id in self._place

    def __iter__(self) -> Iterator[str]:
        return iter(self._place)

    def __len__(self) -> int:
        return len(self._place)


@dataclass
class GroundingAnnotation:
    """A loaded annotation file: videos by id, and clips as in the file."""

    metainfo: dict
    videos: dict[str, VideoInfo]
    data_list: list[dict]
    path: str = ''

    def ground_truths(self) -> GroundTruths:
        """The true tubes by query id, as ``evaluate_tubes`` takes them."""
        return GroundTruths(self)


def load_annotation(
    path: PathLike, backend_args: Optional[dict] = None
) -> GroundingAnnotation:
    """Read and check an annotation file; its boxes are memory-mapped.

    Args:
        path (PathLike): The JSON file.
        backend_args (dict, optional): Arguments of the MMEngine storage
            backend. Defaults to None, the local disk.

    Raises:
        FileNotFoundError: The file, or the boxes that it names, is missing.
        AnnotationError: Something in it is wrong; names the entry and the
            cure.
    """
    path = str(path)
    if backend_args is None and not os.path.isfile(path):
        raise FileNotFoundError(
            f'annotation file {path} does not exist; make it with one of '
            'tools/dataset_converters or correct `ann_file`'
        )
    try:
        raw = read_json(path, None, backend_args)
    except JsonError as error:
        raise AnnotationError(path, error.where, error.found, _CURE) from error
    file = Entry(path, 'top level', raw, _CURE)
    file.need('metainfo', 'videos', 'data_list')
    return _read(file, _open_store(file, backend_args))


def _open_store(
    file: Entry, backend_args: Optional[dict]
) -> Optional[TrackStore]:
    """The array of boxes beside an annotation file, where it has one."""
    about = file.at('metainfo', file.object('metainfo'))
    name = about.text('tracks_file', '')
    if not name:
        return None
    folder = str(file.path).rpartition('/')[0]
    where = fileio.join_path(folder, name, backend_args=backend_args)
    try:
        if backend_args is None:
            store = TrackStore(os.path.abspath(where))
        else:
            data = fileio.get(where, backend_args=backend_args)
            store = TrackStore('', np.load(io.BytesIO(data)))
        shape = store.array.shape
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f'{file.path} keeps its boxes in {name}, but {where} does not '
            'exist; copy it beside the JSON file or convert again'
        ) from error
    except (ValueError, EOFError) as error:
        found = f'no whole array of boxes ({error})'
        raise about.error(found, _STORE_CURE, name) from error
    expected = about.value.get('num_boxes', shape[0] if shape else 0)
    if shape != (expected, 4) or store.array.dtype.kind not in 'iuf':
        found = (
            f'expected numbers of shape ({expected}, 4), found '
            f'{store.array.dtype} of shape {shape}'
        )
        raise about.error(found, _STORE_CURE, name)
    return store


def _read(file: Entry, store: Optional[TrackStore]) -> GroundingAnnotation:
    """Read and check what a file says, with the boxes beside it."""
    about = file.at('metainfo', file.object('metainfo'))
    found = about.value.get('format', FORMAT)
    if found != FORMAT:
        raise about.error(
            f"'format' {found!r:.80} is not known, only {FORMAT!r}",
            'update hero_mm, or convert the data with this version',
        )
    complete = about.flag('tracks_complete', False)
    boxes = np.zeros((0, 4)) if store is None else store.array
    # A part at a time: the array may be larger than the memory.
    parts = range(0, len(boxes), _CHUNK)
    bad = [~is_box(boxes[part : part + _CHUNK]) for part in parts]
    rows = boxes, np.concatenate([np.zeros(0, bool), *bad])
    videos = {
        name: _read_video(
            file.at(f'video {name!r}', raw), name, store, complete, rows
        )
        for name, raw in file.object('videos').items()
    }
    clips = file.list('data_list')
    if not clips:
        raise file.error('data_list is empty: nothing to learn or to score')
    seen: set[str] = set()
    for place, raw in enumerate(clips):
        _check_clip(file.at(f'data_list[{place}]', raw), videos, seen)
    return GroundingAnnotation(about.value, videos, clips, str(file.path))


def _read_video(
    entry: Entry,
    name: str,
    store: Optional[TrackStore],
    complete: bool,
    rows: Rows,
) -> VideoInfo:
    count = entry.whole('frame_count', 1)
    tracks = {}
    for track_id, raw in entry.object('tracks', {}).items():
        place = entry.at(f'{entry.where}, track {track_id!r}', raw)
        tracks[track_id] = _read_track(place, count, rows)
    return VideoInfo(
        name,
        entry.text('path'),
        count,
        float(entry.number('fps', 0.001)),
        entry.whole('width', 1),
        entry.whole('height', 1),
        tracks,
        store,
        _predicates(entry),
        entry.flag('tracks_complete', complete),
    )


def _predicates(entry: Entry) -> tuple[str, ...]:
    """What is true of a video or of a track, each name once in memory."""
    names = entry.list('predicates', [])
    if not all(isinstance(name, str) for name in names):
        raise entry.error(f'a predicate is no text: {names!r:.80}')
    return tuple(map(sys.intern, names))


def _read_track(entry: Entry, count: int, rows: Rows) -> Track:
    """A track of a video of so many frames, with the boxes beside the file."""
    category, true = entry.text('category', ''), _predicates(entry)
    if 'runs' in entry.value:
        return Track(category, _read_runs(entry, count, rows), None, true)
    frames, boxes = [], []
    for frame, box in entry.object('boxes').items():
        # Python reads numbers of some 4000 digits and no longer ones.
        whole = frame.isdecimal() and len(frame) < 99
        if not whole or int(frame) >= count:
            cure = f'give a number from 0 to {count - 1}'
            raise entry.error(f'a box on frame {frame!r:.80}', cure)
        try:
            boxes.append(np.array(box, dtype=np.float32).reshape(4))
            good = bool(is_box(boxes[-1]))
        except (TypeError, ValueError, OverflowError):
            good = False
        if not good:
            raise entry.error(f'box {box!r:.80}', _BOX_CURE, f'frame {frame}')
        frames.append(int(frame))
    boxes_N4 = np.reshape(boxes, (-1, 4))
    if entry.flag('key_frames', False):
        track = Track.from_key_frames(category, frames, boxes_N4)
    else:
        track = Track.from_boxes(category, frames, boxes_N4)
    track.predicates = true
    return track


def _read_runs(entry: Entry, count: int, rows: Rows) -> np.ndarray:
    """The runs of a track, int64, of shape (R, 3)."""
    runs, (rows_N4, bad_N) = entry.list('runs'), rows
    cure = (
        'give sorted runs [begin, end, row]; convert again if the two files '
        'are not of the same conversion'
    )
    last = 0
    for run in runs:
        if not isinstance(run, list) or [type(n) for n in run] != [int] * 3:
            raise entry.error(f'run {run!r:.80}', cure)
        begin, end, row = run
        inside = last <= begin < end <= count
        if not inside or not 0 <= row <= len(rows_N4) - (end - begin):
            raise entry.error(
                f'run {run} is empty, overlaps the one before, or leaves the '
                f'{count} frames of the video or the {len(rows_N4)} rows of '
                'boxes',
                cure,
            )
        last = end
        bad_T = bad_N[row : row + end - begin]
        if bad_T.any():
            bad = int(bad_T.argmax())
            box = rows_N4[row + bad].tolist()
            where = f'frame {begin + bad}'
            raise entry.error(f'box {box}', _BOX_CURE, where)
    return np.array(runs, dtype=np.int64).reshape(-1, 3)


def _check_clip(
    clip: Entry, videos: Mapping[str, VideoInfo], seen: set[str]
) -> None:
    """Check a clip and its sentences, whose ids nobody has seen yet."""
    name = clip.text('video_id')
    if name not in videos:
        raise clip.error(f'unknown video id {name!r}')
    clip.where += f' (video {name!r})'
    _check_frames(clip, 'segment')
    if not clip.list('queries'):
        raise clip.error('no queries', 'add a sentence or drop the clip')
    for raw in clip.value['queries']:
        query_id = clip.at(f'{clip.where}, a query', raw).text('query_id')
        query = clip.at(f'{clip.where}, query {query_id!r}', raw)
        if query_id in seen:
            raise query.error('another sentence has the same id')
        seen.add(query_id)
        _check_query(clip, query, videos[name])


def _check_frames(entry: Entry, key: str) -> None:
    """Check that a span is a pair of frame numbers."""
    entry.need(key)
    span = entry.value[key]
    pair = isinstance(span, (list, tuple)) and len(span) == 2
    if not pair or {type(number) for number in span} != {int}:
        raise entry.error(
            f'{key} {span!r:.80} is no pair of whole numbers',
            'give [start, end) in native frames, without decimals',
        )


def _check_query(clip: Entry, query: Entry, video: VideoInfo) -> None:
    for key in ('text', 'type', 'track_id'):
        query.text(key)
    for key in ('predicate', 'category'):
        if query.value.get(key) is not None:
            query.text(key)
    _check_frames(query, 'span')
    track_id, span = query.value['track_id'], query.value['span']
    fault = find_fault(query.value, clip.value['segment'], video)
    if fault is not None:
        raise query.error(fault)
    runs_R3 = video.tracks[track_id].runs
    if not ((runs_R3[:, 0] < span[1]) & (runs_R3[:, 1] > span[0])).any():
        raise query.error(
            f'track {track_id!r} has no box in the span '
            f'[{span[0]}, {span[1]})',
            'add its boxes, or drop the sentence: it cannot be scored',
        )


def save_annotation(
    path: PathLike,
    metainfo: dict,
    videos: Mapping[str, VideoInfo],
    data_list: Sequence[dict],
) -> None:
    """Write an annotation file and, beside ``x.json``, ``x.tracks.npy``.

    Args:
        path (PathLike): The JSON file.
        metainfo (dict): Says at least ``dataset`` and ``split``;
            ``tracks_complete`` of it is what most videos have.
        videos (Mapping[str, VideoInfo]): Video id to video.
        data_list (Sequence[dict]): One entry a clip.

    Raises:
        AnnotationError: What would be written could not be read back.
    """
    path = Path(path)
    entries, boxes_N4 = _pack_tracks(
        videos, metainfo.get('tracks_complete', False)
    )
    tracks_path = path.with_suffix('.tracks.npy')
    raw = dict(
        metainfo={
            'format': FORMAT,
            **metainfo,
            'tracks_file': tracks_path.name,
            'num_boxes': len(boxes_N4),
        },
        videos=entries,
        data_list=list(data_list),
    )
    file = Entry(path, 'top level', raw, _CURE)
    _read(file, TrackStore('', boxes_N4))
    buffer = io.BytesIO()
    np.save(buffer, boxes_N4, allow_pickle=False)
    write_bytes(tracks_path, buffer.getbuffer())
    write_text(path, json.dumps(raw))


def _pack_tracks(
    videos: Mapping[str, VideoInfo], complete: bool
) -> tuple[dict[str, dict], np.ndarray]:
    """Lay all tracks into one array and say where each one lies."""
    parts: list[np.ndarray] = []
    entries: dict[str, dict] = {}
    row = 0
    for video_id, video in videos.items():
        tracks: dict[str, dict] = {}
        for track_id, track in video.tracks.items():
            runs = []
            for begin, end, start in track.runs.tolist():
                parts.append(video.rows(track_id)[start : start + end - begin])
                runs.append([begin, end, row])
                row += end - begin
            tracks[track_id] = dict(category=track.category, runs=runs)
            if track.predicates:
                tracks[track_id]['predicates'] = list(track.predicates)
        entries[video_id] = dict(
            path=video.path,
            frame_count=video.frame_count,
            fps=video.fps,
            width=video.width,
            height=video.height,
            tracks=tracks,
        )
        if video.predicates:
            entries[video_id]['predicates'] = list(video.predicates)
        if video.tracks_complete != complete:
            entries[video_id]['tracks_complete'] = video.tracks_complete
    boxes_N4 = np.concatenate(parts) if parts else np.zeros((0, 4), np.int16)
    return entries, narrow(boxes_N4)


def narrow(boxes_N4: np.ndarray) -> np.ndarray:
    """int16 where nothing is lost, float32 otherwise."""
    with np.errstate(invalid='ignore'):
        small = boxes_N4.astype(np.int16)
    if (small == boxes_N4).all():
        return small
    return boxes_N4.astype(np.float32)
