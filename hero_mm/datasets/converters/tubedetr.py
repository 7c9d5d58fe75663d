"""Files that TubeDETR's preprocessing writes to the one annotation format.

VidSTG (``{train,val,test}.json``): a list of sentences, questions before
captions, and the boxes of their objects. ``end_frame`` is VidSTG's
``used_segment.end_fid`` unchanged: the last frame, though TubeDETR takes it
for the frame after it. ``tube_end_frame`` is the frame after the last. Boxes
are only there for objects that a sentence asks for: tracks are not complete.

HC-STVG (``*_proc.json``): a list of sentences with a box for each frame of
their tube. Frames count from 1, so that TubeDETR sees boxes one frame late;
here they are moved to where they belong.

Shape legend: T frames. Boxes are xywh in the files, xyxy here.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional, Union

import numpy as np

from hero_mm.errors import UserError

from ..annotation import QUERY_TYPES
from ..tracks import VideoInfo
from .boxes import make_track, to_corners
from .clips import ClipList, RawNames, Sentence
from .common import (
    MOST,
    ConversionError,
    ConversionSummary,
    PathLike,
    need,
    read_json,
    read_name,
    read_number,
    read_text,
    read_whole,
)
from .verify import VideoCheck
from .videos import place_videos
from .vidor import RAISED

HC_SECONDS = 20
BOXES_COUNT = 'sentences whose end disagrees with their boxes, which count'
QUERY_IDS = ('tubedetr', 'official')
NAMES = RawNames(
    segment='start_frame and end_frame',
    span='tube_start_frame and tube_end_frame',
    target='target_id',
    text='caption',
    boxes='the file',
    inclusive=True,
)
HC_NAMES = RawNames(
    segment='frame_count',
    span='tube_start_frame (from 1) and trajectory',
    target='trajectory',
    text='caption',
    boxes='the file',
)
_KEYS = ('original_video_id', 'video_path', 'video_id', 'caption')
_VIDSTG_KEYS = (*_KEYS, 'qtype', 'target_id')
_HC_KEYS = (*_KEYS, 'trajectory')
_TIMES = ('start_frame', 'end_frame', 'tube_start_frame', 'tube_end_frame')
_CURE = 'check that this is a file of TubeDETR, or make it again'


@dataclass
class _RawTrack:
    """A track as read: T frame numbers, and xywh boxes of shape (T, 4)."""

    numbers: np.ndarray
    boxes: np.ndarray


def convert_tubedetr(
    annotations: PathLike,
    out: PathLike,
    videos: Optional[Union[PathLike, VideoCheck]] = None,
    dataset: Optional[str] = None,
    split: Optional[str] = None,
    query_ids: str = 'tubedetr',
    skip_bad: bool = False,
) -> ConversionSummary:
    """Convert one preprocessed file of VidSTG or HC-STVG.

    Args:
        annotations (PathLike): ``test.json``, ``test_proc.json``, ...; what
            stands in it tells which data set it is.
        out (PathLike): The annotation file to write; its boxes go beside it.
        videos (PathLike | VideoCheck, optional): Folder of the videos. Where
            it is given, each video must be there, nested or flat; a
            :class:`VideoCheck` has them verified, too.
        dataset (str, optional): Name of the data set. Defaults to None:
            ``vidstg``, or ``hcstvg-v2`` where the name of an HC-STVG file
            says v2, else ``hcstvg``.
        split (str, optional): Name of the split. Defaults to None: the start
            of the name of ``annotations``.
        query_ids (str): What names a sentence: ``tubedetr``, its ``video_id``
            there, or ``official``, what the converters of the official files
            call it: for VidSTG its number there, where captions stand before
            questions, for HC-STVG the file name of its video. Defaults to
            ``tubedetr``.
        skip_bad (bool): Leave out and list what is wrong, instead of raising
            at the first. Defaults to False.

    Returns:
        ConversionSummary: What was written, repaired and skipped.

    Raises:
        FileNotFoundError: A file or folder is missing.
        ConversionError: Something is wrong; names the entry and the cure.
        ValueError: ``query_ids`` is none of the two.
    """
    if query_ids not in QUERY_IDS:
        raise UserError(f'query_ids must be one of {QUERY_IDS}: {query_ids}')
    raw = read_json(annotations, hook=_compact)
    summary = ConversionSummary(str(out))
    stem = Path(annotations).stem
    told = re.match('train|val|test', stem)
    split = split or (told.group() if told else stem)
    if isinstance(raw, dict) and {'videos', 'trajectories'} <= set(raw):
        clips = ClipList(annotations, NAMES, summary, skip_bad)
        ids = _query_ids(annotations, raw['videos'], query_ids)
        infos = _vidstg_videos(clips, raw)
        found = place_videos(
            infos.values(), videos, annotations, summary, skip_bad
        )
        _add_vidstg(clips, raw['videos'], ids, found)
        dataset = dataset or 'vidstg'
    elif isinstance(raw, list):
        clips = ClipList(annotations, HC_NAMES, summary, skip_bad)
        sentences, infos = _read_hcstvg(clips, raw, query_ids)
        found = place_videos(
            infos.values(), videos, annotations, summary, skip_bad
        )
        _add_hcstvg(clips, sentences, found)
        dataset = dataset or ('hcstvg-v2' if 'v2' in stem else 'hcstvg')
    else:
        raise ConversionError(
            annotations,
            'top level',
            "expected an object with 'videos' and 'trajectories' (VidSTG) or "
            f'a list (HC-STVG), found {type(raw).__name__}',
            "VidSTG's and HC-STVG's own files have converters of their own",
        )
    return clips.save(out, dataset, split, found, query_ids=query_ids)


def _compact(entry: dict[str, Any]) -> Any:
    """Turn boxes and tracks into arrays as they are read.

    As dictionaries the boxes of VidSTG's train split would take some 10 GB.
    What does not look as it should stays, to be named later.
    """
    if type(next(iter(entry.values()), None)) is tuple:
        try:
            numbers_T = np.array([int(frame) for frame in entry], np.int64)
            boxes_T4 = np.array(list(entry.values()))
        except (OverflowError, ValueError):
            return entry
        if boxes_T4.shape[1:] != (4,) or boxes_T4.dtype.kind not in 'if':
            return entry
        return _RawTrack(numbers_T, boxes_T4.astype(_narrowest(boxes_T4)))
    box = entry.get('bbox')
    if isinstance(box, list) and len(box) == 4:
        return tuple(box)
    return entry


def _narrowest(boxes_T4: np.ndarray) -> type:
    """int32 for whole numbers that fit, else as precise as they are."""
    small = boxes_T4.dtype.kind == 'i' and np.abs(boxes_T4).max() < 1 << 30
    return np.int32 if small else np.float64


def _query_ids(path: PathLike, sentences: list[Any], kind: str) -> list[str]:
    """The name of each sentence."""
    if not isinstance(sentences, list):
        found = f'expected a list, found {type(sentences).__name__}'
        raise ConversionError(path, 'videos', found, _CURE)
    for place, entry in enumerate(sentences):
        need(path, f'videos[{place}]', entry, _VIDSTG_KEYS)
    if kind == 'tubedetr':
        return _own_ids(path, sentences, 'videos')
    ids: list[str] = []
    group: list[Any] = []
    for place, entry in enumerate(sentences):
        group.append(entry)
        if entry['video_id'] != place or _moment(entry) != _moment(group[0]):
            raise ConversionError(
                path,
                f'videos[{place}] (video_id {entry["video_id"]!r})',
                'not in the order of a whole file of VidSTG, where the '
                'questions of a moment stand before its caption',
                "use TubeDETR's numbers with --query-ids tubedetr",
            )
        if entry['qtype'] == 'declarative':
            first = len(ids)
            ids += [str(first + 1 + i) for i in range(len(group) - 1)]
            ids.append(str(first))
            group = []
    if group:
        raise ConversionError(
            path,
            f'the last {len(group)} sentences',
            'questions without a caption',
            "use TubeDETR's numbers with --query-ids tubedetr",
        )
    return ids


def _own_ids(path: PathLike, sentences: list[Any], name: str) -> list[str]:
    """TubeDETR's own numbers, each of which must name one sentence."""
    places: dict[str, int] = {}
    for place, entry in enumerate(sentences):
        query_id = read_name(path, f'{name}[{place}]', entry, 'video_id')
        first = places.setdefault(query_id, place)
        if first != place:
            raise ConversionError(
                path,
                f'{name}[{place}]',
                f'video_id {entry["video_id"]!r} is already that of '
                f'{name}[{first}]',
                _CURE,
            )
    return list(places)


def _moment(entry: Mapping[str, Any]) -> tuple:
    """What the sentences of one entry of VidSTG have in common."""
    return tuple(entry.get(key) for key in ('original_video_id', *_TIMES))


def _vidstg_videos(clips: ClipList, raw: dict) -> dict[str, VideoInfo]:
    """Each video with its tracks, in order of the first sentence."""
    path = clips.path
    need(path, 'trajectories', raw['trajectories'], ())
    infos: dict[str, VideoInfo] = {}
    bad: set[str] = set()
    for place, entry in enumerate(raw['videos']):
        name = _video_name(path, f'videos[{place}]', entry)
        where = f'videos[{place}] (video {name!r})'
        if name in bad:
            continue
        try:
            video = _read_video(path, where, entry, name, 'fps')
            known = infos.setdefault(name, video)
            _same_video(path, where, known, video)
        except ConversionError as error:
            clips.summary.skip(error, clips.skip_bad, 'video')
            bad.add(name)
            infos.pop(name, None)
    for name in list(infos):
        where = f'trajectories, video {name!r}'
        try:
            if name not in raw['trajectories']:
                raise ConversionError(path, where, 'is missing', _CURE)
            _read_tracks(clips, infos[name], raw['trajectories'][name])
        except ConversionError as error:
            clips.summary.skip(error, clips.skip_bad, 'video')
            del infos[name]
    return infos


def _video_name(path: PathLike, where: str, entry: dict) -> str:
    return read_name(path, where, entry, 'original_video_id')


def _same_video(
    path: PathLike, where: str, known: VideoInfo, video: VideoInfo
) -> None:
    """Refuse two sentences that tell different things of one video."""
    old, new = (
        (v.frame_count, v.fps, v.width, v.height, v.path)
        for v in (known, video)
    )
    if old != new:
        raise ConversionError(
            path,
            where,
            f'frame_count, fps, width, height, video_path are {new}, at an '
            f'earlier sentence {old}',
            _CURE,
        )


def _read_video(
    path: PathLike, where: str, entry: Any, name: str, fps: str = ''
) -> VideoInfo:
    """What a sentence tells of its video."""
    count = read_whole(path, where, entry, 'frame_count', least=1)
    return VideoInfo(
        name,
        read_text(path, where, entry, 'video_path') or f'{name}.mp4',
        count,
        float(read_number(path, where, entry, fps, least=1e-3))
        if fps
        else count / HC_SECONDS,
        read_whole(path, where, entry, 'width', least=1),
        read_whole(path, where, entry, 'height', least=1),
    )


def _read_tracks(clips: ClipList, video: VideoInfo, tracks: Any) -> None:
    """Give a video of VidSTG its tracks."""
    need(clips.path, f'trajectories, video {video.video_id!r}', tracks, ())
    for track_id, raw in tracks.items():
        where = f'video {video.video_id!r}, track {track_id}'
        if isinstance(raw, dict):
            wrong = next((k for k in raw if not k.isdigit()), None)
            if wrong is not None:
                raise ConversionError(
                    clips.path, where, f'frame {wrong!r} is no number', _CURE
                )
            numbers = np.array([int(frame) for frame in raw])
            boxes: Any = list(raw.values())
        elif isinstance(raw, _RawTrack):
            numbers, boxes = raw.numbers, raw.boxes
        else:
            found = f'expected frames and boxes, found {raw!r:.80}'
            raise ConversionError(clips.path, where, found, _CURE)
        if len(numbers):
            _add_track(clips, video, track_id, where, numbers, boxes)


def _add_track(
    clips: ClipList,
    video: VideoInfo,
    track_id: str,
    where: str,
    numbers: np.ndarray,
    boxes: Any,
    category: str = '',
) -> None:
    """Give a video a track of xywh boxes, and the frames that it needs."""
    low, high = numbers.min(), numbers.max()
    if len(np.unique(numbers)) < len(numbers) or low < 0 or high > MOST:
        found = f'a frame below 0 or above {MOST}, or one that is twice'
        raise ConversionError(clips.path, where, found, _CURE)
    raw_T4 = to_corners(clips.path, where, numbers, boxes)
    track = make_track(
        clips.path,
        where,
        numbers,
        raw_T4,
        (video.width, video.height),
        clips.summary,
        category,
        clips.skip_bad,
    )
    count = int(numbers.max()) + 1
    if count > video.frame_count:
        told = f'{clips.path}, {where}: {video.frame_count} to {count}'
        clips.summary.note(RAISED, told)
        video.frame_count = count
    if track is not None:
        video.tracks[track_id] = track


def _add_vidstg(
    clips: ClipList,
    sentences: list[dict],
    ids: list[str],
    infos: Mapping[str, VideoInfo],
) -> None:
    """Put the sentences of VidSTG into clips."""
    summary = clips.summary
    for place, (entry, query_id) in enumerate(zip(sentences, ids)):
        name = _video_name(clips.path, f'videos[{place}]', entry)
        where = f'videos[{place}] (video {name!r})'
        video = infos.get(name)
        if video is None:
            summary.note('sentences of skipped videos', where)
            continue
        try:
            sentence = _read_sentence(clips.path, where, entry, query_id)
        except ConversionError as error:
            summary.skip(error, clips.skip_bad, f'sentence {query_id}')
            continue
        clips.add(sentence, video)


def _read_sentence(
    path: PathLike, where: str, entry: dict, query_id: str
) -> Sentence:
    """A sentence of VidSTG, unchecked but for its numbers and type."""
    start, end, begin, stop = (
        read_whole(path, where, entry, key) for key in _TIMES
    )
    if entry['qtype'] not in QUERY_TYPES:
        raise ConversionError(
            path,
            f'{where}, qtype',
            f'expected one of {QUERY_TYPES}, found {entry["qtype"]!r}',
            _CURE,
        )
    return Sentence(
        query_id=query_id,
        where=where,
        type=entry['qtype'],
        text=read_text(path, where, entry, 'caption'),
        segment=(start, end + 1),
        span=(begin, stop),
        track_id=read_name(path, where, entry, 'target_id'),
    )


def _read_hcstvg(
    clips: ClipList, entries: list[Any], query_ids: str
) -> tuple[list[tuple[str, Sentence]], dict[str, VideoInfo]]:
    """Sentences with the name of their video, and the videos."""
    for place, entry in enumerate(entries):
        need(clips.path, f'entries[{place}]', entry, _HC_KEYS)
    ids = _own_ids(clips.path, entries, 'entries')
    if query_ids == 'official':
        ids = _file_names(clips.path, entries)
    sentences: list[tuple[str, Sentence]] = []
    infos: dict[str, VideoInfo] = {}
    for place, (entry, query_id) in enumerate(zip(entries, ids)):
        name = _video_name(clips.path, f'entries[{place}]', entry)
        where = f'entries[{place}] (video {name!r})'
        try:
            video = _read_video(clips.path, where, entry, name)
            _same_video(clips.path, where, infos.get(name, video), video)
            sentence = _read_person(
                clips, infos.get(name, video), where, entry, query_id
            )
        except ConversionError as error:
            what = f'sentence {query_id}'
            clips.summary.skip(error, clips.skip_bad, what)
            continue
        infos.setdefault(name, video)
        sentences.append((name, sentence))
    for name, sentence in sentences:
        # A later sentence may have raised its number of frames.
        sentence.segment = 0, infos[name].frame_count
    return sentences, infos


def _file_names(path: PathLike, entries: list[dict]) -> list[str]:
    """File names of the videos; the second sentence of one gets ``#2``."""
    seen: Counter = Counter()
    ids = []
    for place, entry in enumerate(entries):
        where = f'entries[{place}]'
        name = Path(read_text(path, where, entry, 'video_path')).name
        seen[name] += 1
        ids.append(name if seen[name] == 1 else f'{name}#{seen[name]}')
    return ids


def _read_person(
    clips: ClipList,
    video: VideoInfo,
    where: str,
    entry: dict,
    query_id: str,
) -> Sentence:
    """A sentence of HC-STVG; its person becomes a track of the video."""
    path, boxes = clips.path, entry['trajectory']
    if not isinstance(boxes, list) or not boxes:
        found = f'expected a list of boxes, found {boxes!r:.80}'
        raise ConversionError(path, f'{where}, trajectory', found, _CURE)
    first = read_whole(path, where, entry, 'tube_start_frame', least=1)
    end = read_whole(path, where, entry, 'tube_end_frame')
    if end - first != len(boxes):
        told = f'{where}: [{first}, {end}) for {len(boxes)} boxes'
        clips.summary.note(BOXES_COUNT, told)
    begin = first - 1
    _add_track(
        clips,
        video,
        query_id,
        f'{where}, trajectory',
        np.arange(begin, begin + len(boxes)),
        boxes,
        'person',
    )
    return Sentence(
        query_id=query_id,
        where=where,
        type='declarative',
        text=read_text(path, where, entry, 'caption'),
        segment=(0, video.frame_count),
        span=(begin, begin + len(boxes)),
        track_id=query_id,
    )


def _add_hcstvg(
    clips: ClipList,
    sentences: list[tuple[str, Sentence]],
    infos: Mapping[str, VideoInfo],
) -> None:
    """Put the sentences of HC-STVG into clips: each searches its video."""
    for name, sentence in sentences:
        video = infos.get(name)
        if video is None:
            kind = 'sentences of skipped videos'
            clips.summary.note(kind, sentence.where)
            continue
        clips.add(sentence, video)
