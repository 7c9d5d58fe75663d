"""VID-sentence's official files to the one annotation format.

Below ``ILSVRC/``: ``Data/VID/annSamples/<set>_valid_list.txt`` has a tube a
line (``video,id of its track``), ``<set>_ann_list_v2.txt`` a sentence a line
(``number of its tube,sentence``, numbers from 0), and
``Annotations/VID/tubeGt/<set>/<video>.js`` the tracks. Sets val and test share
their list of tubes and are both parts of VID's val videos. Frames of tracks
count from 1, pictures from 0: frame 1 is ``000000.JPEG``.

The files tell neither length nor frame rate of a video. The length is that of
its pictures where they are at hand, else it ends with the last box. Objects
that no sentence asks for have no boxes: tracks are not complete.

Shape legend: T frames. Boxes are xyxy in pixels.
"""

from functools import partial
from pathlib import Path
from typing import Any, Optional, Union

from hero_mm.errors import UserError

from ..tracks import VideoInfo
from .boxes import make_track
from .clips import ClipList, RawNames, Sentence
from .common import (
    ConversionError,
    ConversionSummary,
    PathLike,
    Progress,
    ReadVideo,
    need,
    read_json,
    read_list,
    read_name,
    read_videos,
    read_whole,
)
from .verify import VideoCheck
from .videos import place_videos

SEGMENTS = ('tube', 'video')
NAMES = RawNames(
    segment='the frames of the tube',
    span='the frames of its track',
    target='id',
    text='the sentence',
    boxes='the file of its video',
)
LATIN = 'lines that are not UTF-8, read as Latin-1'
NO_LENGTH = 'videos whose length was not told, taken to end with the last box'
NO_SENTENCE = 'tubes of the list without a sentence in this set'
_CURE = 'check that the files are of one set and whole'


def convert_vid_sentence(
    root: PathLike,
    out: PathLike,
    split: str,
    videos: Optional[Union[PathLike, VideoCheck]] = None,
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
            with ``train/`` and ``val/``. Where it is given, the pictures of
            each video must be there and are verified.
        segment (str): What of a video is searched: the frames of the
            ``'tube'``, so that only the boxes are to be found, as the
            published scores have it; or the whole ``'video'``.
        fps (float): Frames a second, to tell seconds; no score needs it.
            Defaults to 30.
        skip_bad (bool): Leave out and list what is wrong, instead of raising
            at the first. Defaults to False.
        workers (int): Processes that read tracks. Defaults to 1.
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
    summary = ConversionSummary(str(out))
    lists = Path(root, 'Data/VID/annSamples')
    tubes_path = lists / f'{split}_valid_list.txt'
    path = lists / f'{split}_ann_list_v2.txt'
    tubes = _read_tubes(tubes_path, summary)
    told = _read_told(path, tubes, skip_bad, summary)
    names = list(dict.fromkeys(name for _, name, _, _ in told))
    files = _find_tracks(root, split, names, path, skip_bad, summary)
    read = partial(_read_video, fps=fps, skip_bad=skip_bad)
    infos = read_videos(
        read, list(files.items()), summary, skip_bad, workers, progress
    )
    if videos is None:
        summary.note(NO_LENGTH, f'all {len(infos)}', len(infos))
    elif not isinstance(videos, VideoCheck):
        videos = VideoCheck(videos)
    found = place_videos(
        infos, videos, path, summary, skip_bad, lengths_told=False
    )
    clips = ClipList(path, NAMES, summary, skip_bad)
    for sentence, name in _sentences(clips, told, found):
        video = found[name]
        if segment == 'video':
            sentence.segment = 0, max(video.frame_count, sentence.span[1])
        clips.add(sentence, video)
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
            raise ConversionError(
                path,
                f'line {number}',
                f'expected "video,id", found {line!r:.80}',
                'check that this is the official list',
            )
        tubes.append((name.strip(), track_id.strip()))
    return tubes


def _read_told(
    path: Path,
    tubes: list[tuple[str, str]],
    skip_bad: bool,
    summary: ConversionSummary,
) -> list[tuple[str, str, str, str]]:
    """Query id, video, track id and text of each sentence."""
    told, counts = [], dict.fromkeys(range(len(tubes)), 0)
    for line_number, line in enumerate(_read_lines(path, summary), 1):
        number, comma, text = line.partition(',')
        where = f'line {line_number}'
        known = number.strip().isdigit() and int(number) in counts
        if not comma or not known:
            error = ConversionError(
                path,
                where,
                f'expected "number,sentence" with a number below '
                f'{len(tubes)}, found {line!r:.80}',
                _CURE,
            )
            summary.skip(error, skip_bad, f'sentence of {where}')
            continue
        place = int(number)
        counts[place] += 1
        first = counts[place] == 1
        query_id = f'{place}' if first else f'{place}#{counts[place]}'
        told.append((query_id, *tubes[place], text.strip()))
    silent = [str(place) for place, count in counts.items() if count == 0]
    if silent:
        summary.note(NO_SENTENCE, ', '.join(silent), len(silent))
    return told


def _folder(name: str) -> str:
    """Which of VID's folders a video is in: test has been taken from val."""
    return 'train' if '_train_' in name else 'val'


def _find_tracks(
    root: PathLike,
    split: str,
    names: list[str],
    path: Path,
    skip_bad: bool,
    summary: ConversionSummary,
) -> dict[str, Path]:
    """Video to the file of its tracks."""
    folder = Path(root, 'Annotations/VID/tubeGt')
    found = {}
    for name in names:
        places = [
            folder / part / f'{name}.js' for part in (split, _folder(name))
        ]
        place = next((place for place in places if place.is_file()), None)
        if place is not None:
            found[name] = place
            continue
        error = ConversionError(
            path,
            f'video {name!r}',
            f'there is no {places[-1]}',
            'unpack the annotations of VID-sentence again, or skip such '
            'videos with --skip-bad',
        )
        summary.skip(error, skip_bad, 'video')
    return found


def _read_video(
    item: tuple[str, Path], fps: float, skip_bad: bool
) -> ReadVideo:
    """A video with its tracks, which ends with the last box."""
    name, path = item
    raw = read_json(path)
    size: tuple[int, int] = (0, 0)
    tracks = {}
    for place, entry in enumerate(
        read_list(path, 'top level', raw, 'annotations')
    ):
        track_id = read_name(path, f'annotations[{place}]', entry, 'id')
        where = f'id {track_id}'
        boxes = read_list(path, where, entry, 'track')
        if not boxes:
            raise ConversionError(path, where, 'a track without boxes', _CURE)
        if track_id in tracks:
            raise ConversionError(path, where, 'stands there twice', _CURE)
        for box in boxes:
            size = _same_size(path, where, box, size)
        tracks[track_id] = boxes
    video = VideoInfo(name, f'{_folder(name)}/{name}', 1, fps, *size)
    read = ReadVideo(video)
    for track_id, boxes in tracks.items():
        _add_track(path, read, track_id, boxes, skip_bad)
    return read


def _same_size(
    path: Path, where: str, box: Any, known: tuple[int, int]
) -> tuple[int, int]:
    """(width, height) that a box tells, the same for all."""
    need(path, where, box, ('frame', 'bbox', 'frame_size'))
    size = box['frame_size']
    where = f'{where}, frame {box["frame"]}'
    if not isinstance(size, list) or len(size) != 2:
        found = f'frame_size is {size!r:.80}, not [height, width]'
        raise ConversionError(path, where, found, _CURE)
    named = dict(height=size[0], width=size[1])
    told = (
        read_whole(path, where, named, 'width', least=1),
        read_whole(path, where, named, 'height', least=1),
    )
    if known not in (told, (0, 0)):
        found = f'width and height are {told}, on other frames {known}'
        raise ConversionError(path, where, found, _CURE)
    return told


def _add_track(
    path: Path, read: ReadVideo, track_id: str, boxes: list, skip_bad: bool
) -> None:
    """Give a video a track; its frames count from 1."""
    where, video = f'id {track_id}', read.video
    numbers = [
        read_whole(path, where, box, 'frame', least=1) - 1 for box in boxes
    ]
    if len(set(numbers)) < len(numbers):
        raise ConversionError(path, where, 'two boxes on one frame', _CURE)
    video.frame_count = max(video.frame_count, max(numbers) + 1)
    track = make_track(
        path,
        where,
        numbers,
        [box['bbox'] for box in boxes],
        (video.width, video.height),
        read,
        read_name(path, where, {'class': '', **boxes[0]}, 'class'),
        skip_bad,
    )
    if track is not None:
        video.tracks[track_id] = track


def _sentences(
    clips: ClipList,
    told: list[tuple[str, str, str, str]],
    found: dict[str, VideoInfo],
) -> list[tuple[Sentence, str]]:
    """Sentences whose tube is there, with their video."""
    sentences = []
    for query_id, name, track_id, text in told:
        video = found.get(name)
        where = f'sentence {query_id} (video {name!r})'
        if video is None:
            clips.summary.note('sentences of skipped videos', where)
            continue
        track = video.tracks.get(track_id)
        if track is None:
            error = ConversionError(
                clips.path,
                where,
                f'no boxes for the track id {track_id!r}; its video has '
                f'{sorted(video.tracks)}',
                'correct the list, or skip such sentences with --skip-bad',
            )
            clips.summary.skip(error, clips.skip_bad, where)
            continue
        span = int(track.runs[0, 0]), int(track.runs[-1, 1])
        sentence = Sentence(
            query_id, where, 'declarative', text, span, span, track_id
        )
        sentences.append((sentence, name))
    return sentences
