"""HC-STVG's official files, version 1 and 2, to the one annotation format.

A file is an object: file name of a video to its one sentence and tube. Frames
count from 1: the first box lies on ``st_frame``, so a tube is the frames
``[st_frame - 1, ed_frame)`` counted from 0. Version 1 has no ``ed_frame``; a
tube is as long as its boxes. The whole video is searched. Frames a second are
``img_num / 20``, as published: each video takes 20 seconds. Other people than
the one of the sentence have no boxes: tracks are not complete.

Shape legend: T boxes. They are xywh in the files, xyxy here.
"""

from collections.abc import Sequence
from typing import Any, Optional

from hero_mm.json_reader import Repeated

from ..entries import Entry, PathLike
from ..tracks import VideoInfo
from .boxes import make_track, to_corners
from .clips import ClipList, RawNames, Sentence
from .common import ConversionSummary, number_again, read_json, split_of
from .videos import Videos, place_videos
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
# Video, query id and entry of each sentence.
_Entries = list[tuple[str, str, Entry]]


def convert_hcstvg(
    annotations: PathLike,
    out: PathLike,
    videos: Videos = None,
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
            says its version; version 2 with the keys of version 1, as some
            share it, does as well.
        out (PathLike): The annotation file to write; its boxes go beside it.
        videos (PathLike | VideoCheck, optional): Where each video must be, in
            parts or flat; a :class:`VideoCheck` has them verified, too.
        dataset (str, optional): Name of the data set. Defaults to
            ``hcstvg-v2`` where the file has ``img_size``, else ``hcstvg``.
        split (str, optional): Defaults to the start of the file's name.
        exclude (Sequence[str]): File names of videos to leave out; see
            :data:`STCAT_LEFT_OUT`.
        skip_bad (bool): Leave out and list what is wrong.

    Returns:
        ConversionSummary: What was written, repaired and skipped.

    Raises:
        FileNotFoundError: The file or the folder is missing.
        ConversionError: Something is wrong; names the entry and the cure.
    """
    summary = ConversionSummary(out, skip_bad)
    entries = _read_entries(annotations, summary)
    infos: dict[str, VideoInfo] = {}
    sentences: list[tuple[str, Sentence]] = []
    for name, query_id, entry in _leave_out(entries, exclude, summary):
        with summary.leaving_out(f'sentence {query_id}'):
            sentence = _read_sentence(summary, infos, name, query_id, entry)
            sentences.append((name, sentence))
    found = place_videos(infos.values(), videos, annotations, summary)
    clips = ClipList(annotations, NAMES, summary)
    clips.take_all(sentences, found)
    if dataset is None:
        second = any('img_size' in entry.value for _, _, entry in entries)
        dataset = 'hcstvg-v2' if second else 'hcstvg'
    split = split or split_of(annotations)
    return clips.save(out, dataset, split, found, query_ids='official')


def _read_entries(path: PathLike, summary: ConversionSummary) -> _Entries:
    raw = read_json(path, keep_repeated=True)
    if not isinstance(raw, (dict, Repeated)) or not raw:
        raise Entry(path, 'top level').error(
            'expected an object with a video each, found '
            f'{type(raw).__name__}',
            'give an official JSON file of HC-STVG; those that TubeDETR '
            'writes have a converter of their own',
        )
    pairs = raw if isinstance(raw, Repeated) else list(raw.items())
    entries, ids = [], number_again(name for name, _ in pairs)
    for query_id, (name, value) in zip(ids, pairs):
        with summary.leaving_out(f'sentence {query_id}'):
            entry = Entry(path, f'{query_id!r}', value, _CURE)
            entry.need('img_num', 'st_frame')
            entries.append((name, query_id, entry))
    return entries


def _leave_out(
    entries: _Entries, exclude: Sequence[str], summary: ConversionSummary
) -> _Entries:
    """All but the excluded videos, which are listed."""
    lost = sorted(set(exclude) - {name for name, _, _ in entries})
    if lost:
        kind = 'excluded videos that are not in the file'
        summary.note(kind, ', '.join(lost), len(lost))
    for name, query_id, _ in entries:
        if name in exclude:
            summary.note(EXCLUDED, query_id)
    return [entry for entry in entries if entry[0] not in exclude]


def _read_sentence(
    summary: ConversionSummary,
    infos: dict[str, VideoInfo],
    name: str,
    query_id: str,
    entry: Entry,
) -> Sentence:
    """A sentence, its tube given to its video, which is kept in ``infos``."""
    width, height = _read_size(entry)
    count = entry.whole('img_num', least=1)
    video = VideoInfo(name, name, count, count / SECONDS, width, height)
    known = infos.get(name)
    if known is not None:
        new, old = (
            (info.fps * SECONDS, info.width, info.height)
            for info in (video, known)
        )
        if new != old:
            raise entry.error(
                f'img_num, width, height are {new}, in the entry before {old}'
            )
        video = known
    start, stop, boxes = _read_tube(summary, entry, count / SECONDS)
    numbers = range(start, start + len(boxes))
    corners_T4 = to_corners(entry, numbers, boxes)
    size = width, height
    track = make_track(entry, numbers, corners_T4, size, summary, 'person')
    if known is not None:
        summary.note(SHARED, query_id)
    infos[name] = video
    if stop > video.frame_count:
        place = f'{entry.where}: {video.frame_count} to {stop}'
        summary.note(RAISED, place)
        video.frame_count = stop
    track_id = str(len(video.tracks))
    if track is not None:
        video.tracks[track_id] = track
    return Sentence(
        query_id=query_id,
        where=entry.where,
        type='declarative',
        text=entry.text('English' if 'English' in entry.value else 'caption'),
        segment=(0, video.frame_count),
        span=(start, stop),
        track_id=track_id,
    )


def _read_size(entry: Entry) -> tuple[int, int]:
    """Width and height in pixels."""
    if 'img_size' in entry.value:
        entry = height_and_width(entry, 'img_size')
    return entry.whole('width', least=1), entry.whole('height', least=1)


def height_and_width(entry: Entry, key: str) -> Entry:
    """A pair of numbers as an entry that names them."""
    size = entry.value[key]
    if not isinstance(size, list) or len(size) != 2:
        found = f'expected [height, width], found {size!r:.80}'
        raise entry.error(found, field=key)
    named = dict(height=size[0], width=size[1])
    return entry.at(f'{entry.where}, {key}', named)


def _read_tube(
    summary: ConversionSummary, entry: Entry, fps: float
) -> tuple[int, int, list[Any]]:
    """First frame, one past the last, and T boxes from the first on."""
    boxes = entry.value.get('bbox')
    if not isinstance(boxes, list) or not boxes:
        raise entry.error(
            f'expected a list of boxes, found {boxes!r:.80}',
            'check that this is the official file; the labels of the test '
            'split of version 2 are not public: convert its val split',
            'bbox',
        )
    start = entry.whole('st_frame', least=1) - 1
    stop = start + len(boxes)
    if 'ed_frame' in entry.value:
        stop = entry.whole('ed_frame', least=1)
    length, place = stop - start, f'{entry.where}: {len(boxes)} boxes'
    if length < 1:
        raise entry.error(f'ed_frame {stop} is before st_frame {start + 1}')
    if len(boxes) > length:
        summary.note(MORE_BOXES, f'{place}, {length} frames')
        boxes = boxes[:length]
    elif len(boxes) < length:
        kind = NO_LAST_BOX if len(boxes) == length - 1 else FEWER_BOXES
        summary.note(kind, f'{place}, {length} frames')
    if 'st_time' in entry.value and 'ed_time' in entry.value:
        times = [*map(entry.number, ('st_time', 'ed_time'))]
        frames = [start / fps, stop / fps]
        if max(abs(t - f) for t, f in zip(times, frames)) > TIME_TOLERANCE:
            values = ', '.join(f'{value:.2f}' for value in (*times, *frames))
            note = f'{entry.where}: {values} (times, frames)'
            summary.note(OTHER_TIMES, note)
    return start, stop, boxes
