"""HC-STVG's official files, version 1 and 2, to the one annotation format.

A file is an object: file name of a video to its one sentence and tube. Frames
count from 1: the first box lies on ``st_frame``, so a tube is the frames
``[st_frame - 1, ed_frame)`` counted from 0. Version 1 has no ``ed_frame``; a
tube is as long as its boxes. The whole video is searched. Frames a second are
``img_num / 20``, as published: each video takes 20 seconds. Other people than
the one of the sentence have no boxes: tracks are not complete.
"""

from collections.abc import Sequence
from typing import Any

from hero_mm.json_reader import Repeated, read_json

from ..entries import Entry, PathLike
from ..tracks import VideoInfo
from .boxes import make_track, to_corners
from .conversion import RAISED, Conversion, number_again
from .summary import ConversionSummary

SECONDS = 20
# Videos that STCAT, CG-STVG and TA-STVG leave out, for comparisons with them.
STCAT_LEFT_OUT = ('10__Gvp-cj3bmIY.mp4', '1_aMYcLyh9OhU.mkv')
MORE_BOXES = 'tubes with more boxes than frames (the last boxes left out)'
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
        annotations (PathLike): The official JSON file, or version 2 with the
            keys of version 1, as some share it.
        out (PathLike): The annotation file to write; its boxes go beside it.
        exclude (Sequence[str]): File names of videos to leave out; see
            :data:`STCAT_LEFT_OUT`.
        **options (Any): See :class:`Conversion`, also for what is returned
            and raised.
    """
    run = Conversion(annotations, out, **options)
    raw = read_json(run.source, keep_repeated=True)
    if not isinstance(raw, (dict, Repeated)) or not raw:
        raise Entry(run.source, 'top level').error(
            f'expected an object with a video each, found {raw!r:.40}',
            'give an official JSON file of HC-STVG',
        )
    pairs = raw if isinstance(raw, Repeated) else list(raw.items())
    videos: dict[str, VideoInfo] = {}
    sentences: list[tuple[Entry, str, dict[str, Any]]] = []
    dataset, ids = 'hcstvg', number_again(name for name, _ in pairs)
    for query_id, (name, value) in zip(ids, pairs):
        with run.summary.leaving_out(f'sentence {query_id}'):
            entry = Entry(run.source, repr(query_id), value, _CURE)
            entry.need('img_num', 'st_frame')
            if 'img_size' in value:
                dataset = 'hcstvg-v2'
            if name in exclude:
                run.summary.note(EXCLUDED, query_id)
                continue
            read = _read_video(entry, name)
            video = videos.get(name, read)
            same = ('fps', 'width', 'height')
            if any(getattr(video, k) != getattr(read, k) for k in same):
                raise entry.error(
                    'img_num or size are not those of an entry before'
                )
            query = _read_sentence(run.summary, entry, video, query_id)
            videos[name] = video
            sentences.append((entry, name, query))
    run.dataset = run.dataset or dataset
    run.place(videos.values())
    for sentence in sentences:
        run.take(*sentence)
    return run.save(query_ids='official')


def _read_video(entry: Entry, name: str) -> VideoInfo:
    count = entry.whole('img_num', least=1)
    if 'img_size' in entry.value:
        size = entry.size('img_size')
    else:
        size = entry.whole('width', least=1), entry.whole('height', least=1)
    return VideoInfo(name, name, count, count / SECONDS, *size)


def _read_sentence(
    summary: ConversionSummary, entry: Entry, video: VideoInfo, query_id: str
) -> dict[str, Any]:
    """A sentence, whose tube is given to its video."""
    text = entry.text('English' if 'English' in entry.value else 'caption')
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
        stop = entry.whole('ed_frame', least=start + 1)
    if start + len(boxes) > stop:
        place = f'{entry.where}: {len(boxes)} boxes, {stop - start} frames'
        summary.note(MORE_BOXES, place)
        boxes = boxes[: stop - start]
    numbers = range(start, start + len(boxes))
    corners_T4 = to_corners(entry, numbers, boxes)
    size = video.width, video.height
    track = make_track(entry, numbers, corners_T4, size, summary, 'person')
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
