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

from hero_mm.json_reader import read_json

from ..entries import Entry, PathLike
from .conversion import Conversion
from .summary import ConversionSummary
from .videos import files_below
from .vidor import read_vidor

KINDS = (('captions', 'declarative'), ('questions', 'interrogative'))
# An entry, and query id, type and value of its sentences.
_Entries = list[tuple[Entry, list[tuple[str, str, Any]]]]


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
    asks_for_objects = any(
        isinstance(item, dict)
        and item.get('target_id')
        not in (None, entry.value['used_relation'].get('subject_tid'))
        for entry, items in entries
        for _, _, item in items
    )
    read = partial(read_vidor, asks_for_objects=asks_for_objects)
    paths = _find_boxes(run, entries, vidor_dir)
    run.place(run.read_videos(read, paths))
    for entry, items in entries:
        for query_id, kind, item in items:
            with run.summary.leaving_out(f'sentence {query_id}'):
                _take_sentence(run, entry, item, query_id, kind)
    return run.save(query_ids='official')


def _read_list(path: PathLike, of: str) -> list:
    raw = read_json(path)
    if not isinstance(raw, list) or not raw:
        found = f'expected a list of {of}, found {raw!r:.40}'
        raise Entry(path, 'top level').error(found)
    return raw


def _read_entries(run: Conversion, files: Optional[PathLike]) -> _Entries:
    """Entries with their sentences, which are numbered also where skipped."""
    wanted: Optional[set[str]] = None
    if files is not None:
        wanted = set(map(str, _read_list(files, 'video ids')))
    entries: _Entries = []
    number = 0
    for place, value in enumerate(_read_list(run.source, 'entries')):
        entry, items = Entry(run.source, f'entry {place}', value), []
        with run.summary.leaving_out(entry.where):
            entry.need()
            for key, kind in KINDS:
                said = value.get(key)
                for item in said if isinstance(said, list) else ():
                    items.append((str(number), kind, item))
                    number += 1
            for key, _ in KINDS:
                entry.list(key)
            for key in ('used_segment', 'used_relation', 'temporal_gt'):
                entry.object(key)
            name = value['vid'] = entry.name('vid')
            entry.where += f' (vid {name!r})'
            if wanted is None or name in wanted:
                entries.append((entry, items))
    return entries


def _find_boxes(
    run: Conversion, entries: _Entries, folder: PathLike
) -> list[Path]:
    """VidOR's files of the videos that have one."""
    there, paths = files_below(folder, ('.json', '.json.gz')), []
    for name in dict.fromkeys(entry.value['vid'] for entry, _ in entries):
        places = there.get(f'{name}.json') or there.get(f'{name}.json.gz')
        with run.summary.leaving_out('video'):
            if not places:
                raise Entry(run.source, f'vid {name!r}').error(
                    f'no {name}.json in {folder} or below ({len(there)} files '
                    'there)',
                    'unpack both parts of VidOR (the test split of VidSTG is '
                    "in VidOR's validation part), or skip such videos with "
                    '--skip-bad',
                )
            paths.append(Path(folder, run.first(name, places)))
    return paths


def _take_sentence(
    run: Conversion, entry: Entry, item: Any, query_id: str, kind: str
) -> None:
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
    ends = segment.whole('begin_fid'), segment.whole('end_fid') + 1
    run.take(entry, entry.value['vid'], query, ends)
