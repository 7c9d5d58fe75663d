"""Own footage to the annotation format, in one step."""

import fnmatch
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Optional

import numpy as np

from hero_mm.errors import UserError
from hero_mm.files import write_text
from hero_mm.texts import csv_text

from ..converters.boxes import make_track
from ..converters.conversion import Conversion, Sentence
from ..converters.summary import ConversionSummary
from ..converters.videos import VideoFolder
from ..entries import Entry, PathLike
from ..tracks import Track, VideoInfo
from ..video_base import same_aspect
from ..video_facts import probe_video
from .reading import add_sentences, read_footage
from .tubes import Footage, Tube, merge_tracks

WIDER = 'segments widened to the span of their sentence'
RATE = 'tubes whose frames the tool counted at another rate (converted)'
CUT = 'tracks cut to the end of their video'


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
            have none. Defaults to ``sentences.csv`` in the folder of ``csv``.
        fps (float): Frames a second of videos that do not say it.
        interpolate (bool): The boxes of ``coco-video`` and ``csv`` are on key
            frames. Those of the others always are.
        dataset (str): Name of the data set.
        skip_bad (bool): Leave out and list what is wrong, instead of raising
            at the first.

    Returns:
        ConversionSummary: What was written, repaired and skipped. Errors are
        those of :class:`Conversion`.
    """
    summary = ConversionSummary(str(out), skip_bad)
    footage = read_footage(source, format, interpolate, summary)
    if sentences is None and format == 'csv':
        sentences = Path(source) / 'sentences.csv'
    if sentences is not None:
        add_sentences(footage, Path(sentences))
    rates = {name: video.fps for name, video in footage.videos.items()}
    _find_facts(footage, videos, fps)
    for tube in footage.tubes if format == 'label-studio' else ():
        _to_rate(footage, tube, rates[tube.video_id])
    merge_tracks(footage)
    for video in footage.videos.values():
        _cut_tracks(footage, video)
    splits = splits or {'train': '*'}
    split_of = {name: _find_split(name, splits) for name in footage.videos}
    head = ['query_id', 'split', 'video', 'start', 'end', 'segment', 'text']
    table: list[list] = [head]
    for split in dict.fromkeys(split_of.values()):
        run = Conversion(source, Path(out, f'{split}.json'), dataset, split)
        run.summary = summary
        run.place(v for n, v in footage.videos.items() if split_of[n] == split)
        for number, tube in enumerate(footage.tubes):
            if tube.video_id in run.infos and tube.fields.get('text'):
                table += _take(run, tube, number)
        run.save()
    write_text(Path(out) / 'queries.csv', csv_text(table))
    return summary


def _find_facts(
    footage: Footage, folder: Optional[PathLike], fps: float
) -> None:
    """Find the files, and what the source does not say of its videos."""
    films = None if folder is None else VideoFolder(folder)
    for video in footage.videos.values():
        entry = Entry(footage.path, f'video {video.path!r}')
        if films is not None:
            _read_file(entry, video, films)
        video.fps = video.fps or fps
        names = ('frame_count', 'fps', 'width', 'height')
        lacking = [name for name in names if not getattr(video, name)]
        if lacking:
            raise entry.error(
                f'the source does not say {", ".join(lacking)}',
                'give the folder of the videos with --videos, which has it',
            )


def _read_file(entry: Entry, video: VideoInfo, films: VideoFolder) -> None:
    """Take path, length, rate and, where it is not known, size of the file."""
    places = films.find(video.path, video.video_id)
    if len(places) != 1:
        raise entry.error(
            f'{len(places)} files of this name in {films.folder}',
            'give the folder that has the video, once',
        )
    video.path = places[0]
    facts = probe_video(Path(films.folder, video.path))
    if isinstance(facts, str):
        raise entry.error(facts, 'encode the video again, or leave it out')
    size = (facts.width, facts.height)
    if not video.width:
        video.width, video.height = size
    elif not same_aspect(size, (video.width, video.height)):
        raise entry.error(
            f'{size[0]}x{size[1]}, in the source {video.width}x{video.height}',
            'give the videos that were annotated',
        )
    video.frame_count = facts.frame_count
    video.fps = facts.fps or video.fps


def _to_rate(footage: Footage, tube: Tube, rate: float) -> None:
    """Frames that the tool counted at its own rate to those of the file."""
    track, video = tube.track, footage.videos[tube.video_id]
    assert track.boxes is not None
    if not rate or abs(video.frame_count * (rate / video.fps - 1)) < 1.5:
        return
    where = f'{video.video_id}: {rate:g} to {video.fps:g}'
    footage.summary.note(RATE, where)
    places_T = np.arange(video.frame_count) * (rate / video.fps)
    there_T = np.isin(places_T.round(), track.frames)
    boxes_T4 = np.stack(
        [np.interp(places_T, track.frames, side) for side in track.boxes.T], 1
    )
    frames_T = np.flatnonzero(there_T)
    tube.track = Track.from_boxes(track.category, frames_T, boxes_T4[there_T])


def _cut_tracks(footage: Footage, video: VideoInfo) -> None:
    """Cut boxes to the picture and to the length of the video."""
    frames, summary = np.arange(video.frame_count), footage.summary
    size = video.width, video.height
    for name, track in list(video.tracks.items()):
        boxes_T4, valid_T = video.track_boxes(name, frames)
        last = int(track.runs[-1, 1])
        if last > video.frame_count:
            cut = f'{video.video_id}, {name}: {last} to {video.frame_count}'
            summary.note(CUT, cut)
        where = f'video {video.video_id!r}, object {name!r}'
        entry, numbers = Entry(footage.path, where), frames[valid_T]
        boxes, label = boxes_T4[valid_T], track.category
        made = make_track(entry, numbers, boxes, size, summary, label)
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


def _take(run: Conversion, tube: Tube, number: int) -> list[list]:
    """Take the sentence of a tube; gives its row of the table."""
    name, fields, text = tube.video_id, tube.fields, tube.fields['text']
    entry = Entry(run.source, f'video {name!r}, object {fields["object"]!r}')
    runs, kind = tube.track.runs, 'declarative'
    if text.endswith('?'):
        kind = 'interrogative'
    query: dict[str, Any] = dict(
        query_id=fields.get('query_id') or f'{name}/{number}',
        type=fields.get('type') or kind,
        text=text,
        span=list(tube.span or (int(runs[0, 0]), int(runs[-1, 1]))),
        track_id=fields['object'],
    )
    if fields.get('predicate'):
        query['predicate'] = fields['predicate']

    def read(video: VideoInfo) -> Sentence:
        begin, stop = query['span']
        # What lies behind the end of the video is cut and noted.
        edges = fields.get('segment', '').split()
        edges = edges or ['0', str(max(video.frame_count, stop))]
        if len(edges) != 2 or not all(edge.isdecimal() for edge in edges):
            found = f'the segment {fields["segment"]!r:.40} is no pair'
            raise entry.error(found, 'write two frames, such as "0 270"')
        low, high = map(int, edges)
        segment = min(low, begin), max(high, stop)
        if segment != (low, high):
            where = f'{entry.where}: {(low, high)} to {segment}'
            run.summary.note(WIDER, where)
        return segment, query

    segment = run.take(query['query_id'], entry, name, read)
    if segment is None:
        return []
    said = '{} {}'.format(*segment)
    place = [run.split, name, *query['span'], said, query['text']]
    return [[query['query_id'], *place]]
