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

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Optional

import numpy as np

from hero_mm.errors import UserError

from ..annotation import QUERY_TYPES
from ..entries import Entry, PathLike
from ..tracks import MOST_FRAMES, VideoInfo
from .boxes import make_track, to_corners
from .clips import ClipList, RawNames, Sentence
from .common import ConversionSummary, number_again, read_json, split_of
from .videos import Videos, place_videos
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
    videos: Videos = None,
    dataset: Optional[str] = None,
    split: Optional[str] = None,
    query_ids: str = 'tubedetr',
    skip_bad: bool = False,
) -> ConversionSummary:
    """Convert one preprocessed file of VidSTG or HC-STVG.

    Args:
        annotations (PathLike): ``test.json``, ``test_proc.json``, ...; what
            stands in it says which data set it is.
        out (PathLike): The annotation file to write; its boxes go beside it.
        videos (PathLike | VideoCheck, optional): Where each video must be,
            nested or flat; a :class:`VideoCheck` has them verified, too.
        dataset (str, optional): Name of the data set. Defaults to ``vidstg``,
            or ``hcstvg-v2`` where the name of an HC-STVG file says v2, else
            ``hcstvg``.
        split (str, optional): Defaults to the start of the file's name.
        query_ids (str): What names a sentence: ``tubedetr``, its ``video_id``
            there, or ``official``, what the converters of the official files
            call it.
        skip_bad (bool): Leave out and list what is wrong.

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
    summary = ConversionSummary(out, skip_bad)
    file = Entry(annotations, 'top level', raw, _CURE)
    if isinstance(raw, dict) and {'videos', 'trajectories'} <= set(raw):
        clips = ClipList(annotations, NAMES, summary)
        entries = _entries(file, raw['videos'], 'videos', _VIDSTG_KEYS)
        ids = (_own_ids if query_ids == 'tubedetr' else _vidstg_ids)(entries)
        infos = _vidstg_videos(summary, entries, file)
        found = place_videos(infos.values(), videos, annotations, summary)
        for query_id, entry in zip(ids, entries):
            name = entry.name('original_video_id')
            read = partial(_read_sentence, entry, query_id)
            clips.take(query_id, entry.where, read, found.get(name))
        dataset = dataset or 'vidstg'
    elif isinstance(raw, list):
        clips = ClipList(annotations, HC_NAMES, summary)
        entries = _entries(file, raw, 'entries', _HC_KEYS)
        ids = _own_ids(entries)
        if query_ids == 'official':
            paths = (entry.text('video_path') for entry in entries)
            ids = number_again(Path(path).name for path in paths)
        sentences, infos = _read_hcstvg(summary, entries, ids)
        found = place_videos(infos.values(), videos, annotations, summary)
        clips.take_all(sentences, found)
        dataset = dataset or (
            'hcstvg-v2' if 'v2' in Path(annotations).stem else 'hcstvg'
        )
    else:
        raise file.error(
            "expected an object with 'videos' and 'trajectories' (VidSTG) or "
            f'a list (HC-STVG), found {type(raw).__name__}',
            "VidSTG's and HC-STVG's own files have converters of their own",
        )
    split = split or split_of(annotations)
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


def _entries(
    file: Entry, values: Any, name: str, keys: tuple[str, ...]
) -> list[Entry]:
    """The sentences; each names its place and its video."""
    if not isinstance(values, list):
        found = f'expected a list, found {type(values).__name__}'
        raise file.at(name, values).error(found)
    entries = [
        file.at(f'{name}[{n}]', entry) for n, entry in enumerate(values)
    ]
    for entry in entries:
        entry.need(*keys)
    return entries


def _own_ids(entries: list[Entry]) -> list[str]:
    """TubeDETR's own numbers, each of which must name one sentence."""
    places: dict[str, Entry] = {}
    for entry in entries:
        first = places.setdefault(entry.name('video_id'), entry)
        if first is not entry:
            number = entry.value['video_id']
            raise entry.error(
                f'video_id {number!r} is already that of {first.where}'
            )
    return list(places)


def _vidstg_ids(entries: list[Entry]) -> list[str]:
    """The official number of each sentence."""
    cure = "use TubeDETR's numbers with --query-ids tubedetr"
    ids: list[str] = []
    group: list[Entry] = []
    for place, entry in enumerate(entries):
        group.append(entry)
        number = entry.value['video_id']
        if number != place or _moment(entry) != _moment(group[0]):
            where = f'{entry.where} (video_id {number!r})'
            raise entry.at(where, entry.value).error(
                'not in the order of a whole file of VidSTG, where the '
                'questions of a moment stand before its caption',
                cure,
            )
        if entry.value['qtype'] == 'declarative':
            first = len(ids)
            ids += [str(first + 1 + i) for i in range(len(group) - 1)]
            ids.append(str(first))
            group = []
    if group:
        last = group[0].at(f'the last {len(group)} sentences', group)
        raise last.error('questions without a caption', cure)
    return ids


def _moment(entry: Entry) -> tuple:
    """What the sentences of one entry of VidSTG have in common."""
    keys = ('original_video_id', *_TIMES)
    return tuple(entry.value.get(key) for key in keys)


def _vidstg_videos(
    summary: ConversionSummary, entries: list[Entry], file: Entry
) -> dict[str, VideoInfo]:
    """Each video with its tracks, in order of the first sentence."""
    trajectories = file.at('trajectories', file.value['trajectories'])
    trajectories.need()
    infos: dict[str, VideoInfo] = {}
    bad: set[str] = set()
    for entry in entries:
        name = entry.name('original_video_id')
        entry.where += f' (video {name!r})'
        if name in bad:
            continue
        bad.add(name)
        with summary.leaving_out('video'):
            infos.setdefault(name, _read_video(entry, infos, 'fps'))
            bad.discard(name)
        if name in bad:
            infos.pop(name, None)
    for name, video in list(infos.items()):
        del infos[name]
        with summary.leaving_out('video'):
            place = file.at(f'trajectories, video {name!r}', None)
            if name not in trajectories.value:
                raise place.error('is missing')
            place.value = trajectories.value[name]
            place.need()
            for track_id, raw in place.value.items():
                where = f'video {name!r}, track {track_id}'
                _read_track(summary, video, track_id, file.at(where, raw))
            infos[name] = video
    return infos


def _read_video(
    entry: Entry, known: Mapping[str, VideoInfo], fps: str = ''
) -> VideoInfo:
    """The video of a sentence, which must be the one that is known."""
    count = entry.whole('frame_count', least=1)
    name = entry.name('original_video_id')
    video = VideoInfo(
        name,
        entry.text('video_path') or f'{name}.mp4',
        count,
        float(entry.number(fps, least=1e-3)) if fps else count / HC_SECONDS,
        entry.whole('width', least=1),
        entry.whole('height', least=1),
    )
    new, old = (
        (v.frame_count, v.fps, v.width, v.height, v.path)
        for v in (video, known.get(name, video))
    )
    if old != new:
        raise entry.error(
            f'frame_count, fps, width, height, video_path are {new}, at an '
            f'earlier sentence {old}'
        )
    return video


def _read_track(
    summary: ConversionSummary, video: VideoInfo, track_id: str, track: Entry
) -> None:
    """Give a video of VidSTG a track."""
    raw = track.value
    if isinstance(raw, dict):
        wrong = next((k for k in raw if not k.isdecimal()), None)
        if wrong is not None:
            raise track.error(f'frame {wrong!r} is no number')
        numbers = np.array([int(frame) for frame in raw])
        boxes: Any = list(raw.values())
    elif isinstance(raw, _RawTrack):
        numbers, boxes = raw.numbers, raw.boxes
    else:
        raise track.error(f'expected frames and boxes, found {raw!r:.80}')
    if len(numbers):
        _add_track(summary, video, track_id, track, numbers, boxes)


def _add_track(
    summary: ConversionSummary,
    video: VideoInfo,
    track_id: str,
    entry: Entry,
    numbers: np.ndarray,
    boxes: Any,
    category: str = '',
) -> None:
    """Give a video a track of xywh boxes, and the frames that it needs."""
    low, high = numbers.min(), numbers.max()
    twice = len(np.unique(numbers)) < len(numbers)
    if twice or low < 0 or high > MOST_FRAMES:
        raise entry.error(
            f'a frame below 0 or above {MOST_FRAMES}, or one that is twice'
        )
    corners_T4 = to_corners(entry, numbers, boxes)
    size = video.width, video.height
    track = make_track(entry, numbers, corners_T4, size, summary, category)
    count = int(numbers.max()) + 1
    if count > video.frame_count:
        place = f'{entry.path}, {entry.where}'
        summary.note(RAISED, f'{place}: {video.frame_count} to {count}')
        video.frame_count = count
    if track is not None:
        video.tracks[track_id] = track


def _read_sentence(entry: Entry, query_id: str) -> Sentence:
    """A sentence of VidSTG, unchecked but for its numbers and type."""
    start, end, begin, stop = map(entry.whole, _TIMES)
    query_type = entry.value['qtype']
    if query_type not in QUERY_TYPES:
        found = f'expected one of {QUERY_TYPES}, found {query_type!r}'
        raise entry.error(found, field='qtype')
    return Sentence(
        query_id=query_id,
        where=entry.where,
        type=query_type,
        text=entry.text('caption'),
        segment=(start, end + 1),
        span=(begin, stop),
        track_id=entry.name('target_id'),
    )


def _read_hcstvg(
    summary: ConversionSummary, entries: list[Entry], ids: list[str]
) -> tuple[list[tuple[str, Sentence]], dict[str, VideoInfo]]:
    """Sentences with the name of their video, and the videos."""
    sentences: list[tuple[str, Sentence]] = []
    infos: dict[str, VideoInfo] = {}
    for entry, query_id in zip(entries, ids):
        name = entry.name('original_video_id')
        entry.where += f' (video {name!r})'
        with summary.leaving_out(f'sentence {query_id}'):
            video = infos.get(name, _read_video(entry, infos))
            sentence = _read_person(summary, video, entry, query_id)
            infos.setdefault(name, video)
            sentences.append((name, sentence))
    for name, sentence in sentences:
        # A later sentence may have raised its number of frames.
        sentence.segment = 0, infos[name].frame_count
    return sentences, infos


def _read_person(
    summary: ConversionSummary, video: VideoInfo, entry: Entry, query_id: str
) -> Sentence:
    """A sentence of HC-STVG; its person becomes a track of the video."""
    boxes = entry.value['trajectory']
    place = entry.at(f'{entry.where}, trajectory', boxes)
    if not isinstance(boxes, list) or not boxes:
        raise place.error(f'expected a list of boxes, found {boxes!r:.80}')
    first = entry.whole('tube_start_frame', least=1)
    end = entry.whole('tube_end_frame')
    if end - first != len(boxes):
        span = f'[{first}, {end}) for {len(boxes)} boxes'
        summary.note(BOXES_COUNT, f'{entry.where}: {span}')
    begin, stop = first - 1, first - 1 + len(boxes)
    frames = np.arange(begin, stop)
    _add_track(summary, video, query_id, place, frames, boxes, 'person')
    return Sentence(
        query_id=query_id,
        where=entry.where,
        type='declarative',
        text=entry.text('caption'),
        segment=(0, video.frame_count),
        span=(begin, stop),
        track_id=query_id,
    )
