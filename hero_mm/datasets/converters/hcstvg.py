"""HC-STVG's official files, version 1 and 2, to the one annotation format.

A file is an object: file name of a video to its one sentence and tube. Frames
count from 1: the first box lies on ``st_frame``, so a tube is the frames
``[st_frame - 1, ed_frame)`` counted from 0. Version 1 has no ``ed_frame``; a
tube is as long as its boxes. The whole video is searched. Frames a second are
``img_num / 20``, as published: each video takes 20 seconds. Other people than
the one of the sentence have no boxes: tracks are not complete.

Shape legend: T boxes. They are xywh in the files, xyxy here.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Optional, Union

from hero_mm.json_reader import Repeated

from ..tracks import VideoInfo
from .boxes import make_track, to_corners
from .clips import ClipList, RawNames, Sentence
from .common import (
    ConversionError,
    ConversionSummary,
    PathLike,
    need,
    read_json,
    read_number,
    read_text,
    read_whole,
)
from .verify import VideoCheck
from .videos import place_videos
from .vidor import RAISED

SECONDS = 20
NAMES = RawNames(
    segment='img_num',
    span='st_frame (from 1), ed_frame and bbox',
    target='bbox',
    text='the caption',
    boxes='bbox',
)
# Videos that STCAT, CG-STVG and TA-STVG leave out, for comparisons with them.
STCAT_LEFT_OUT = ('10__Gvp-cj3bmIY.mp4', '1_aMYcLyh9OhU.mkv')
# Frames and times of a tube may differ by this, in seconds.
TIME_TOLERANCE = 0.5

NO_LAST_BOX = 'tubes whose last box is missing (that frame has none)'
FEWER_BOXES = 'tubes with fewer boxes than frames (the last frames have none)'
MORE_BOXES = 'tubes with more boxes than frames (the last boxes left out)'
OTHER_TIMES = (
    f'tubes whose times differ from their frames by over {TIME_TOLERANCE} s '
    '(the frames taken)'
)
SHARED = 'sentences that share their video with one before'
EXCLUDED = 'sentences of excluded videos'
_CURE = 'correct it, or skip such sentences with --skip-bad'


def convert_hcstvg(
    annotations: PathLike,
    out: PathLike,
    videos: Optional[Union[PathLike, VideoCheck]] = None,
    dataset: Optional[str] = None,
    split: Optional[str] = None,
    exclude: Sequence[str] = (),
    skip_bad: bool = False,
) -> ConversionSummary:
    """Convert one split of version 1 or 2.

    A query is named by the file name of its video, as in the official
    prediction file; the second sentence of a video gets ``#2``.

    Args:
        annotations (PathLike): The official JSON file. What stands in it
            tells its version; version 2 with the keys of version 1, as some
            share it, does as well.
        out (PathLike): The annotation file to write; its boxes go beside it.
        videos (PathLike | VideoCheck, optional): Folder of the videos. Where
            it is given, each video must be there, in parts or flat; a
            :class:`VideoCheck` has them verified, too.
        dataset (str, optional): Name of the data set. Defaults to None:
            ``hcstvg-v2`` where the file has ``img_size``, else ``hcstvg``.
        split (str, optional): Name of the split. Defaults to None: the start
            of the name of ``annotations``.
        exclude (Sequence[str]): File names of videos to leave out. Defaults
            to none; see :data:`STCAT_LEFT_OUT`.
        skip_bad (bool): Leave out and list what is wrong, instead of raising
            at the first. Defaults to False.

    Returns:
        ConversionSummary: What was written, repaired and skipped.

    Raises:
        FileNotFoundError: The file or the folder is missing.
        ConversionError: Something is wrong; names the entry and the cure.
    """
    summary = ConversionSummary(str(out))
    clips = ClipList(annotations, NAMES, summary, skip_bad)
    entries = _read_entries(annotations, summary, skip_bad)
    infos: dict[str, VideoInfo] = {}
    sentences: list[tuple[str, Sentence]] = []
    for name, query_id, entry in _leave_out(entries, exclude, summary):
        try:
            sentence = _read_sentence(clips, infos, name, query_id, entry)
        except ConversionError as error:
            summary.skip(error, skip_bad, f'sentence {query_id}')
            continue
        sentences.append((name, sentence))
    found = place_videos(
        infos.values(), videos, annotations, summary, skip_bad
    )
    for name, sentence in sentences:
        if name in found:
            clips.add(sentence, found[name])
        else:
            summary.note('sentences of skipped videos', sentence.query_id)
    if dataset is None:
        second = any('img_size' in entry for _, _, entry in entries)
        dataset = 'hcstvg-v2' if second else 'hcstvg'
    stem = Path(annotations).stem
    told = re.match('train|val|test', stem)
    split = split or (told.group() if told else stem)
    return clips.save(out, dataset, split, found, query_ids='official')


def _read_entries(
    path: PathLike, summary: ConversionSummary, skip_bad: bool
) -> list[tuple[str, str, dict]]:
    """Video, query id and entry of each sentence."""
    raw = read_json(path, keep_repeated=True)
    if not isinstance(raw, (dict, Repeated)) or not raw:
        raise ConversionError(
            path,
            'top level',
            'expected an object with a video each, found '
            f'{type(raw).__name__}',
            'give an official JSON file of HC-STVG; those that TubeDETR '
            'writes have a converter of their own',
        )
    pairs = raw if isinstance(raw, Repeated) else list(raw.items())
    entries, seen = [], dict.fromkeys((name for name, _ in pairs), 0)
    for name, entry in pairs:
        seen[name] += 1
        query_id = name if seen[name] == 1 else f'{name}#{seen[name]}'
        try:
            need(path, f'{name!r}', entry, ('img_num', 'st_frame'))
        except ConversionError as error:
            summary.skip(error, skip_bad, f'sentence {query_id}')
            continue
        entries.append((name, query_id, entry))
    return entries


def _leave_out(
    entries: list[tuple[str, str, dict]],
    exclude: Iterable[str],
    summary: ConversionSummary,
) -> list[tuple[str, str, dict]]:
    """All but the excluded videos, which are listed."""
    wanted = set(exclude)
    lost = sorted(wanted - {name for name, _, _ in entries})
    if lost:
        kind = 'excluded videos that are not in the file'
        summary.note(kind, ', '.join(lost), len(lost))
    for name, query_id, _ in entries:
        if name in wanted:
            summary.note(EXCLUDED, query_id)
    return [entry for entry in entries if entry[0] not in wanted]


def _read_sentence(
    clips: ClipList,
    infos: dict[str, VideoInfo],
    name: str,
    query_id: str,
    entry: dict,
) -> Sentence:
    """A sentence, its tube given to its video, which is kept in ``infos``."""
    path, where = clips.path, f'{query_id!r}'
    width, height = _read_size(path, where, entry)
    count = read_whole(path, where, entry, 'img_num', least=1)
    video = VideoInfo(name, name, count, count / SECONDS, width, height)
    known = infos.get(name)
    if known is not None:
        _check_same(path, where, known, video)
        video = known
    start, stop, boxes = _read_tube(clips, where, entry, count / SECONDS)
    numbers = range(start, start + len(boxes))
    track = make_track(
        path,
        where,
        numbers,
        to_corners(path, where, numbers, boxes),
        (width, height),
        clips.summary,
        'person',
        clips.skip_bad,
    )
    if known is not None:
        clips.summary.note(SHARED, query_id)
    infos[name] = video
    if stop > video.frame_count:
        told = f'{where}: {video.frame_count} to {stop}'
        clips.summary.note(RAISED, told)
        video.frame_count = stop
    track_id = str(len(video.tracks))
    if track is not None:
        video.tracks[track_id] = track
    return Sentence(
        query_id=query_id,
        where=where,
        type='declarative',
        text=_read_text(path, where, entry),
        segment=(0, video.frame_count),
        span=(start, stop),
        track_id=track_id,
    )


def _read_size(path: PathLike, where: str, entry: dict) -> tuple[int, int]:
    """Width and height in pixels."""
    if 'img_size' not in entry:
        return (
            read_whole(path, where, entry, 'width', least=1),
            read_whole(path, where, entry, 'height', least=1),
        )
    size = entry['img_size']
    if not isinstance(size, list) or len(size) != 2:
        raise ConversionError(
            path,
            f'{where}, img_size',
            f'expected [height, width], found {size!r:.80}',
            'check that this is the official file',
        )
    named = dict(height=size[0], width=size[1])
    where = f'{where}, img_size'
    return (
        read_whole(path, where, named, 'width', least=1),
        read_whole(path, where, named, 'height', least=1),
    )


def _check_same(
    path: PathLike, where: str, known: VideoInfo, video: VideoInfo
) -> None:
    """Two sentences must tell the same of their video."""
    told = [
        (info.fps * SECONDS, info.width, info.height)
        for info in (known, video)
    ]
    if told[0] != told[1]:
        raise ConversionError(
            path,
            where,
            f'img_num, width, height are {told[1]}, in the entry before '
            f'{told[0]}',
            _CURE,
        )


def _read_text(path: PathLike, where: str, entry: dict) -> str:
    key = 'English' if 'English' in entry else 'caption'
    return read_text(path, where, entry, key)


def _read_tube(
    clips: ClipList, where: str, entry: dict, fps: float
) -> tuple[int, int, list]:
    """First frame, one past the last, and T boxes from the first on."""
    path, summary = clips.path, clips.summary
    boxes = entry.get('bbox')
    if not isinstance(boxes, list) or not boxes:
        raise ConversionError(
            path,
            f'{where}, bbox',
            f'expected a list of boxes, found {boxes!r:.80}',
            'check that this is the official file; the labels of the test '
            'split of version 2 are not public: convert its val split',
        )
    start = read_whole(path, where, entry, 'st_frame', least=1) - 1
    stop = start + len(boxes)
    if 'ed_frame' in entry:
        stop = read_whole(path, where, entry, 'ed_frame', least=1)
    length, place = stop - start, f'{where}: {len(boxes)} boxes'
    if length < 1:
        raise ConversionError(
            path,
            where,
            f'ed_frame {stop} is before st_frame {start + 1}',
            _CURE,
        )
    if len(boxes) > length:
        summary.note(MORE_BOXES, f'{place}, {length} frames')
        boxes = boxes[:length]
    elif len(boxes) < length:
        kind = NO_LAST_BOX if len(boxes) == length - 1 else FEWER_BOXES
        summary.note(kind, f'{place}, {length} frames')
    if 'st_time' in entry and 'ed_time' in entry:
        times = [
            read_number(path, where, entry, key)
            for key in ('st_time', 'ed_time')
        ]
        frames = [start / fps, stop / fps]
        if max(abs(t - f) for t, f in zip(times, frames)) > TIME_TOLERANCE:
            told = ', '.join(f'{value:.2f}' for value in (*times, *frames))
            summary.note(OTHER_TIMES, f'{where}: {told} (times, frames)')
    return start, stop, boxes
