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

Shape legend: T frames. Boxes are xyxy in pixels.
"""

from functools import partial
from pathlib import Path
from typing import Any

from hero_mm.errors import UserError

from ..entries import ConversionError, Entry, PathLike
from ..tracks import VideoInfo
from .boxes import make_track
from .conversion import (
    Conversion,
    ReadVideo,
    Sentence,
    number_again,
    read_json,
)
from .hcstvg import height_and_width
from .summary import ConversionSummary

SEGMENTS = ('tube', 'video')
LATIN = 'lines that are not UTF-8, read as Latin-1'
NO_LENGTH = 'videos of unknown length, taken to end with the last box'
_CURE = 'check that the files are of one set and whole'


def convert_vid_sentence(
    root: PathLike,
    out: PathLike,
    split: str,
    segment: str = 'tube',
    fps: float = 30.0,
    **options: Any,
) -> ConversionSummary:
    """Convert one split.

    A query is named by the number of its tube in the list; a second sentence
    of a tube gets ``#2``.

    Args:
        root (PathLike): The folder ``ILSVRC`` of VID-sentence.
        out (PathLike): The annotation file to write; its boxes go beside it.
        split (str): ``train``, ``val`` or ``test``.
        segment (str): What of a video is searched: the frames of the
            ``'tube'``, so that only the boxes are to be found, as the
            published scores have it; or the whole ``'video'``.
        fps (float): Frames a second, for seconds; no score needs it.
        **options (Any): See :class:`Conversion`, also for what is returned
            and raised; ``videos`` is ``Data/VID`` of ILSVRC VID, with the
            pictures.

    Raises:
        ValueError: ``segment`` is none of the two, or ``fps`` not above 0.
    """
    if segment not in SEGMENTS or fps <= 0:
        raise UserError(
            f'segment must be one of {SEGMENTS} and fps above 0: {segment!r}, '
            f'{fps}'
        )
    lists = Path(root, 'Data/VID/annSamples')
    path = lists / f'{split}_ann_list_v2.txt'
    run = Conversion(path, out, split=split, **options)
    run.dataset = run.dataset or 'vid-sentence'
    tubes = _read_tubes(lists / f'{split}_valid_list.txt', run.summary)
    sentences = _read_sentences(run, tubes)
    names = list(dict.fromkeys(name for _, name, _, _ in sentences))
    files = _find_tracks(run, Path(root), names)
    read = partial(_read_video, fps=fps, skip_bad=run.skip_bad)
    infos = run.read_videos(read, files)
    if run.videos is None:
        run.summary.note(NO_LENGTH, f'all {len(infos)}', len(infos))
    run.place(infos, lengths_known=False)
    for query_id, name, track_id, text in sentences:
        entry = Entry(path, f'sentence {query_id} (video {name!r})', text)
        whole = segment == 'video'
        sentence = partial(_sentence, entry, query_id, track_id, whole)
        run.take(query_id, entry, name, sentence)
    return run.save(query_ids='official', searched=segment)


def _read_lines(path: Path, summary: ConversionSummary) -> list[str]:
    """Lines of a list, without empty ones at its end."""
    if not path.is_file():
        raise FileNotFoundError(
            f'list {path} does not exist; give the folder ILSVRC of '
            'VID-sentence and one of its sets (train, val, test)'
        )
    lines = []
    for number, raw in enumerate(path.read_bytes().rstrip().splitlines(), 1):
        try:
            lines.append(raw.decode('utf-8').strip())
        except UnicodeDecodeError:
            summary.note(LATIN, f'{path}, line {number}')
            lines.append(raw.decode('latin-1').strip())
    return lines


def _read_tubes(
    path: Path, summary: ConversionSummary
) -> list[tuple[str, str]]:
    """Video and track id of each tube."""
    tubes = []
    for number, line in enumerate(_read_lines(path, summary), 1):
        name, _, track_id = line.rpartition(',')
        if not name or not track_id.strip():
            found = f'expected "video,id", found {line!r:.80}'
            raise Entry(path, f'line {number}', line).error(found)
        tubes.append((name.strip(), track_id.strip()))
    return tubes


def _read_sentences(
    run: Conversion, tubes: list[tuple[str, str]]
) -> list[tuple[str, str, str, str]]:
    """Query id, video, track id and text of each sentence."""
    places: list[int] = []
    texts: list[str] = []
    path = Path(run.source)
    for line_number, line in enumerate(_read_lines(path, run.summary), 1):
        number, comma, text = line.partition(',')
        where, number = f'line {line_number}', number.strip()
        if not comma or not number.isdecimal() or int(number) >= len(tubes):
            found = (
                f'expected "number,sentence" with a number below '
                f'{len(tubes)}, found {line!r:.80}'
            )
            error = ConversionError(path, where, found, _CURE)
            run.summary.skip(error, f'sentence of {where}')
            continue
        places.append(int(number))
        texts.append(text.strip())
    ids = number_again(map(str, places))
    asked = (tubes[place] for place in places)
    return [(i, *tube, text) for i, tube, text in zip(ids, asked, texts)]


def _folder(name: str) -> str:
    """Which of VID's folders a video is in: test has been taken from val."""
    return 'train' if '_train_' in name else 'val'


def _find_tracks(
    run: Conversion, root: Path, names: list[str]
) -> list[tuple[str, Path]]:
    """Videos and the files of their tracks."""
    folder, found = root / 'Annotations/VID/tubeGt', []
    for name in names:
        place = folder / _folder(name) / f'{name}.js'
        if place.is_file():
            found.append((name, place))
            continue
        error = Entry(run.source, f'video {name!r}').error(
            f'there is no {place}',
            'unpack the annotations of VID-sentence again, or skip such '
            'videos with --skip-bad',
        )
        run.summary.skip(error, 'video')
    return found


def _read_video(
    item: tuple[str, Path], fps: float, skip_bad: bool
) -> ReadVideo:
    """A video with its tracks, which ends with the last box."""
    name, path = item
    summary = ConversionSummary(skip_bad=skip_bad)
    file = Entry(path, 'top level', read_json(path), _CURE)
    video = VideoInfo(name, f'{_folder(name)}/{name}', 1, fps, 0, 0)
    for place, value in enumerate(file.list('annotations')):
        entry = file.at(f'annotations[{place}]', value)
        track_id = entry.name('id')
        entry.where = f'id {track_id}'
        boxes = [entry.at(entry.where, box) for box in entry.list('track')]
        for box in boxes:
            _check_size(box, video)
        # Frames count from 1.
        numbers = [box.whole('frame', least=1) - 1 for box in boxes]
        twice = track_id in video.tracks or len({*numbers}) < len(numbers)
        if twice or not numbers:
            raise entry.error(
                'no boxes, two boxes on one frame, or two tracks of this id'
            )
        video.frame_count = max(video.frame_count, max(numbers) + 1)
        track = make_track(
            entry,
            numbers,
            [box.value['bbox'] for box in boxes],
            (video.width, video.height),
            summary,
            boxes[0].text('class', ''),
        )
        if track is not None:
            video.tracks[track_id] = track
    return video, summary


def _check_size(box: Entry, video: VideoInfo) -> None:
    """The size that a box is drawn in is that of the video, for all."""
    box.need('frame', 'bbox', 'frame_size')
    place = box.at(f'{box.where}, frame {box.value["frame"]}', box.value)
    sides = height_and_width(place, 'frame_size')
    size = sides.whole('width', least=1), sides.whole('height', least=1)
    if (video.width, video.height) not in (size, (0, 0)):
        raise place.error(
            f'width and height are {size}, on other frames '
            f'{(video.width, video.height)}'
        )
    video.width, video.height = size


def _sentence(
    entry: Entry, query_id: str, track_id: str, whole: bool, video: VideoInfo
) -> Sentence:
    """A sentence; its tube, or the whole video, is searched."""
    track = video.tracks.get(track_id)
    if track is None:
        raise entry.error(
            f'no boxes for the track id {track_id!r}; its video has '
            f'{sorted(video.tracks)}',
            'correct the list, or skip such sentences with --skip-bad',
        )
    span = int(track.runs[0, 0]), int(track.runs[-1, 1])
    query = dict(
        query_id=query_id,
        type='declarative',
        text=entry.value,
        span=[*span],
        track_id=track_id,
    )
    segment = (0, max(video.frame_count, span[1])) if whole else span
    return segment, query
