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

from .annotation_checks import (
    FORMAT,
    QUERY_TYPES,
    Part,
    check_boxes,
    check_clips,
    check_format,
    check_video,
)
from .entries import AnnotationError, PathLike
from .tracks import Track, TrackStore, VideoInfo

__all__ = [
    'QUERY_TYPES',
    'AnnotationError',
    'GroundingAnnotation',
    'Track',
    'TrackStore',
    'VideoInfo',
    'load_annotation',
    'save_annotation',
]


class GroundTruths(Mapping):
    """Query id to its true tube, each made when it is asked for.

    As a plain dictionary the boxes of a large split would fill the memory.
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
    """A loaded annotation file.

    Attributes:
        metainfo (dict): ``format``, ``dataset``, ``split`` and more.
        videos (dict[str, VideoInfo]): Video id to video.
        data_list (list[dict]): One entry a clip, as in the file.
        path (str): Where it was read.
    """

    metainfo: dict
    videos: dict[str, VideoInfo]
    data_list: list[dict]
    path: str = ''

    def ground_truths(self) -> GroundTruths:
        """The true tubes, in the form that ``evaluate_tubes`` takes.

        Returns:
            Mapping[str, dict]: Query id to ``span``, ``boxes`` (frame to
            xyxy, inside the span and on the frame after it, for protocols
            that take the end for the last frame), ``segment``, ``fps``,
            ``query_type``.
        """
        return GroundTruths(self)


def load_annotation(
    path: PathLike, backend_args: Optional[dict] = None
) -> GroundingAnnotation:
    """Read and check an annotation file.

    Args:
        path (PathLike): The JSON file.
        backend_args (dict, optional): Arguments of the MMEngine storage
            backend. Defaults to None, the local disk.

    Returns:
        GroundingAnnotation: Its content; boxes of tracks are memory-mapped.

    Raises:
        FileNotFoundError: The file, or the boxes that it names, is missing.
        AnnotationError: Something in it is wrong; names the entry and the
            cure.
    """
    path = str(path)
    file = _read_json(path, backend_args)
    raw = file.value
    file.need_keys(
        'metainfo',
        'videos',
        'data_list',
        cure='convert the data with tools/dataset_converters',
    )
    for key, kind in dict(metainfo=dict, videos=dict, data_list=list).items():
        file.check_key(kind, key)
    check_format(path, raw['metainfo'])
    store = _open_store(path, raw['metainfo'], backend_args)
    complete = _complete_by_default(path, raw['metainfo'])
    videos = {
        video_id: _parse_video(path, video_id, entry, store, complete)
        for video_id, entry in raw['videos'].items()
    }
    if store is not None:
        check_boxes(path, videos, store.array)
    check_clips(path, videos, raw['data_list'])
    return GroundingAnnotation(raw['metainfo'], videos, raw['data_list'], path)


def _read_json(path: str, backend_args: Optional[dict]) -> Part:
    if backend_args is None and not os.path.isfile(path):
        raise FileNotFoundError(
            f'annotation file {path} does not exist; make it with one of '
            'tools/dataset_converters or correct `ann_file`'
        )
    try:
        file = Part(path, 'top level', read_json(path, None, backend_args))
    except JsonError as error:
        raise Part(path, error.where).error(
            error.found,
            'give the JSON file that a converter wrote, or convert again',
        ) from error
    if not isinstance(file.value, dict):
        raise file.error(
            f'expected an object, found {type(file.value).__name__}',
            'a raw file of a data set must be converted first, with '
            'tools/dataset_converters',
        )
    return file


def _open_store(
    path: str, metainfo: dict, backend_args: Optional[dict]
) -> Optional[TrackStore]:
    name = metainfo.get('tracks_file')
    if not name:
        return None
    Part(path, 'metainfo', metainfo).check_key(str, 'tracks_file')
    part = Part(path, f'tracks_file {name}')
    try:
        store = _map_tracks(path, name, backend_args)
        shape = store.array.shape
    except (ValueError, EOFError) as error:
        raise part.error(
            f'no whole array of boxes ({error})',
            'copy it again, or convert the data again',
        ) from error
    expected = metainfo.get('num_boxes', shape[0] if shape else 0)
    if shape != (expected, 4) or store.array.dtype.kind not in 'iuf':
        raise part.error(
            f'expected numbers of shape ({expected}, 4), found '
            f'{store.array.dtype} of shape {shape}',
            'the two files are not of the same conversion: convert again',
        )
    return store


def _map_tracks(
    path: str, name: str, backend_args: Optional[dict]
) -> TrackStore:
    """The array beside an annotation file."""
    if backend_args is not None:
        where = fileio.join_path(
            path.rsplit('/', 1)[0], name, backend_args=backend_args
        )
        data = fileio.get(where, backend_args=backend_args)
        return TrackStore('', np.load(io.BytesIO(data), allow_pickle=False))
    where = os.path.join(os.path.dirname(os.path.abspath(path)), name)
    if not os.path.isfile(where):
        raise FileNotFoundError(
            f'{path} keeps its boxes in {name}, but {where} does not '
            'exist; copy it beside the JSON file or convert again'
        )
    return TrackStore(where)


def _complete_by_default(path: str, metainfo: Mapping) -> bool:
    """Whether tracks of videos that do not say it are complete."""
    part = Part(path, 'metainfo', metainfo)
    return part.check_key(bool, 'tracks_complete', False)


def _parse_video(
    path: str,
    video_id: str,
    entry: dict,
    store: Optional[TrackStore],
    complete: bool,
) -> VideoInfo:
    rows = 0 if store is None else len(store.array)
    check_video(path, video_id, entry, rows)
    tracks = {}
    for track_id, raw in entry.get('tracks', {}).items():
        category, true = raw.get('category', ''), _predicates(raw)
        if 'runs' in raw:
            runs = np.array(raw['runs'], dtype=np.int64).reshape(-1, 3)
            tracks[track_id] = Track(category, runs, predicates=true)
        else:
            frames = [int(frame) for frame in raw['boxes']]
            boxes = np.array(list(raw['boxes'].values()), dtype=np.float32)
            if raw.get('key_frames'):
                track = Track.from_key_frames(category, frames, boxes)
            else:
                track = Track.from_boxes(category, frames, boxes)
            track.predicates = true
            tracks[track_id] = track
    return VideoInfo(
        video_id,
        entry['path'],
        entry['frame_count'],
        float(entry['fps']),
        entry['width'],
        entry['height'],
        tracks,
        store,
        _predicates(entry),
        entry.get('tracks_complete', complete),
    )


def _predicates(entry: Mapping) -> tuple[str, ...]:
    """What is true of a video or of a track, each name once in memory."""
    return tuple(map(sys.intern, entry.get('predicates', ())))


def save_annotation(
    path: PathLike,
    metainfo: dict,
    videos: Mapping[str, VideoInfo],
    data_list: Sequence[dict],
) -> None:
    """Write an annotation file and, beside it, the boxes of its tracks.

    Each file is written under another name and moved into place, the JSON
    last. Boxes become int16 where all are whole numbers that fit.

    Args:
        path (PathLike): The JSON file; ``x.json`` gets ``x.tracks.npy``.
        metainfo (dict): Says at least ``dataset`` and ``split``;
            ``tracks_complete`` of it is what most videos have.
        videos (Mapping[str, VideoInfo]): Video id to video.
        data_list (Sequence[dict]): One entry a clip.

    Raises:
        AnnotationError: What would be written could not be read back.
    """
    path = Path(path)
    complete = _complete_by_default(str(path), metainfo)
    entries, boxes_N4 = _pack_tracks(videos, complete)
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
    store = TrackStore('', boxes_N4)
    packed = {
        video_id: _parse_video(str(path), video_id, entry, store, complete)
        for video_id, entry in entries.items()
    }
    check_boxes(str(path), packed, boxes_N4)
    check_clips(str(path), packed, raw['data_list'])
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
    return entries, _narrow(boxes_N4)


def _narrow(boxes_N4: np.ndarray) -> np.ndarray:
    """int16 where nothing is lost, float32 otherwise."""
    limits = np.iinfo(np.int16)
    with np.errstate(invalid='ignore'):
        small = boxes_N4.astype(np.int16)
    fits = (small == boxes_N4).all() and (
        boxes_N4.size == 0
        or (boxes_N4.min() >= limits.min and boxes_N4.max() <= limits.max)
    )
    return small if fits else boxes_N4.astype(np.float32)
