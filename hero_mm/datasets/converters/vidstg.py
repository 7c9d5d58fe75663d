"""VidSTG's official files and VidOR's boxes to the one annotation format.

How time is mapped: ``used_segment.end_fid`` is the last frame, so a segment
ends at ``end_fid + 1``; ``temporal_gt.end_fid`` is already one past the last
frame, and may be one past ``used_segment.end_fid``. Both become half-open.

Query ids are running numbers over all sentences of the file, captions before
questions in each entry, counted before anything is skipped: so they name the
same sentence whatever was left out.
"""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Optional

import numpy as np

from ..annotation import VideoInfo, save_annotation
from .common import (
    ConversionError,
    ConversionSummary,
    PathLike,
    Progress,
    need,
    read_json,
)
from .vidor import VidORVideo, find_vidor, read_vidor

_ENTRY_KEYS = (
    'vid',
    'used_segment',
    'used_relation',
    'temporal_gt',
    'captions',
    'questions',
)
_KINDS = (('captions', 'declarative'), ('questions', 'interrogative'))


def convert_vidstg(
    annotations: PathLike,
    vidor_dir: PathLike,
    out: PathLike,
    files: Optional[PathLike] = None,
    videos: Optional[PathLike] = None,
    split: Optional[str] = None,
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
        videos (PathLike, optional): Folder of the videos. Where it is given,
            each video must be there, nested as published or flat.
        split (str, optional): Name of the split. Defaults to None: the start
            of the name of ``annotations``.
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
    entries = _read_entries(annotations, files, summary)
    names = list(dict.fromkeys(entry['vid'] for _, _, entry in entries))
    paths = _find_annotations(annotations, vidor_dir, names, skip_bad, summary)
    read = _read_videos(list(paths.values()), skip_bad, workers)
    infos: dict[str, VideoInfo] = {}
    for item in progress(read, len(paths)) if progress else read:
        summary.notes.update(item.notes)
        summary.skipped.extend(item.skipped)
        video = item.video
        if _find_video(video, videos):
            infos[video.video_id] = video
            continue
        error = ConversionError(
            paths[video.video_id],
            f'video_path {video.path!r}',
            f'no such file in {videos}, nor {video.video_id}.mp4',
            'fetch the video, or skip such videos with --skip-bad',
        )
        _skip(summary, error, skip_bad, 'video')
    data_list = _make_clips(annotations, entries, infos, skip_bad, summary)
    used = {clip['video_id'] for clip in data_list}
    infos = {name: infos[name] for name in names if name in used}
    if not data_list:
        raise ConversionError(
            annotations,
            f'{len(entries)} entries',
            f'not one sentence is left; skipped: {summary.skipped[:3]}',
            'check that the files belong together',
        )
    summary.videos, summary.clips = len(infos), len(data_list)
    split = split or Path(annotations).name.split('_')[0]
    save_annotation(out, dict(dataset='vidstg', split=split), infos, data_list)
    return summary


def _skip(
    summary: ConversionSummary,
    error: ConversionError,
    skip_bad: bool,
    what: str,
) -> None:
    if not skip_bad:
        raise error
    summary.skipped.append(f'{what}: {error}')


def _read_entries(
    annotations: PathLike,
    files: Optional[PathLike],
    summary: ConversionSummary,
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
    wanted = None if files is None else {str(v) for v in read_json(files)}
    entries, number, seen = [], 0, set()
    for place, entry in enumerate(raw):
        need(annotations, f'entry {place}', entry, _ENTRY_KEYS)
        entry['vid'] = str(entry['vid'])
        seen.add(entry['vid'])
        if wanted is None or entry['vid'] in wanted:
            entries.append((place, number, entry))
        else:
            summary.notes['entries whose video is not in the file list'] += 1
        number += sum(len(entry[kind]) for kind, _ in _KINDS)
    if wanted is not None and wanted - seen:
        summary.notes['listed videos without a sentence'] += len(wanted - seen)
    return entries


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
            continue
        error = ConversionError(
            annotations,
            f'vid {name!r}',
            f'no {name}.json in {vidor_dir} or below ({len(found)} files '
            'there)',
            'unpack both parts of VidOR (the test split of VidSTG is in '
            "VidOR's validation part), or skip such videos with --skip-bad",
        )
        _skip(summary, error, skip_bad, 'video')
    return {name: found[name] for name in names if name in found}


def _read_videos(
    paths: list[Path], skip_bad: bool, workers: int
) -> Iterator[VidORVideo]:
    read = partial(read_vidor, skip_bad=skip_bad)
    if workers <= 1 or len(paths) < 2 * workers:
        yield from map(read, paths)
        return
    with ProcessPoolExecutor(workers) as pool:
        yield from pool.map(read, paths, chunksize=4)


def _find_video(video: VideoInfo, videos: Optional[PathLike]) -> bool:
    """Set the path of a video to where it is below ``videos``."""
    if videos is None:
        return True
    names = (video.path, Path(video.path).name, f'{video.video_id}.mp4')
    for name in names:
        if Path(videos, name).is_file():
            video.path = name
            return True
    return False


def _make_clips(
    annotations: PathLike,
    entries: list[tuple[int, int, dict]],
    infos: dict[str, VideoInfo],
    skip_bad: bool,
    summary: ConversionSummary,
) -> list[dict]:
    """Sentences of the same video and segment stand together."""
    clips: dict[tuple, dict] = {}
    for place, first, entry in entries:
        video = infos.get(entry['vid'])
        if video is None:
            summary.notes['sentences of skipped videos'] += sum(
                len(entry[kind]) for kind, _ in _KINDS
            )
            continue
        where = f'entry {place} (vid {video.video_id!r})'
        number = first
        for kind, query_type in _KINDS:
            for told in entry[kind]:
                try:
                    segment = _segment(
                        annotations, where, entry, video, summary.notes
                    )
                    query = _make_query(
                        annotations, where, entry, told, video, segment
                    )
                except ConversionError as error:
                    _skip(summary, error, skip_bad, f'sentence {number}')
                else:
                    query = dict(
                        query_id=str(number), type=query_type, **query
                    )
                    if _has_boxes(query, video, summary):
                        clip = clips.setdefault(
                            (video.video_id, segment),
                            dict(
                                video_id=video.video_id,
                                segment=list(segment),
                                queries=[],
                            ),
                        )
                        clip['queries'].append(query)
                        summary.sentences[query_type] += 1
                number += 1
    return list(clips.values())


def _segment(
    annotations: PathLike,
    where: str,
    entry: dict,
    video: VideoInfo,
    notes: Counter,
) -> tuple[int, int]:
    used = entry['used_segment']
    need(annotations, f'{where}, used_segment', used, ('begin_fid', 'end_fid'))
    start, end = int(used['begin_fid']), int(used['end_fid']) + 1
    if end > video.frame_count:
        notes['sentences whose segment was cut to the video'] += 1
        end = video.frame_count
    if not 0 <= start < end:
        raise ConversionError(
            annotations,
            f'{where}, used_segment',
            f'[{used["begin_fid"]}, {used["end_fid"]}] is empty or not in '
            f'the {video.frame_count} frames of the video',
            'correct it or skip it with --skip-bad',
        )
    return start, end


def _make_query(
    annotations: PathLike,
    where: str,
    entry: dict,
    told: Any,
    video: VideoInfo,
    segment: tuple[int, int],
) -> dict:
    """The query without its id and type."""
    need(annotations, where, told, ('description', 'target_id'))
    truth = entry['temporal_gt']
    need(annotations, f'{where}, temporal_gt', truth, ('begin_fid', 'end_fid'))
    need(
        annotations,
        f'{where}, used_relation',
        entry['used_relation'],
        ('predicate',),
    )
    span = int(truth['begin_fid']), int(truth['end_fid'])
    text = str(told['description']).strip()
    track_id = str(told['target_id'])
    cure = 'correct it or skip it with --skip-bad'
    if not text:
        raise ConversionError(
            annotations, where, 'the sentence (description) is empty', cure
        )
    if not segment[0] <= span[0] < span[1] <= segment[1]:
        raise ConversionError(
            annotations,
            f'{where}, temporal_gt',
            f'[{span[0]}, {span[1]}) is empty or outside its segment '
            f'[{segment[0]}, {segment[1]})',
            cure,
        )
    if track_id not in video.tracks:
        raise ConversionError(
            annotations,
            f'{where}, target_id',
            f'unknown track id {track_id!r}; VidOR has boxes for '
            f'{sorted(video.tracks)}',
            cure,
        )
    return dict(
        text=text,
        span=list(span),
        track_id=track_id,
        predicate=str(entry['used_relation']['predicate']),
        category=video.tracks[track_id].category,
    )


def _has_boxes(
    query: dict, video: VideoInfo, summary: ConversionSummary
) -> bool:
    """Count what is missing of the tube; without any box it is no tube."""
    notes = summary.notes
    frames = np.arange(*query['span'])
    _, valid = video.track_boxes(query['track_id'], frames)
    missing = int((~valid).sum())
    if missing == len(frames):
        summary.skipped.append(
            f'sentence {query["query_id"]}: track {query["track_id"]} of '
            f'video {video.video_id!r} has no box in the span '
            f'{query["span"]}'
        )
        return False
    if missing:
        notes['frames in spans without a box'] += missing
        notes['sentences with such frames'] += 1
    return True
