"""Own footage to the annotation format, in one step."""

import fnmatch
import zlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Optional

import numpy as np

from hero_mm.errors import UserError
from hero_mm.files import write_text
from hero_mm.texts import csv_text

from ..converters.boxes import make_track
from ..converters.clips import ClipList, RawNames, Sentence
from ..converters.common import ConversionSummary
from ..converters.videos import VideoFolder
from ..entries import Entry, PathLike
from ..tracks import Track, VideoInfo
from ..video_base import same_aspect
from ..video_facts import probe_video
from .reading import add_sentences, read_footage
from .tubes import Footage, Tube, merge_tracks

NAMES = RawNames(
    segment='segment',
    span='the frames of the tube',
    target='object',
    text='the text',
    boxes='the source',
)
WIDER = 'segments widened to the span of their sentence'
RATE = 'tubes whose frames the tool counted at another rate (converted)'
NO_TEXT = 'objects that no sentence is about'
_CURE = 'give the folder of the videos with --videos, which has it'


def convert_own(
    source: PathLike,
    out: PathLike,
    format: str,
    videos: Optional[PathLike] = None,
    splits: Optional[Mapping[str, str]] = None,
    sentences: Optional[PathLike] = None,
    fps: float = 0,
    interpolate: bool = False,
    dataset: str = 'own',
    skip_bad: bool = False,
) -> ConversionSummary:
    """Convert what an annotation tool exports.

    Args:
        source (PathLike): The export, see ``docs/own_footage.md``.
        out (PathLike): Folder to write: a file a split, and ``queries.csv``,
            the table of query ids.
        format (str): One of :data:`FORMATS`.
        videos (PathLike, optional): Folder of the videos, which have what the
            source does not say: frame rate, length, size.
        splits (Mapping[str, str], optional): Split to the pattern of the
            names of its videos (``'shop*'``) or to its share (``'0.8'``); by
            its name a video stays in its split when others are added.
            Defaults to None: all of it is ``train``.
        sentences (PathLike, optional): A table of sentences, for sources that
            have none. Defaults to ``sentences.csv`` in the folder of ``csv``
            and ``mot``.
        fps (float): Frames a second of videos that do not say it.
        interpolate (bool): The boxes of ``coco-video`` and ``csv`` are on key
            frames. Those of the others always are.
        dataset (str): Name of the data set.
        skip_bad (bool): Leave out and list what is wrong, instead of raising
            at the first.

    Returns:
        ConversionSummary: What was written, repaired and skipped.

    Raises:
        FileNotFoundError: A file or folder is missing.
        ConversionError: Something is wrong; names the place and the cure.
        ValueError: The format or a split is none.
    """
    summary = ConversionSummary(out, skip_bad)
    footage = read_footage(source, format, interpolate, summary)
    if sentences is None and format == 'csv':
        sentences = Path(source) / 'sentences.csv'
    if sentences is not None:
        add_sentences(footage, Path(sentences))
    rates = {name: video.fps for name, video in footage.videos.items()}
    _find_facts(footage, videos, fps)
    for tube in footage.tubes if format == 'label-studio' else ():
        video = footage.videos[tube.video_id]
        _to_video(tube, video, rates[tube.video_id], summary)
    merge_tracks(footage, summary)
    for video in footage.videos.values():
        _cut_tracks(footage, video, summary)
    splits = splits or {'train': '*'}
    rows = _write_splits(footage, Path(out), dataset, splits, summary)
    table = [list(rows[0]), *([*row.values()] for row in rows)]
    write_text(Path(out) / 'queries.csv', csv_text(table))
    return summary


def _write_splits(
    footage: Footage,
    out: Path,
    dataset: str,
    splits: Mapping[str, str],
    summary: ConversionSummary,
) -> list[dict]:
    """Write a file a split; gives the rows of the table of query ids."""
    split_of = {name: _find_split(name, splits) for name in footage.videos}
    rows: list[dict] = []
    said: set[tuple[str, str]] = set()
    silent: set[tuple[str, str]] = set()
    for tube in footage.tubes:
        names = said if tube.fields.get('text') else silent
        names.add((tube.video_id, tube.fields['object']))
    for name, track in sorted(silent - said):
        summary.note(NO_TEXT, f'video {name!r}, object {track!r}')
    videos, clips_written = 0, 0
    for split in dict.fromkeys(split_of.values()):
        clips = ClipList(footage.path, NAMES, summary)
        infos = {
            name: video
            for name, video in footage.videos.items()
            if split_of[name] == split
        }
        for number, tube in enumerate(footage.tubes):
            if tube.video_id in infos:
                video = infos[tube.video_id]
                rows += _add(clips, video, tube, split, number)
        clips.save(out / f'{split}.json', dataset, split, infos)
        videos += summary.videos
        clips_written += summary.clips
    summary.videos, summary.clips = videos, clips_written
    return rows


def _find_facts(
    footage: Footage, folder: Optional[PathLike], fps: float
) -> None:
    """Find the files, and what the source does not say of its videos."""
    films = None if folder is None else VideoFolder(folder)
    for video in footage.videos.values():
        entry = Entry(footage.path, f'video {video.path!r}')
        if films is not None:
            places = films.find(video.path, video.video_id)
            if len(places) != 1:
                raise entry.error(
                    f'{len(places)} files of this name in {folder}',
                    'give the folder that has the video, once',
                )
            video.path = places[0]
            _take_facts(entry, video, Path(str(folder), places[0]))
        video.fps = video.fps or fps
        names = ('frame_count', 'fps', 'width', 'height')
        lacking = [name for name in names if not getattr(video, name)]
        if lacking:
            found = f'the source does not say {", ".join(lacking)}'
            raise entry.error(found, _CURE)


def _take_facts(entry: Entry, video: VideoInfo, path: Path) -> None:
    """Take length, rate and, where it is not known, size of the file."""
    facts = probe_video(path)
    if isinstance(facts, str):
        raise entry.error(facts, 'encode the video again, or leave it out')
    size = (facts.width, facts.height)
    if not video.width:
        video.width, video.height = size
    elif not same_aspect(size, (video.width, video.height)):
        annotated = f'{video.width}x{video.height}'
        raise entry.error(
            f'{size[0]}x{size[1]}, in the source {annotated}',
            'give the videos that were annotated',
        )
    video.frame_count = facts.frame_count
    video.fps = facts.fps or video.fps


def _to_video(
    tube: Tube, video: VideoInfo, rate: float, summary: ConversionSummary
) -> None:
    """Shares to pixels, and frames of another rate to those of the file."""
    track = tube.track
    assert track.boxes is not None
    track.boxes *= [video.width, video.height] * 2
    if not rate or abs(video.frame_count * (rate / video.fps - 1)) < 1.5:
        return
    summary.note(RATE, f'{video.video_id}: {rate:g} to {video.fps:g}')
    places_T = np.arange(video.frame_count) * (rate / video.fps)
    there_T = np.isin(places_T.round(), track.frames)
    boxes_T4 = np.stack(
        [np.interp(places_T, track.frames, side) for side in track.boxes.T], 1
    )
    frames_T = np.flatnonzero(there_T)
    tube.track = Track.from_boxes(track.category, frames_T, boxes_T4[there_T])


def _cut_tracks(
    footage: Footage, video: VideoInfo, summary: ConversionSummary
) -> None:
    """Cut boxes to the picture and to the length of the video."""
    frames = np.arange(video.frame_count)
    for name, track in list(video.tracks.items()):
        boxes_T4, valid_T = video.track_boxes(name, frames)
        last = int(track.runs[-1, 1])
        if last > video.frame_count:
            kind = 'tracks cut to the end of their video'
            cut = f'{video.video_id}, {name}: {last} to {video.frame_count}'
            summary.note(kind, cut)
        where = f'video {video.video_id!r}, object {name!r}'
        made = make_track(
            Entry(footage.path, where),
            frames[valid_T],
            boxes_T4[valid_T],
            (video.width, video.height),
            summary,
            track.category,
        )
        del video.tracks[name]
        if made is not None:
            video.tracks[name] = made


def _find_split(name: str, splits: Mapping[str, str]) -> str:
    """The split of a video: by the first pattern, else by its share."""
    place, among_shares = zlib.crc32(name.encode()) / 2**32, ''
    for split, which in splits.items():
        try:
            share = float(which)
        except ValueError:
            if fnmatch.fnmatch(name, which):
                return split
            continue
        if 0 <= place < share:
            among_shares = split
        place -= share
    if not among_shares:
        raise UserError(
            f'video {name!r} is in none of the splits {dict(splits)}; give '
            'shares that add up to 1, or a last one such as "train=*"'
        )
    return among_shares


def _add(
    clips: ClipList, video: VideoInfo, tube: Tube, split: str, number: int
) -> list[dict]:
    """Add the sentence of a tube; gives its row of the table."""
    fields = tube.fields
    where = f'video {video.video_id!r}, object {fields["object"]!r}'
    if not fields.get('text'):
        return []
    span = tube.span
    if span is None:
        span = int(tube.track.runs[0, 0]), int(tube.track.runs[-1, 1])
    # What lies behind the end of the video is cut and noted.
    segment = 0, max(video.frame_count, span[1])
    if fields.get('segment'):
        edges = fields['segment'].split()
        if len(edges) != 2 or not all(edge.isdecimal() for edge in edges):
            raise Entry(clips.path, where).error(
                f'the segment {fields["segment"]!r:.40} is no pair',
                'write two frames, such as "0 270"',
            )
        low, high = map(int, edges)
        segment = min(low, span[0]), max(high, span[1])
        if segment != (low, high):
            clips.summary.note(WIDER, f'{where}: {(low, high)} to {segment}')
    text = fields['text']
    kind = 'interrogative' if text.endswith('?') else 'declarative'
    query_id = fields.get('query_id') or f'{video.video_id}/{number}'
    read = partial(
        Sentence,
        query_id,
        where,
        fields.get('type') or kind,
        text,
        segment,
        span,
        fields['object'],
        fields.get('predicate', ''),
    )
    sentence = clips.take(query_id, where, read, video)
    if sentence is None:
        return []
    row: dict = dict(
        query_id=query_id,
        split=split,
        video=video.video_id,
        start=sentence.span[0],
        end=sentence.span[1],
        segment='{} {}'.format(*sentence.segment),
        text=sentence.text,
    )
    return [row]
