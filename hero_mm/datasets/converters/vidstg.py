"""VidSTG's official files and VidOR's boxes to the one annotation format.

How time is mapped: ``used_segment.end_fid`` is the last frame, so a segment
ends at ``end_fid + 1``; ``temporal_gt.end_fid`` is already one past the last
frame, and may be one past ``used_segment.end_fid``. Both become half-open.
Size, frame rate and length of a video are VidOR's, on whose frames the boxes
were drawn; its ``trajectories`` hold, for each frame, a list of boxes with the
id of their object. Objects of VidOR's categories are annotated wherever they
are visible.

Query ids are running numbers over all sentences of the file, captions before
questions in each entry, counted before anything is skipped: so they name the
same sentence whatever was left out.
"""

from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Any, Optional

from hero_mm.json_reader import read_json

from ..action_phrases import PLACES
from ..entries import Entry, PathLike
from ..tracks import VideoInfo
from .boxes import make_track
from .conversion import RAISED, Conversion
from .summary import ConversionSummary
from .videos import files_below

KINDS = (('captions', 'declarative'), ('questions', 'interrogative'))
CORNERS = ('xmin', 'ymin', 'xmax', 'ymax')
# Frame numbers and boxes of a track.
_Boxes = tuple[list[int], list[list[float]]]
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


def read_vidor(
    path: Path, summary: ConversionSummary, asks_for_objects: bool = True
) -> VideoInfo:
    """Read ``<video id>.json``: the video with its tracks.

    A track has the predicates of all relations of the video that it is the
    subject of. It has those that it is the object of, too, where sentences ask
    for the object (*what does he hold?*), and where they are places. Tracks
    are complete unless a box was dropped. What is repaired is noted.
    """
    file = Entry(path, 'top level', read_json(path))
    frames = file.list('trajectories')
    frame_count = file.whole('frame_count', least=1)
    name = path.name.partition('.json')[0]
    video = VideoInfo(
        video_id=name,
        path=file.text('video_path', '') or f'{name}.mp4',
        frame_count=max(frame_count, len(frames)),
        fps=float(file.number('fps', least=1e-3)),
        width=file.whole('width', least=1),
        height=file.whole('height', least=1),
    )
    if len(frames) > frame_count:
        summary.note(RAISED, f'{path}: {frame_count} to {len(frames)}')
    true_of: dict[str, set[str]] = defaultdict(set)
    for relation in file.objects('relation_instances'):
        predicate = relation.text('predicate')
        subject, other = map(relation.name, ('subject_tid', 'object_tid'))
        true_of[subject].add(predicate)
        if asks_for_objects or predicate in PLACES:
            true_of[other].add(predicate)
    video.predicates = tuple(sorted(set().union(*true_of.values())))
    categories = {
        thing.name('tid'): thing.text('category')
        for thing in file.objects('subject/objects')
    }
    size = video.width, video.height
    for tid, (numbers, boxes) in _collect(file, frames).items():
        entry, category = file.at(f'tid {tid}', boxes), categories.get(tid, '')
        track = make_track(entry, numbers, boxes, size, summary, category)
        if track is not None:
            track.predicates = tuple(sorted(true_of[tid]))
            video.tracks[tid] = track
            if tid not in categories:
                summary.note('tracks without a category', f'{path}, tid {tid}')
    video.tracks_complete = not summary.skipped
    return video


def _collect(file: Entry, frames: list) -> dict[str, _Boxes]:
    """Frame numbers and boxes of each track, tracks in order of their id."""
    found: dict[str, _Boxes] = {}
    for number, boxes in enumerate(frames):
        frame = file.at(f'frame {number}', boxes)
        if not isinstance(boxes, list):
            raise frame.error(f'expected a list, found {boxes!r:.80}')
        for box in boxes:
            try:
                corners = [box['bbox'][corner] for corner in CORNERS]
                tid = frame.at(frame.where, box).name('tid')
            except (KeyError, TypeError) as error:
                raise frame.error(
                    f'a box needs tid and bbox with {", ".join(CORNERS)}, '
                    f'found {box!r:.120}'
                ) from error
            numbers, kept = found.setdefault(tid, ([], []))
            if numbers and numbers[-1] == number:
                found_twice = 'two boxes for one object'
                raise frame.error(found_twice, 'keep one', f'tid {tid}')
            numbers.append(number)
            kept.append(corners)
    # Whole numbers in their order, texts by length.
    return dict(sorted(found.items(), key=lambda one: (len(one[0]), one[0])))
