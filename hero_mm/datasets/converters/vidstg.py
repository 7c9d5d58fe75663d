"""VidSTG's official files and VidOR's boxes to the one annotation format.

How time is mapped: ``used_segment.end_fid`` is the last frame, so a segment
ends at ``end_fid + 1``; ``temporal_gt.end_fid`` is already one past the last
frame, and may be one past ``used_segment.end_fid``. Both become half-open.
Size, frame rate and length of a video are VidOR's, on whose frames the boxes
were drawn.

Query ids are running numbers over all sentences of the file, captions before
questions in each entry, counted before anything is skipped: so they name the
same sentence whatever was left out.
"""

from functools import partial
from pathlib import Path
from typing import Any, Optional

from ..entries import Entry, PathLike
from ..tracks import VideoInfo
from .conversion import Conversion, Sentence, read_json
from .summary import ConversionSummary
from .videos import files_below
from .vidor import read_vidor

KINDS = (('captions', 'declarative'), ('questions', 'interrogative'))
TWICE = 'VidOR files found at several places, the first in order taken'
# The number of the first sentence of an entry, and the entry.
_Entries = list[tuple[int, Entry]]


def convert_vidstg(
    annotations: PathLike,
    vidor_dir: PathLike,
    out: PathLike,
    files: Optional[PathLike] = None,
    **options: Any,
) -> ConversionSummary:
    """Convert one split.

    Args:
        annotations (PathLike): ``{train,val,test}_annotations.json``.
        vidor_dir (PathLike): Folder of VidOR's ``<video id>.json``, nested as
            published or flat.
        out (PathLike): The annotation file to write; its boxes go beside it.
        files (PathLike, optional): ``{split}_files.json``: only these videos
            are converted.
        **options (Any): See :class:`Conversion`, also for what is returned
            and raised.
    """
    run = Conversion(annotations, out, **options)
    run.dataset = run.dataset or 'vidstg'
    entries = _read_entries(run, files)
    asks_for_objects = any(_asks_for_object(entry) for _, entry in entries)
    read = partial(
        read_vidor, skip_bad=run.skip_bad, asks_for_objects=asks_for_objects
    )
    paths = _find_boxes(run, entries, vidor_dir)
    run.place(run.read_videos(read, paths))
    for first, entry in entries:
        items = [(k, item) for name, k in KINDS for item in entry.value[name]]
        for number, (kind, item) in enumerate(items, first):
            sentence = partial(_read_sentence, entry, item, str(number), kind)
            run.take(str(number), entry, entry.value['vid'], sentence)
    return run.save(query_ids='official')


def _read_list(path: PathLike, of: str) -> list:
    raw = read_json(path)
    if not isinstance(raw, list) or not raw:
        found = f'expected a list of {of}, found {raw!r:.40}'
        raise Entry(path, 'top level').error(found)
    return raw


def _read_entries(run: Conversion, files: Optional[PathLike]) -> _Entries:
    """Entries with the number of their first sentence."""
    wanted: Optional[set[str]] = None
    if files is not None:
        wanted = set(map(str, _read_list(files, 'video ids')))
    entries: _Entries = []
    number = 0
    for place, value in enumerate(_read_list(run.source, 'entries')):
        entry = Entry(run.source, f'entry {place}', value)
        first, number = number, number + _count(value)
        with run.summary.leaving_out(entry.where):
            entry.need('used_segment', 'used_relation', 'temporal_gt')
            name = value['vid'] = entry.name('vid')
            for kind, _ in KINDS:
                entry.list(kind)
            entry.where += f' (vid {name!r})'
            if wanted is None or name in wanted:
                entries.append((first, entry))
    return entries


def _count(entry: Any) -> int:
    """Sentences of an entry, as far as they are there."""
    if not isinstance(entry, dict):
        return 0
    lists = [entry.get(kind) for kind, _ in KINDS]
    return sum(len(part) for part in lists if isinstance(part, list))


def _asks_for_object(entry: Entry) -> bool:
    """Whether a sentence asks for the object of its relation."""
    relation = entry.value['used_relation']
    if not isinstance(relation, dict):
        return False
    known = None, relation.get('subject_tid')
    return any(
        isinstance(item, dict) and item.get('target_id') not in known
        for name, _ in KINDS
        for item in entry.value[name]
    )


def _find_boxes(
    run: Conversion, entries: _Entries, folder: PathLike
) -> list[Path]:
    """VidOR's files of the videos that have one."""
    there, paths = files_below(folder, ('.json', '.json.gz')), []
    for name in dict.fromkeys(entry.value['vid'] for _, entry in entries):
        places = there.get(f'{name}.json') or there.get(f'{name}.json.gz', [])
        if not places:
            error = Entry(run.source, f'vid {name!r}').error(
                f'no {name}.json in {folder} or below ({len(there)} files '
                'there)',
                'unpack both parts of VidOR (the test split of VidSTG is in '
                "VidOR's validation part), or skip such videos with "
                '--skip-bad',
            )
            run.summary.skip(error, 'video')
            continue
        if len(places) > 1:
            run.summary.note(TWICE, f'{name}: {", ".join(places)}')
        paths.append(Path(folder, places[0]))
    return paths


def _read_sentence(
    entry: Entry, item: Any, query_id: str, kind: str, video: VideoInfo
) -> Sentence:
    """A sentence of an entry, unchecked but for the keys."""
    said = entry.at(entry.where, item)
    relation, segment, span = (
        entry.at(f'{entry.where}, {key}', entry.value[key])
        for key in ('used_relation', 'used_segment', 'temporal_gt')
    )
    query = dict(
        query_id=query_id,
        type=kind,
        text=said.text('description'),
        span=[span.whole('begin_fid'), span.whole('end_fid')],
        track_id=said.name('target_id'),
        predicate=relation.text('predicate'),
    )
    if not query['predicate']:
        del query['predicate']
    return (segment.whole('begin_fid'), segment.whole('end_fid') + 1), query
