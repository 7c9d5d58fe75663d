"""VidSTG as TubeDETR's preprocessing writes it to the one annotation format.

``{train,val,test}.json`` has a list of sentences and the boxes of their
objects. ``end_frame`` is VidSTG's ``used_segment.end_fid`` unchanged: the last
frame, though TubeDETR takes it for the frame after it. ``tube_end_frame`` is
the frame after the last. Boxes are only there for objects that a sentence asks
for: tracks are not complete.

Shape legend: T frames. Boxes are xywh in the files, xyxy here.
"""

from functools import partial
from typing import Any

import numpy as np

from ..annotation import QUERY_TYPES
from ..entries import Entry, PathLike
from ..tracks import MOST_FRAMES, VideoInfo
from .boxes import make_track, to_corners
from .conversion import Conversion, Sentence, read_json
from .summary import ConversionSummary
from .vidor import RAISED

_FACTS = ('frame_count', 'fps', 'width', 'height', 'video_path')
_CURE = 'check that this is a file of TubeDETR, or make it again'


def convert_tubedetr(
    annotations: PathLike, out: PathLike, **options: Any
) -> ConversionSummary:
    """Convert one preprocessed file of VidSTG.

    A query is named by its ``video_id`` there.

    Args:
        annotations (PathLike): ``{train,val,test}.json``.
        out (PathLike): The annotation file to write; its boxes go beside it.
        **options (Any): See :class:`Conversion`, also for what is returned
            and raised.
    """
    run = Conversion(annotations, out, **options)
    run.dataset = run.dataset or 'vidstg'
    raw = read_json(annotations, hook=_compact)
    file = Entry(annotations, 'top level', raw, _CURE)
    if isinstance(raw, list):
        raise file.error(
            'a list, as TubeDETR writes HC-STVG',
            'convert the official JSON file with hcstvg.py',
        )
    file.need('videos', 'trajectories')
    entries = []
    for number, value in enumerate(file.list('videos')):
        entry = file.at(f'videos[{number}]', value)
        entry.where += f' (video {entry.name("original_video_id")!r})'
        entries.append((entry.name('video_id'), entry))
    tracks = file.at('trajectories', raw['trajectories'])
    run.place(_read_videos(run.summary, [e for _, e in entries], tracks))
    for query_id, entry in entries:
        name = entry.name('original_video_id')
        run.take(query_id, entry, name, partial(_read_sentence, entry))
    return run.save(query_ids='tubedetr')


def _compact(entry: dict[str, Any]) -> Any:
    """Turn boxes and tracks into arrays as they are read.

    As dictionaries the boxes of VidSTG's train split would take some 10 GB.
    A track becomes T frame numbers and boxes of shape (T, 4). What does not
    look as it should stays, to be refused later.
    """
    box = entry.get('bbox')
    if isinstance(box, list) and len(box) == 4:
        return tuple(box)
    first = next(iter(entry.values()), None)
    if type(first) is not tuple or len(first) != 4:
        return entry
    try:
        numbers_T = np.array([int(frame) for frame in entry], np.int32)
        boxes_T4 = np.array(list(entry.values()))
    except (OverflowError, ValueError):
        return entry
    if boxes_T4.dtype.kind == 'i' and np.abs(boxes_T4).max() < 1 << 30:
        boxes_T4 = boxes_T4.astype(np.int32)
    return numbers_T, boxes_T4


def _read_videos(
    summary: ConversionSummary, entries: list[Entry], trajectories: Entry
) -> list[VideoInfo]:
    """Each video with its tracks, in order of the first sentence."""
    infos: dict[str, VideoInfo] = {}
    first: dict[str, list] = {}
    bad: set[str] = set()
    for entry in entries:
        name = entry.name('original_video_id')
        facts = [entry.value.get(key) for key in _FACTS]
        known = first.setdefault(name, facts)
        if name in bad or (name in infos and known == facts):
            continue
        bad.add(name)
        with summary.leaving_out('video'):
            if facts != known:
                what = f'{", ".join(_FACTS)} are {facts}'
                raise entry.error(f'{what}, at a sentence before {known}')
            infos[name] = _read_video(summary, entry, name, trajectories)
            bad.discard(name)
    return [video for name, video in infos.items() if name not in bad]


def _read_video(
    summary: ConversionSummary, entry: Entry, name: str, trajectories: Entry
) -> VideoInfo:
    video = VideoInfo(
        name,
        entry.text('video_path') or f'{name}.mp4',
        entry.whole('frame_count', least=1),
        float(entry.number('fps', least=1e-3)),
        entry.whole('width', least=1),
        entry.whole('height', least=1),
    )
    trajectories.need(name)
    tracks = entry.at(f'video {name!r}', trajectories.value[name])
    tracks.need()
    for track_id, raw in tracks.value.items():
        track = tracks.at(f'{tracks.where}, track {track_id}', raw)
        _add_track(summary, video, track_id, track)
    return video


def _add_track(
    summary: ConversionSummary, video: VideoInfo, track_id: str, track: Entry
) -> None:
    """Give a video a track of xywh boxes, and the frames that it needs."""
    if track.value == {}:
        return
    if not isinstance(track.value, tuple) or len(track.value) != 2:
        raise track.error(
            'expected frame numbers, each with a bbox of four numbers, found '
            f'{track.value!r:.80}'
        )
    numbers, boxes = track.value
    count = int(numbers.max()) + 1
    twice = len(np.unique(numbers)) < len(numbers)
    if twice or numbers.min() < 0 or count > MOST_FRAMES:
        raise track.error(
            f'a frame below 0 or above {MOST_FRAMES}, or one that is twice'
        )
    corners_T4 = to_corners(track, numbers, boxes)
    size = video.width, video.height
    made = make_track(track, numbers, corners_T4, size, summary)
    if count > video.frame_count:
        place = f'{track.path}, {track.where}'
        summary.note(RAISED, f'{place}: {video.frame_count} to {count}')
        video.frame_count = count
    if made is not None:
        video.tracks[track_id] = made


def _read_sentence(entry: Entry, video: VideoInfo) -> Sentence:
    """A sentence of VidSTG, unchecked but for its numbers and type."""
    segment = entry.whole('start_frame'), entry.whole('end_frame') + 1
    kind = entry.text('qtype')
    if kind not in QUERY_TYPES:
        found = f'expected one of {QUERY_TYPES}, found {kind!r}'
        raise entry.error(found, field='qtype')
    query = dict(
        query_id=entry.name('video_id'),
        type=kind,
        text=entry.text('caption'),
        span=[*map(entry.whole, ('tube_start_frame', 'tube_end_frame'))],
        track_id=entry.name('target_id'),
    )
    return segment, query
