"""VID-sentence's official files to the one annotation format.

Below ``ILSVRC/``: ``Data/VID/annSamples/<set>_valid_list.txt`` has a tube a
line (``video,id of its track``), ``<set>_ann_list_v2.txt`` a sentence a line
(``number of its tube,sentence``, numbers from 0), and
``Annotations/VID/tubeGt/<set>/<video>.js`` the tracks. Sets val and test share
their list of tubes and are both parts of VID's val videos. Frames of tracks
count from 1, pictures from 0: frame 1 is ``000000.JPEG``.

The files say neither length nor frame rate of a video. The length is that of
its pictures where they are at hand, else it ends with the last box. Objects
that no sentence asks for have no boxes: tracks are not complete.
"""

from functools import partial
from pathlib import Path
from typing import Any

from hero_mm.json_reader import read_json

from ..entries import Entry, PathLike
from ..tracks import VideoInfo
from .boxes import make_track
from .conversion import Conversion, number_again
from .summary import ConversionSummary

NO_LENGTH = 'videos of unknown length, taken to end with the last box'
# Frames a second, which the files do not say; no score needs it.
FPS = 30.0
_CURE = 'check that the files are of one set and whole, or use --skip-bad'


def convert_vid_sentence(
    root: PathLike,
    out: PathLike,
    split: str,
    **options: Any,
) -> ConversionSummary:
    """Convert one split.

    A query is named by the number of its tube in the list; a second sentence
    of a tube gets ``#2``. The frames of the tube are searched, so that only
    the boxes are to be found, as the published scores have it.

    Args:
        root (PathLike): The folder ``ILSVRC`` of VID-sentence.
        out (PathLike): The annotation file to write; its boxes go beside it.
        split (str): ``train``, ``val`` or ``test``.
        **options (Any): See :class:`Conversion`, also for what is returned
            and raised; ``videos`` is ``Data/VID`` of ILSVRC VID, with the
            pictures.
    """
    root = Path(root)
    lists = root / 'Data/VID/annSamples'
    path = lists / f'{split}_ann_list_v2.txt'
    run = Conversion(path, out, split=split, **options)
    run.dataset = run.dataset or 'vid-sentence'
    tubes = _read_lines(lists / f'{split}_valid_list.txt')
    sentences = _read_sentences(run, path, tubes)
    names = list(dict.fromkeys(name for _, name, _, _ in sentences))
    infos = run.read_videos(partial(_read_video, root), names)
    if run.videos is None:
        run.summary.note(NO_LENGTH, f'all {len(infos)}', len(infos))
    for video in infos if run.videos is not None else ():
        video.frame_count = 0
    run.place(infos)
    ids = number_again(number for number, *_ in sentences)
    for query_id, (_, name, track_id, text) in zip(ids, sentences):
        known = run.infos[name].tracks if name in run.infos else {}
        span = [0, 1]
        if track_id in known:
            runs = known[track_id].runs
            span = [int(runs[0, 0]), int(runs[-1, 1])]
        query = dict(
            query_id=query_id,
            type='declarative',
            text=text,
            span=span,
            track_id=track_id,
        )
        where = f'sentence {query_id} (video {name!r})'
        run.take(Entry(path, where, cure=_CURE), name, query, span)
    return run.save(query_ids='official')


def _read_lines(path: Path) -> list[str]:
    """Lines of a list; those that are not UTF-8 are Latin-1."""
    lines = []
    for raw in path.read_bytes().rstrip().splitlines():
        try:
            lines.append(raw.decode().strip())
        except UnicodeDecodeError:
            lines.append(raw.decode('latin-1').strip())
    return lines


def _read_sentences(
    run: Conversion, path: Path, tubes: list[str]
) -> list[tuple[str, str, str, str]]:
    """Number of the tube, video, track id and text of each sentence."""
    sentences = []
    for place, line in enumerate(_read_lines(path), 1):
        number, _, text = map(str.strip, line.partition(','))
        entry = Entry(path, f'line {place}', cure=_CURE)
        with run.summary.leaving_out(f'sentence of {entry.where}'):
            known = number.isdecimal() and int(number) < len(tubes)
            tube = tubes[int(number)] if known else ''
            name, _, track_id = map(str.strip, tube.rpartition(','))
            if not name or not track_id:
                raise entry.error(
                    f'expected the number of one of {len(tubes)} tubes '
                    f'"video,id" and a sentence, found {line!r:.80} ({tube})'
                )
            sentences.append((str(int(number)), name, track_id, text))
    return sentences


def _read_video(
    root: Path, name: str, summary: ConversionSummary
) -> VideoInfo:
    """A video with its tracks, which ends with the last box.

    Sets val and test are of VID's val videos.
    """
    folder = 'train' if '_train_' in name else 'val'
    path = root / 'Annotations/VID/tubeGt' / folder / f'{name}.js'
    file = Entry(path, 'top level', read_json(path), _CURE)
    video = VideoInfo(name, f'{folder}/{name}', 0, FPS, 0, 0)
    for entry in file.objects('annotations'):
        track_id = entry.name('id')
        entry.where = f'id {track_id}'
        boxes = [*entry.objects('track')]
        # Frames count from 1.
        numbers = [box.whole('frame', least=1) - 1 for box in boxes]
        twice = track_id in video.tracks or len({*numbers}) < len(numbers)
        if twice or not numbers:
            raise entry.error(
                'no boxes, two boxes on one frame, or two tracks of this id'
            )
        video.frame_count = max(video.frame_count, max(numbers) + 1)
        for number, box in zip(numbers, boxes):
            box.where = f'{entry.where}, frame {number + 1}'
            size, known = box.size('frame_size'), (video.width, video.height)
            if video.width and known != size:
                raise box.error(
                    f'width and height are {size}, on other frames {known}',
                    field='frame_size',
                )
            video.width, video.height = size
        track = make_track(
            entry,
            numbers,
            [box.value.get('bbox') for box in boxes],
            (video.width, video.height),
            summary,
            boxes[0].text('class', ''),
        )
        if track is not None:
            video.tracks[track_id] = track
    return video
