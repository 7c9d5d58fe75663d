"""VidSTG's official files and VidOR's boxes to the one annotation format.

How time is mapped: ``used_segment.end_fid`` is the last frame, so a segment
ends at ``end_fid + 1``; ``temporal_gt.end_fid`` is already one past the last
frame, and may be one past ``used_segment.end_fid``. Both become half-open.

Query ids are running numbers over all sentences of the file, captions before
questions in each entry, counted before anything is skipped: so they name the
same sentence whatever was left out.
"""

from functools import partial
from pathlib import Path
from typing import Any, Optional, Union

from ..tracks import VideoInfo
from .clips import ClipList, RawNames, Sentence
from .common import (
    ConversionError,
    ConversionSummary,
    PathLike,
    Progress,
    need,
    read_json,
    read_list,
    read_name,
    read_text,
    read_videos,
    read_whole,
)
from .verify import VideoCheck
from .videos import place_videos
from .vidor import find_vidor, read_vidor

_ENTRY_KEYS = (
    'vid',
    'used_segment',
    'used_relation',
    'temporal_gt',
    'captions',
    'questions',
)
KINDS = (('captions', 'declarative'), ('questions', 'interrogative'))
NAMES = RawNames(
    segment='used_segment',
    span='temporal_gt',
    target='target_id',
    text='description',
    boxes='VidOR',
    inclusive=True,
)
TWICE = 'VidOR files found at several places, the first in order taken'
OTHERWISE = 'videos that VidSTG and VidOR tell differently (VidOR taken)'
FPS_TOLERANCE = 0.01
LAST_FRAME = (
    'entries whose temporal_gt ends one past used_segment.end_fid (kept)'
)


def convert_vidstg(
    annotations: PathLike,
    vidor_dir: PathLike,
    out: PathLike,
    files: Optional[PathLike] = None,
    videos: Optional[Union[PathLike, VideoCheck]] = None,
    split: Optional[str] = None,
    dataset: str = 'vidstg',
    skip_bad: bool = False,
    workers: int = 1,
    progress: Optional[Progress] = None,
) -> ConversionSummary:
    """Convert one split.

    Args:
        annotations (PathLike): ``{train,val,test}_annotations.json``.
        vidor_dir (PathLike): Folder of VidOR's ``<video id>.json``, nested as
            published or flat.
        out (PathLike): The annotation file to write; its boxes go beside it.
        files (PathLike, optional): ``{split}_files.json``: only these videos
            are converted.
        videos (PathLike | VideoCheck, optional): Folder of the videos. Where
            it is given, each video must be there, nested as published or
            flat; a :class:`VideoCheck` has them verified, too.
        split (str, optional): Name of the split. Defaults to None: the start
            of the name of ``annotations``.
        dataset (str): Name of the data set, for files of another one in the
            same layout. Defaults to 'vidstg', whose published numbers are
            told beside what was written.
        skip_bad (bool): Leave out and list what is wrong, instead of raising
            at the first. Defaults to False.
        workers (int): Processes that read VidOR's files. Defaults to 1.
        progress (Callable, optional): Wraps the loop over the videos; gets an
            iterable and its length.

    Returns:
        ConversionSummary: What was written, repaired and skipped.

    Raises:
        FileNotFoundError: A file or folder is missing.
        ConversionError: Something is wrong; names the entry and the cure.
    """
    summary = ConversionSummary(str(out))
    entries = _read_entries(annotations, files, summary, skip_bad)
    names = list(dict.fromkeys(entry['vid'] for _, _, entry in entries))
    paths = _find_annotations(annotations, vidor_dir, names, skip_bad, summary)
    read = partial(
        read_vidor,
        skip_bad=skip_bad,
        asks_for_objects=_asks_for_objects(entries),
    )
    infos = read_videos(
        read, list(paths.values()), summary, skip_bad, workers, progress
    )
    _compare(entries, infos, summary)
    found = place_videos(infos, videos, annotations, summary, skip_bad)
    clips = ClipList(annotations, NAMES, summary, skip_bad)
    _add_sentences(clips, entries, found)
    split = split or Path(annotations).name.split('_')[0]
    return clips.save(out, dataset, split, found, query_ids='official')


def _read_entries(
    annotations: PathLike,
    files: Optional[PathLike],
    summary: ConversionSummary,
    skip_bad: bool,
) -> list[tuple[int, int, dict]]:
    """Entries with their place and the number of their first sentence."""
    raw = read_json(annotations)
    if not isinstance(raw, list) or not raw:
        raise ConversionError(
            annotations,
            'top level',
            f'expected a list of entries, found {type(raw).__name__}',
            'give {train,val,test}_annotations.json of VidSTG',
        )
    wanted = None if files is None else _read_files(files)
    entries, number, seen = [], 0, set()
    for place, entry in enumerate(raw):
        first, number = number, number + _count(entry)
        try:
            need(annotations, f'entry {place}', entry, _ENTRY_KEYS)
            name = read_name(annotations, f'entry {place}', entry, 'vid')
            for kind, _ in KINDS:
                read_list(annotations, f'entry {place}', entry, kind)
        except ConversionError as error:
            summary.skip(error, skip_bad, f'entry {place}')
            continue
        entry['vid'] = name
        seen.add(entry['vid'])
        if wanted is None or entry['vid'] in wanted:
            entries.append((place, first, entry))
        else:
            kind = 'entries whose video is not in the file list'
            summary.note(kind, f'entry {place} (vid {entry["vid"]!r})')
    if wanted is not None and wanted - seen:
        kind, lost = 'listed videos without a sentence', sorted(wanted - seen)
        summary.note(kind, f'{files}: {", ".join(lost)}', len(lost))
    return entries


def _count(entry: Any) -> int:
    """Sentences of an entry, as far as they are there."""
    told = entry if isinstance(entry, dict) else {}
    lists = [told.get(kind) for kind, _ in KINDS]
    return sum(len(part) for part in lists if isinstance(part, list))


def _asks_for_objects(entries: list[tuple[int, int, dict]]) -> bool:
    """Whether a sentence asks for the object of its relation."""
    for _, _, entry in entries:
        relation = entry['used_relation']
        if not isinstance(relation, dict):
            continue
        for item in entry['captions'] + entry['questions']:
            target = item.get('target_id') if isinstance(item, dict) else None
            if target not in (None, relation.get('subject_tid')):
                return True
    return False


def _read_files(path: PathLike) -> set[str]:
    """The videos of a split."""
    names = read_json(path)
    if not isinstance(names, list):
        raise ConversionError(
            path,
            'top level',
            f'expected a list of video ids, found {type(names).__name__}',
            'give {train,val,test}_files.json of VidSTG',
        )
    return set(map(str, names))


def _compare(
    entries: list[tuple[int, int, dict]],
    infos: list[VideoInfo],
    summary: ConversionSummary,
) -> None:
    """List the videos of which VidSTG tells something else than VidOR."""
    first = {entry['vid']: entry for _, _, entry in reversed(entries)}
    for video in infos:
        entry = first[video.video_id]
        told = []
        for key in ('fps', 'width', 'height', 'frame_count'):
            theirs, ours = entry.get(key), getattr(video, key)
            near = FPS_TOLERANCE if key == 'fps' else 0
            number = isinstance(theirs, (int, float))
            if key in entry and not (number and abs(theirs - ours) <= near):
                told.append(f'{key} {theirs!r:.20} and {ours!r:.20}')
        if told:
            where = f'{video.video_id}: {", ".join(told)}'
            summary.note(OTHERWISE, f'{where} (VidSTG and VidOR)')


def _find_annotations(
    annotations: PathLike,
    vidor_dir: PathLike,
    names: list[str],
    skip_bad: bool,
    summary: ConversionSummary,
) -> dict[str, Path]:
    """VidOR's file of each video that has one."""
    found = find_vidor(vidor_dir)
    for name in names:
        if name in found:
            if len(found[name]) > 1:
                told = ', '.join(map(str, found[name]))
                summary.note(TWICE, f'{name}: {told}')
            continue
        error = ConversionError(
            annotations,
            f'vid {name!r}',
            f'no {name}.json in {vidor_dir} or below ({len(found)} files '
            'there)',
            'unpack both parts of VidOR (the test split of VidSTG is in '
            "VidOR's validation part), or skip such videos with --skip-bad",
        )
        summary.skip(error, skip_bad, 'video')
    return {name: found[name][0] for name in names if name in found}


def _add_sentences(
    clips: ClipList,
    entries: list[tuple[int, int, dict]],
    infos: dict[str, VideoInfo],
) -> None:
    summary = clips.summary
    for place, first, entry in entries:
        video = infos.get(entry['vid'])
        where = f'entry {place} (vid {entry["vid"]!r})'
        told = [(kind, item) for name, kind in KINDS for item in entry[name]]
        if video is None:
            kind = 'sentences of skipped videos'
            summary.note(kind, where, len(told))
            continue
        last_frame = False
        for number, (query_type, item) in enumerate(told, first):
            try:
                sentence = _read_sentence(
                    clips.path, where, entry, item, number, query_type
                )
            except ConversionError as error:
                summary.skip(error, clips.skip_bad, f'sentence {number}')
                continue
            if clips.add(sentence, video):
                end = int(entry['used_segment']['end_fid']) + 1
                last_frame |= sentence.span[1] == end
        if last_frame:
            summary.note(LAST_FRAME, where)


def _read_sentence(
    annotations: PathLike,
    where: str,
    entry: dict,
    told: Any,
    number: int,
    query_type: str,
) -> Sentence:
    """A sentence of an entry, unchecked but for the keys."""
    relation = f'{where}, used_relation', entry['used_relation']
    begin, end = _frames(annotations, where, entry, 'used_segment')
    return Sentence(
        query_id=str(number),
        where=where,
        type=query_type,
        text=read_text(annotations, where, told, 'description'),
        segment=(begin, end + 1),
        span=_frames(annotations, where, entry, 'temporal_gt'),
        track_id=read_name(annotations, where, told, 'target_id'),
        predicate=read_text(annotations, *relation, 'predicate'),
    )


def _frames(
    annotations: PathLike, where: str, entry: dict, key: str
) -> tuple[int, int]:
    """``begin_fid`` and ``end_fid`` as they stand there."""
    place = f'{where}, {key}'
    return (
        read_whole(annotations, place, entry[key], 'begin_fid'),
        read_whole(annotations, place, entry[key], 'end_fid'),
    )
