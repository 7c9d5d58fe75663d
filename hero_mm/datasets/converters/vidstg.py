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
from typing import Any, Optional

from ..entries import Entry, PathLike
from ..progress import Progress
from ..tracks import VideoInfo
from .clips import ClipList, RawNames, Sentence
from .common import ConversionSummary, read_json, read_videos
from .videos import Videos, place_videos
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
OTHERWISE = 'videos on which VidSTG and VidOR disagree (VidOR taken)'
FPS_TOLERANCE = 0.01
LAST_FRAME = (
    'entries whose temporal_gt ends one past used_segment.end_fid (kept)'
)
# The number of the first sentence of an entry, and the entry.
_Entries = list[tuple[int, Entry]]


def convert_vidstg(
    annotations: PathLike,
    vidor_dir: PathLike,
    out: PathLike,
    files: Optional[PathLike] = None,
    videos: Videos = None,
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
        videos (PathLike | VideoCheck, optional): Where each video must be,
            nested or flat; a :class:`VideoCheck` has them verified, too.
        split (str, optional): Defaults to the start of the file's name.
        dataset (str): Name of the data set, for files of another one in the
            same layout.
        skip_bad (bool): Leave out and list what is wrong.
        workers (int): Processes that read VidOR's files.
        progress (Callable, optional): Wraps the loop over the videos; gets an
            iterable and its length.

    Returns:
        ConversionSummary: What was written, repaired and skipped.

    Raises:
        FileNotFoundError: A file or folder is missing.
        ConversionError: Something is wrong; names the entry and the cure.
    """
    summary = ConversionSummary(out, skip_bad)
    entries = _read_entries(annotations, files, summary)
    names = list(dict.fromkeys(entry.value['vid'] for _, entry in entries))
    paths = _find_annotations(annotations, vidor_dir, names, summary)
    read = partial(
        read_vidor,
        skip_bad=skip_bad,
        asks_for_objects=_asks_for_objects(entries),
    )
    infos = read_videos(read, paths, summary, workers, progress)
    _compare(entries, infos, summary)
    found = place_videos(infos, videos, annotations, summary)
    clips = ClipList(annotations, NAMES, summary)
    _add_sentences(clips, entries, found)
    split = split or Path(annotations).name.split('_')[0]
    return clips.save(out, dataset, split, found, query_ids='official')


def _read_entries(
    annotations: PathLike,
    files: Optional[PathLike],
    summary: ConversionSummary,
) -> _Entries:
    """Entries with the number of their first sentence."""
    raw = read_json(annotations)
    if not isinstance(raw, list) or not raw:
        raise Entry(annotations, 'top level').error(
            f'expected a list of entries, found {type(raw).__name__}',
            'give {train,val,test}_annotations.json of VidSTG',
        )
    wanted = None if files is None else _read_files(files)
    entries: _Entries = []
    number, seen = 0, set()
    for place, value in enumerate(raw):
        entry = Entry(annotations, f'entry {place}', value)
        first, number = number, number + _count(value)
        with summary.leaving_out(entry.where):
            entry.need(*_ENTRY_KEYS)
            name = value['vid'] = entry.name('vid')
            for kind, _ in KINDS:
                entry.list(kind)
            entry.where += f' (vid {name!r})'
            seen.add(name)
            if wanted is None or name in wanted:
                entries.append((first, entry))
            else:
                kind = 'entries whose video is not in the file list'
                summary.note(kind, entry.where)
    if wanted is not None and wanted - seen:
        kind, lost = 'listed videos without a sentence', sorted(wanted - seen)
        summary.note(kind, f'{files}: {", ".join(lost)}', len(lost))
    return entries


def _count(entry: Any) -> int:
    """Sentences of an entry, as far as they are there."""
    if not isinstance(entry, dict):
        return 0
    lists = [entry.get(kind) for kind, _ in KINDS]
    return sum(len(part) for part in lists if isinstance(part, list))


def _asks_for_objects(entries: _Entries) -> bool:
    """Whether a sentence asks for the object of its relation."""
    for _, entry in entries:
        relation = entry.value['used_relation']
        if not isinstance(relation, dict):
            continue
        for item in entry.value['captions'] + entry.value['questions']:
            target = item.get('target_id') if isinstance(item, dict) else None
            if target not in (None, relation.get('subject_tid')):
                return True
    return False


def _read_files(path: PathLike) -> set[str]:
    """The videos of a split."""
    names = read_json(path)
    if not isinstance(names, list):
        raise Entry(path, 'top level').error(
            f'expected a list of video ids, found {type(names).__name__}',
            'give {train,val,test}_files.json of VidSTG',
        )
    return set(map(str, names))


def _compare(
    entries: _Entries, infos: list[VideoInfo], summary: ConversionSummary
) -> None:
    """List the videos on which VidSTG and VidOR disagree."""
    first = {entry.value['vid']: entry.value for _, entry in entries[::-1]}
    for video in infos:
        entry = first[video.video_id]
        differ = []
        for key in ('fps', 'width', 'height', 'frame_count'):
            theirs, ours = entry.get(key), getattr(video, key)
            near = FPS_TOLERANCE if key == 'fps' else 0
            number = isinstance(theirs, (int, float))
            if key in entry and not (number and abs(theirs - ours) <= near):
                differ.append(f'{key} {theirs!r:.20} and {ours!r:.20}')
        if differ:
            where = f'{video.video_id}: {", ".join(differ)}'
            summary.note(OTHERWISE, f'{where} (VidSTG and VidOR)')


def _find_annotations(
    annotations: PathLike,
    vidor_dir: PathLike,
    names: list[str],
    summary: ConversionSummary,
) -> list[Path]:
    """VidOR's files of the videos that have one."""
    found, paths = find_vidor(vidor_dir), []
    for name in names:
        with summary.leaving_out('video'):
            if name not in found:
                raise Entry(annotations, f'vid {name!r}').error(
                    f'no {name}.json in {vidor_dir} or below ({len(found)} '
                    'files there)',
                    'unpack both parts of VidOR (the test split of VidSTG is '
                    "in VidOR's validation part), or skip such videos with "
                    '--skip-bad',
                )
            if len(found[name]) > 1:
                places = ', '.join(map(str, found[name]))
                summary.note(TWICE, f'{name}: {places}')
            paths.append(found[name][0])
    return paths


def _add_sentences(
    clips: ClipList, entries: _Entries, infos: dict[str, VideoInfo]
) -> None:
    for first, entry in entries:
        items = [(k, item) for name, k in KINDS for item in entry.value[name]]
        last_frame = False
        for number, (kind, item) in enumerate(items, first):
            sentence = clips.take(
                str(number),
                entry.where,
                partial(_read_sentence, entry, item, number, kind),
                infos.get(entry.value['vid']),
            )
            if sentence is not None:
                end = int(entry.value['used_segment']['end_fid']) + 1
                last_frame |= sentence.span[1] == end
        if last_frame:
            clips.summary.note(LAST_FRAME, entry.where)


def _read_sentence(
    entry: Entry, item: Any, number: int, query_type: str
) -> Sentence:
    """A sentence of an entry, unchecked but for the keys."""
    sentence = entry.at(entry.where, item)
    relation = _part(entry, 'used_relation')
    segment, span = (
        (part.whole('begin_fid'), part.whole('end_fid'))
        for part in (_part(entry, 'used_segment'), _part(entry, 'temporal_gt'))
    )
    return Sentence(
        query_id=str(number),
        where=entry.where,
        type=query_type,
        text=sentence.text('description'),
        segment=(segment[0], segment[1] + 1),
        span=span,
        track_id=sentence.name('target_id'),
        predicate=relation.text('predicate'),
    )


def _part(entry: Entry, key: str) -> Entry:
    return entry.at(f'{entry.where}, {key}', entry.value[key])
