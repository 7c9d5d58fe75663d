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
from functools import partial
from typing import Any

from hero_mm.json_reader import Repeated

from ..entries import Entry, PathLike
from ..tracks import VideoInfo
from .boxes import make_track, to_corners
from .conversion import Conversion, Sentence, number_again, read_json
from .summary import ConversionSummary
from .vidor import RAISED

SECONDS = 20
# Videos that STCAT, CG-STVG and TA-STVG leave out, for comparisons with them.
STCAT_LEFT_OUT = ('10__Gvp-cj3bmIY.mp4', '1_aMYcLyh9OhU.mkv')
FEWER_BOXES = 'tubes with fewer boxes than frames (the last frames have none)'
MORE_BOXES = 'tubes with more boxes than frames (the last boxes left out)'
SHARED = 'sentences that share their video with one before'
EXCLUDED = 'sentences of excluded videos'
_CURE = 'correct it, or skip such sentences with --skip-bad'


def convert_hcstvg(
    annotations: PathLike,
    out: PathLike,
    exclude: Sequence[str] = (),
    **options: Any,
) -> ConversionSummary:
    """Convert one split of version 1 or 2.

    A query is named by the file name of its video, as in the official
    prediction file; the second sentence of a video gets ``#2``. The data set
    is ``hcstvg-v2`` where the file has ``img_size``, else ``hcstvg``.

    Args:
        annotations (PathLike): The official JSON file. What stands in it
            says its version; version 2 with the keys of version 1, as some
            share it, does as well.
        out (PathLike): The annotation file to write; its boxes go beside it.
        exclude (Sequence[str]): File names of videos to leave out; see
            :data:`STCAT_LEFT_OUT`.
        **options (Any): See :class:`Conversion`, also for what is returned
            and raised.
    """
    run = Conversion(annotations, out, **options)
    infos: dict[str, VideoInfo] = {}
    sentences: list[tuple[dict[str, Any], Entry, str]] = []
    dataset = 'hcstvg'
    for name, query_id, entry in _read_entries(run):
        if 'img_size' in entry.value:
            dataset = 'hcstvg-v2'
        if name in exclude:
            run.summary.note(EXCLUDED, query_id)
            continue
        with run.summary.leaving_out(f'sentence {query_id}'):
            if name in infos:
                run.summary.note(SHARED, query_id)
            query = _read_sentence(run.summary, infos, name, query_id, entry)
            sentences.append((query, entry, name))
    run.dataset = run.dataset or dataset
    counts = {name: video.frame_count for name, video in infos.items()}
    run.place(infos.values())
    for query, entry, name in sentences:
        read = partial(_whole, counts[name], query)
        run.take(query['query_id'], entry, name, read)
    return run.save(query_ids='official')


def _whole(count: int, query: dict[str, Any], video: VideoInfo) -> Sentence:
    return (0, count), query


def _read_entries(run: Conversion) -> list[tuple[str, str, Entry]]:
    """Video, query id and entry of each sentence."""
    raw = read_json(run.source, keep_repeated=True)
    if not isinstance(raw, (dict, Repeated)) or not raw:
        raise Entry(run.source, 'top level').error(
            f'expected an object with a video each, found {raw!r:.40}',
            'give an official JSON file of HC-STVG; those that TubeDETR '
            'writes have a converter of their own',
        )
    pairs = raw if isinstance(raw, Repeated) else list(raw.items())
    entries, ids = [], number_again(name for name, _ in pairs)
    for query_id, (name, value) in zip(ids, pairs):
        with run.summary.leaving_out(f'sentence {query_id}'):
            entry = Entry(run.source, f'{query_id!r}', value, _CURE)
            entry.need('img_num', 'st_frame')
            entries.append((name, query_id, entry))
    return entries


def _read_sentence(
    summary: ConversionSummary,
    infos: dict[str, VideoInfo],
    name: str,
    query_id: str,
    entry: Entry,
) -> dict[str, Any]:
    """A sentence, its tube given to its video, which is kept in ``infos``."""
    side = entry
    if 'img_size' in entry.value:
        side = height_and_width(entry, 'img_size')
    size = side.whole('width', least=1), side.whole('height', least=1)
    fps = entry.whole('img_num', least=1) / SECONDS
    video = VideoInfo(name, name, int(entry.value['img_num']), fps, *size)
    video = infos.get(name, video)
    if (video.fps, video.width, video.height) != (fps, *size):
        raise entry.error('img_num or size are not those of an entry before')
    text = entry.text('English' if 'English' in entry.value else 'caption')
    start, stop, boxes = _read_tube(summary, entry)
    numbers = range(start, start + len(boxes))
    corners_T4 = to_corners(entry, numbers, boxes)
    track = make_track(entry, numbers, corners_T4, size, summary, 'person')
    infos[name] = video
    if stop > video.frame_count:
        place = f'{entry.where}: {video.frame_count} to {stop}'
        summary.note(RAISED, place)
        video.frame_count = stop
    track_id = str(len(video.tracks))
    if track is not None:
        video.tracks[track_id] = track
    return dict(
        query_id=query_id,
        type='declarative',
        text=text,
        span=[start, stop],
        track_id=track_id,
    )


def height_and_width(entry: Entry, key: str) -> Entry:
    """A pair of numbers as an entry that names them."""
    size = entry.value[key]
    if not isinstance(size, list) or len(size) != 2:
        found = f'expected [height, width], found {size!r:.80}'
        raise entry.error(found, field=key)
    named = dict(height=size[0], width=size[1])
    return entry.at(f'{entry.where}, {key}', named)


def _read_tube(
    summary: ConversionSummary, entry: Entry
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
    if len(boxes) != length:
        kind = MORE_BOXES if len(boxes) > length else FEWER_BOXES
        summary.note(kind, f'{place}, {length} frames')
    return start, stop, boxes[:length]
