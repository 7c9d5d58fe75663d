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

from ..converters.conversion import Conversion
from ..converters.summary import ConversionSummary
from ..entries import Entry, PathLike
from ..tracks import Track, interpolate
from .reading import add_sentences, read_footage
from .tubes import Footage, Tube, merge_tracks

WIDER = 'segments widened to the span of their sentence'
RATE = 'tubes whose frames the tool counted at another rate (converted)'


def convert_own(
    source: PathLike,
    out: PathLike,
    format: str,
    splits: Optional[Mapping[str, str]] = None,
    sentences: Optional[PathLike] = None,
    fps: float = 0,
    interpolate: bool = False,
    **options: Any,
) -> ConversionSummary:
    """Convert what an annotation tool exports.

    Args:
        source (PathLike): The export, see ``docs/own_footage.md``.
        out (PathLike): Folder to write: a file a split, and ``queries.csv``,
            the table of query ids.
        format (str): One of :data:`FORMATS`.
        splits (Mapping[str, str], optional): Split to the pattern of the
            names of its videos (``'shop*'``) or to its share (``'0.8'``); the
            first that fits holds. By its name a video stays in its split when
            others are added. Defaults to None: all of it is ``train``.
        sentences (PathLike, optional): A table of sentences, for sources that
            have none. Defaults to ``sentences.csv`` in the folder of ``csv``.
        fps (float): Frames a second of videos that do not say it.
        interpolate (bool): The boxes of ``coco-video`` and ``csv`` are on key
            frames. Those of the others always are.
        **options (Any): See :class:`Conversion`, also for what is returned
            and raised. The ``videos`` have what the source does not say:
            frame rate, length, size.
    """
    run = Conversion(source, out, **options)
    run.dataset = run.dataset or 'own'
    footage = read_footage(source, format, interpolate, run.summary)
    if sentences is None and format == 'csv':
        sentences = Path(source) / 'sentences.csv'
    if sentences is not None:
        add_sentences(footage, Path(sentences))
    rates = {name: video.fps for name, video in footage.videos.items()}
    if run.videos is not None:
        # Those of the files, whatever the tool says.
        for video in footage.videos.values():
            video.frame_count, video.fps = 0, 0.0
    run.place(footage.videos.values(), only_one=True)
    if not run.infos:
        run.save()  # Raises, and names them.
    footage.videos = run.infos
    footage.tubes = [t for t in footage.tubes if t.video_id in run.infos]
    for name, video in run.infos.items():
        video.fps = video.fps or rates[name] or fps
        facts = ('frame_count', 'fps', 'width', 'height')
        lacking = [fact for fact in facts if not getattr(video, fact)]
        if lacking:
            raise Entry(source, f'video {video.path!r}').error(
                f'the source does not say {", ".join(lacking)}',
                'give the folder of the videos with --videos, which has it',
            )
    if format == 'label-studio':
        _fit_rates(footage, rates)
    merge_tracks(footage)
    splits = splits or {'train': '*'}
    split_of = {name: _find_split(name, splits) for name in footage.videos}
    head = ['query_id', 'split', 'video', 'start', 'end', 'segment', 'text']
    table: list[list] = [head]
    for split in dict.fromkeys(split_of.values()):
        part = Conversion(
            source, Path(out, f'{split}.json'), run.dataset, split
        )
        part.summary = run.summary
        part.place(
            v for v in run.infos.values() if split_of[v.video_id] == split
        )
        for number, tube in enumerate(footage.tubes):
            if tube.video_id in part.infos and tube.fields.get('text'):
                with run.summary.leaving_out(f'tube {number}'):
                    table += _take(part, tube, number)
        part.save()
    write_text(Path(out) / 'queries.csv', csv_text(table))
    return run.summary


def _fit_rates(footage: Footage, rates: Mapping[str, float]) -> None:
    """Count all tubes at the rates of the files; skip what lies behind."""
    for tube in [*footage.tubes]:
        _to_rate(footage, tube, rates[tube.video_id])
        if not len(tube.track.runs):
            name, what = tube.video_id, tube.fields['object']
            entry = Entry(footage.path, f'video {name!r}, object {what!r}')
            error = entry.error('it lies after the end of its video')
            footage.summary.skip(error, 'tube')
            footage.tubes.remove(tube)


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
    if not there_T.any() and track.frames[0] <= places_T[-1]:
        # A single frame between those of the file.
        there_T[np.abs(places_T - track.frames[0]).argmin()] = True
    boxes_T4 = interpolate(places_T, track.frames, track.boxes)
    frames_T = np.flatnonzero(there_T)
    tube.track = Track.from_boxes(track.category, frames_T, boxes_T4[there_T])


def _find_split(name: str, splits: Mapping[str, str]) -> str:
    """The first split whose pattern or share a video is in."""
    place = zlib.crc32(name.encode()) / 2**32
    for split, which in splits.items():
        try:
            share = float(which)
        except ValueError:
            share = float(fnmatch.fnmatch(name, which))
        if place < share:
            return split
        place -= share
    raise UserError(
        f'video {name!r} is in none of the splits {dict(splits)}; give '
        'shares that add up to 1, or a last one such as "train=*"'
    )


def _take(run: Conversion, tube: Tube, number: int) -> list[list]:
    """Take the sentence of a tube; gives its row of the table."""
    name, fields, text = tube.video_id, tube.fields, tube.fields['text']
    entry = Entry(run.source, f'video {name!r}, object {fields["object"]!r}')
    kind = 'interrogative' if text.endswith('?') else 'declarative'
    runs, segment = tube.track.runs, None
    begin, stop = tube.span or (int(runs[0, 0]), int(runs[-1, 1]))
    query: dict[str, Any] = dict(
        query_id=fields.get('query_id') or f'{name}/{number}',
        type=fields.get('type') or kind,
        text=text,
        span=[begin, stop],
        track_id=fields['object'],
    )
    if fields.get('predicate'):
        query['predicate'] = fields['predicate']
    if fields.get('segment'):
        edges = fields['segment'].split()
        if len(edges) != 2 or not all(edge.isdecimal() for edge in edges):
            found = f'the segment {fields["segment"]!r:.40} is no pair'
            raise entry.error(found, 'write two frames, such as "0 270"')
        low, high = map(int, edges)
        segment = min(low, begin), max(high, stop)
        if segment != (low, high):
            where = f'{entry.where}: {(low, high)} to {segment}'
            run.summary.note(WIDER, where)
    taken = run.take(entry, name, query, segment)
    if taken is None:
        return []
    said = '{} {}'.format(*taken)
    place = [run.split, name, *query['span'], said, query['text']]
    return [[query['query_id'], *place]]
