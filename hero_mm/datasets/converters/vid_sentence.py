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
from typing import Optional

from hero_mm.errors import UserError

from ..entries import ConversionError, Entry, PathLike
from ..progress import Progress
from ..tracks import VideoInfo
from ..video_facts import VideoCheck
from .boxes import make_track
from .clips import ClipList, RawNames, Sentence
from .common import (
    ConversionSummary,
    ReadVideo,
    Record,
    number_again,
    read_json,
    read_videos,
)
from .hcstvg import height_and_width
from .videos import Videos, place_videos

SEGMENTS = ('tube', 'video')
NAMES = RawNames(
    segment='the frames of the tube',
    span='the frames of its track',
    target='id',
    text='the sentence',
    boxes='the file of its video',
)
LATIN = 'lines that are not UTF-8, read as Latin-1'
NO_LENGTH = 'videos of unknown length, taken to end with the last box'
NO_SENTENCE = 'tubes of the list without a sentence in this set'
_CURE = 'check that the files are of one set and whole'


def convert_vid_sentence(
    root: PathLike,
    out: PathLike,
    split: str,
    videos: Videos = None,
    segment: str = 'tube',
    fps: float = 30.0,
    skip_bad: bool = False,
    workers: int = 1,
    progress: Optional[Progress] = None,
) -> ConversionSummary:
    """Convert one split.

    A query is named by the number of its tube in the list; a second sentence
    of a tube gets ``#2``.

    Args:
        root (PathLike): The folder ``ILSVRC`` of VID-sentence.
        out (PathLike): The annotation file to write; its boxes go beside it.
        split (str): ``train``, ``val`` or ``test``.
        videos (PathLike | VideoCheck, optional): ``Data/VID`` of ILSVRC VID,
            where the pictures of each video must be, and are verified.
        segment (str): What of a video is searched: the frames of the
            ``'tube'``, so that only the boxes are to be found, as the
            published scores have it; or the whole ``'video'``.
        fps (float): Frames a second, for seconds; no score needs it.
        skip_bad (bool): Leave out and list what is wrong.
        workers (int): Processes that read tracks.
        progress (Callable, optional): Wraps the loop over the videos; gets an
            iterable and its length.

    Returns:
        ConversionSummary: What was written, repaired and skipped.

    Raises:
        FileNotFoundError: A file or folder is missing.
        ConversionError: Something is wrong; names the place and the cure.
        ValueError: ``segment`` is none of the two, or ``fps`` not above 0.
    """
    if segment not in SEGMENTS or fps <= 0:
        raise UserError(
            f'segment must be one of {SEGMENTS} and fps above 0: {segment!r}, '
            f'{fps}'
        )
    summary = ConversionSummary(out, skip_bad)
    lists = Path(root, 'Data/VID/annSamples')
    tubes = _read_tubes(lists / f'{split}_valid_list.txt', summary)
    path = lists / f'{split}_ann_list_v2.txt'
    sentences = _read_sentences(path, tubes, summary)
    names = list(dict.fromkeys(name for _, name, _, _ in sentences))
    files = _find_tracks(Path(root), split, names, path, summary)
    read = partial(_read_video, fps=fps, skip_bad=skip_bad)
    infos = read_videos(read, files, summary, workers, progress)
    if videos is None:
        summary.note(NO_LENGTH, f'all {len(infos)}', len(infos))
    elif not isinstance(videos, VideoCheck):
        videos = VideoCheck(videos)
    found = place_videos(infos, videos, path, summary, lengths_known=False)
    clips = ClipList(path, NAMES, summary)
    for query_id, name, track_id, text in sentences:
        where = f'sentence {query_id} (video {name!r})'
        video = found.get(name)
        entry = Entry(path, where, text)
        whole = segment == 'video'
        say = partial(_sentence, entry, query_id, track_id, video, whole)
        clips.take(query_id, where, say, video)
    about = dict(query_ids='official', searched=segment)
    return clips.save(out, 'vid-sentence', split, found, **about)


def _read_lines(path: Path, summary: ConversionSummary) -> list[str]:
    """Lines of a list, without empty ones at its end."""
    if not path.is_file():
        raise FileNotFoundError(
            f'list {path} does not exist; give the folder ILSVRC of '
            'VID-sentence and one of its sets (train, val, test)'
        )
    lines = []
    for number, raw in enumerate(path.read_bytes().splitlines(), 1):
        try:
            lines.append(raw.decode('utf-8').strip())
        except UnicodeDecodeError:
            summary.note(LATIN, f'{path}, line {number}')
            lines.append(raw.decode('latin-1').strip())
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _read_tubes(
    path: Path, summary: ConversionSummary
) -> list[tuple[str, str]]:
    """Video and track id of each tube."""
    tubes = []
    for number, line in enumerate(_read_lines(path, summary), 1):
        name, comma, track_id = line.rpartition(',')
        if not comma or not name or not track_id.strip():
            found = f'expected "video,id", found {line!r:.80}'
            raise Entry(path, f'line {number}', line).error(found)
        tubes.append((name.strip(), track_id.strip()))
    return tubes


def _read_sentences(
    path: Path, tubes: list[tuple[str, str]], summary: ConversionSummary
) -> list[tuple[str, str, str, str]]:
    """Query id, video, track id and text of each sentence."""
    places: list[int] = []
    texts: list[str] = []
    for line_number, line in enumerate(_read_lines(path, summary), 1):
        number, comma, text = line.partition(',')
        where = f'line {line_number}'
        number = number.strip()
        if not comma or not number.isdecimal() or int(number) >= len(tubes):
            found = (
                f'expected "number,sentence" with a number below '
                f'{len(tubes)}, found {line!r:.80}'
            )
            error = ConversionError(path, where, found, _CURE)
            summary.skip(error, f'sentence of {where}')
            continue
        places.append(int(number))
        texts.append(text.strip())
    silent = sorted(set(range(len(tubes))) - set(places))
    if silent:
        named = ', '.join(map(str, silent))
        summary.note(NO_SENTENCE, named, len(silent))
    ids = number_again(map(str, places))
    asked = (tubes[place] for place in places)
    return [(i, *tube, text) for i, tube, text in zip(ids, asked, texts)]


def _folder(name: str) -> str:
    """Which of VID's folders a video is in: test has been taken from val."""
    return 'train' if '_train_' in name else 'val'


def _find_tracks(
    root: Path,
    split: str,
    names: list[str],
    path: Path,
    summary: ConversionSummary,
) -> list[tuple[str, Path]]:
    """Videos and the files of their tracks."""
    folder, found = root / 'Annotations/VID/tubeGt', []
    for name in names:
        parts = (split, _folder(name))
        places = [folder / part / f'{name}.js' for part in parts]
        there = [place for place in places if place.is_file()]
        if there:
            found.append((name, there[0]))
            continue
        error = Entry(path, f'video {name!r}').error(
            f'there is no {places[-1]}',
            'unpack the annotations of VID-sentence again, or skip such '
            'videos with --skip-bad',
        )
        summary.skip(error, 'video')
    return found


def _read_video(
    item: tuple[str, Path], fps: float, skip_bad: bool
) -> ReadVideo:
    """A video with its tracks, which ends with the last box."""
    name, path = item
    file = Entry(path, 'top level', read_json(path), _CURE)
    video = VideoInfo(name, f'{_folder(name)}/{name}', 1, fps, 0, 0)
    tracks: dict[str, Entry] = {}
    for place, value in enumerate(file.list('annotations')):
        entry = file.at(f'annotations[{place}]', value)
        track_id = entry.name('id')
        entry.where = f'id {track_id}'
        if not entry.list('track'):
            raise entry.error('a track without boxes')
        if track_id in tracks:
            raise entry.error('stands there twice')
        for box in value['track']:
            _check_size(entry.at(entry.where, box), video)
        tracks[track_id] = entry
    record = Record(skip_bad)
    for track_id, entry in tracks.items():
        _add_track(entry, track_id, video, record)
    return video, record


def _check_size(box: Entry, video: VideoInfo) -> None:
    """The size that a box is drawn in is that of the video, for all."""
    box.need('frame', 'bbox', 'frame_size')
    place = box.at(f'{box.where}, frame {box.value["frame"]}', box.value)
    sides = height_and_width(place, 'frame_size')
    size = sides.whole('width', least=1), sides.whole('height', least=1)
    known = video.width, video.height
    if known not in (size, (0, 0)):
        raise place.error(
            f'width and height are {size}, on other frames {known}'
        )
    video.width, video.height = size


def _add_track(
    entry: Entry, track_id: str, video: VideoInfo, record: Record
) -> None:
    """Give a video a track; its frames count from 1."""
    boxes = [entry.at(entry.where, box) for box in entry.value['track']]
    numbers = [box.whole('frame', least=1) - 1 for box in boxes]
    if len(set(numbers)) < len(numbers):
        raise entry.error('two boxes on one frame')
    video.frame_count = max(video.frame_count, max(numbers) + 1)
    first = entry.at(entry.where, {'class': '', **boxes[0].value})
    track = make_track(
        entry,
        numbers,
        [box.value['bbox'] for box in boxes],
        (video.width, video.height),
        record,
        first.name('class'),
    )
    if track is not None:
        video.tracks[track_id] = track


def _sentence(
    entry: Entry,
    query_id: str,
    track_id: str,
    video: Optional[VideoInfo],
    whole: bool,
) -> Sentence:
    """A sentence; its tube, or the whole video, is searched."""
    assert video is not None
    track = video.tracks.get(track_id)
    if track is None:
        raise entry.error(
            f'no boxes for the track id {track_id!r}; its video has '
            f'{sorted(video.tracks)}',
            'correct the list, or skip such sentences with --skip-bad',
        )
    span = int(track.runs[0, 0]), int(track.runs[-1, 1])
    segment = (0, max(video.frame_count, span[1])) if whole else span
    return Sentence(
        query_id,
        entry.where,
        'declarative',
        entry.value,
        segment,
        span,
        track_id,
    )
