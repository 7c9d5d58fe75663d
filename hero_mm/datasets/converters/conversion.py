"""The frame of all converters; they differ in what they read."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Optional, Union

import numpy as np

from hero_mm.json_reader import JsonError
from hero_mm.json_reader import read_json as read_any_json
from hero_mm.processes import in_processes

from ..annotation import QUERY_TYPES, save_annotation
from ..checks import find_fault
from ..entries import ConversionError, Entry, PathLike
from ..progress import show_progress
from ..tracks import VideoInfo
from ..video_facts import VideoCheck
from .boxes import frame_ranges
from .summary import ConversionSummary, official_counts
from .videos import place_videos

CUT = 'sentences whose segment, and span with it, was cut to the video'
ReadVideo = tuple[VideoInfo, ConversionSummary]
# A segment [start, end), and a query as an annotation file has it.
Sentence = tuple[tuple[int, int], dict[str, Any]]


@dataclass
class Conversion:
    """One split on its way from raw files to an annotation file.

    A converter reads the videos with their tracks, places them, takes the
    sentences one by one and saves. Its options are those of this class. It
    gives the summary; it raises FileNotFoundError where a file is missing, and
    ConversionError, which names place and cure, where something is wrong.

    Args:
        source (PathLike): The raw file, for errors.
        out (PathLike): The annotation file to write; its boxes go beside it.
        dataset (str): Name of the data set. Defaults to what the converter
            finds.
        split (str): Its name. Defaults to the start of the file's name.
        videos (PathLike, optional): Folder of the videos, nested or flat.
            Each is verified: it must be there, open, and be as long and large
            as annotated.
        skip_bad (bool): Leave out and list what is wrong, instead of raising
            at the first.
        workers (int): Processes that read files and verify videos.
        progress (bool): Show on standard error how far it is.

    Attributes:
        summary (ConversionSummary): What is written, repaired and skipped.
        infos (dict[str, VideoInfo]): The videos that were placed, by id.
    """

    source: PathLike
    out: PathLike
    dataset: str = ''
    split: str = ''
    videos: Optional[PathLike] = None
    skip_bad: bool = False
    workers: int = 1
    progress: bool = False

    def __post_init__(self) -> None:
        stem = Path(self.source).stem
        found = re.match('train|val|test', stem)
        start = found.group() if found else stem.split('_')[0]
        self.split = self.split or start
        self.summary = ConversionSummary(str(self.out), self.skip_bad)
        self.infos: dict[str, VideoInfo] = {}
        self._clips: dict[tuple, dict] = {}
        self._ids: set[str] = set()

    def read_videos(
        self, read: Callable[[Any], ReadVideo], files: Sequence[Any]
    ) -> list[VideoInfo]:
        """Read a file for each video, in order, in processes where it pays.

        ``read`` gives a video, and what it repaired or left out.
        """
        workers = self.workers if len(files) >= 2 * self.workers else 1
        work = partial(_attempt, read, self.skip_bad)
        found: Iterable = in_processes(work, list(enumerate(files)), workers)
        if self.progress:
            found = show_progress(found, len(files))
        videos = []
        for _, result in sorted(dict(found).items()):
            if isinstance(result, ConversionError):
                self.summary.skip(result, 'video')
            else:
                videos.append(result[0])
                self.summary.take(result[1])
        return videos

    def place(
        self, infos: Iterable[VideoInfo], lengths_known: bool = True
    ) -> None:
        """Find the files of the videos and verify them, where asked for.

        ``lengths_known`` says whether the raw file has their numbers of
        frames.
        """
        self.infos = {video.video_id: video for video in infos}
        if self.videos is None:
            return
        say = partial(show_progress, what='verifying videos')
        show = say if self.progress else None
        check = VideoCheck(self.videos, workers=self.workers, progress=show)
        videos = self.infos.values()
        self.infos = place_videos(
            videos, check, self.source, self.summary, lengths_known
        )

    def take(
        self,
        query_id: str,
        entry: Entry,
        video_id: str,
        read: Callable[[VideoInfo], Sentence],
    ) -> Optional[tuple[int, int]]:
        """Read a sentence, check it and put it into its clip.

        Segment and span are cut to the video. Gives the segment; None where
        the sentence is left out.

        Args:
            query_id (str): Its name.
            entry (Entry): Its place, for errors.
            video_id (str): Its video.
            read (Callable): Gets the video, gives segment and query.
        """
        place = f'sentence {query_id}'
        video = self.infos.get(video_id)
        if video is None:
            kind = 'sentences of skipped videos'
            self.summary.note(kind, f'{place}, {entry.where}')
            return None
        with self.summary.leaving_out(place):
            return self._add(entry, video, *read(video))
        return None

    def save(self, **metainfo: str) -> ConversionSummary:
        """Write the annotation file, with the videos that are used.

        ``metainfo`` is what else the file says of itself. To write none is
        an error.
        """
        summary, data_list = self.summary, list(self._clips.values())
        if not data_list:
            raise ConversionError(
                self.source,
                f'{len(self.infos)} videos',
                f'not one sentence is left; skipped: {summary.skipped[:3]}',
                'check that the files belong together',
            )
        used = {clip['video_id'] for clip in data_list}
        kept = {name: v for name, v in self.infos.items() if name in used}
        summary.videos += len(kept)
        summary.clips += len(data_list)
        summary.official = official_counts(self.dataset, self.split)
        about: dict[str, Any] = dict(dataset=self.dataset, split=self.split)
        about.update(metainfo)
        about['tracks_complete'] = all(
            video.tracks_complete for video in kept.values()
        )
        save_annotation(self.out, about, kept, data_list)
        return summary

    def _add(
        self,
        entry: Entry,
        video: VideoInfo,
        segment: tuple[int, int],
        query: dict[str, Any],
    ) -> Optional[tuple[int, int]]:
        (start, end), (begin, stop) = segment, query['span']
        count = video.frame_count
        place = f'sentence {query["query_id"]}, {entry.where}'
        if begin < count < stop <= end:
            query['span'] = [begin, count]
        segment = start, min(end, count)
        query['text'] = query['text'].strip()
        self._check(entry, video, segment, query)
        if not self._has_boxes(video, query, place):
            return None
        if end > count:
            self.summary.note(CUT, f'{place}: {end} to {count}')
        category = video.tracks[query['track_id']].category
        if category:
            query['category'] = category
        clip: dict = dict(video_id=video.video_id, segment=[*segment])
        clip = self._clips.setdefault((video.video_id, segment), clip)
        clip.setdefault('queries', []).append(query)
        self.summary.sentences[query['type']] += 1
        return segment

    def _check(
        self,
        entry: Entry,
        video: VideoInfo,
        segment: tuple[int, int],
        query: dict[str, Any],
    ) -> None:
        """Refuse a wrong sentence, or one whose id is taken."""
        text, span, name = (query[k] for k in ('text', 'span', 'track_id'))
        start, end = segment
        found = dict(
            text='the sentence is empty',
            segment=f'the segment [{start}, {end}) is empty within the '
            f'{video.frame_count} frames of the video',
            span=f'the span [{span[0]}, {span[1]}) is empty or outside its '
            f'segment [{start}, {end})',
            track_id=f'the object {name!r} has no boxes in the video, only '
            f'{sorted(video.tracks)}',
        )
        fault = find_fault(text, segment, span, name, video)
        if fault is not None:
            raise entry.error(found[fault])
        if query['type'] not in QUERY_TYPES:
            found_type = f'the type is {query["type"]!r:.40}'
            raise entry.error(found_type, f'give one of {QUERY_TYPES}')
        query_id = query['query_id']
        if query_id in self._ids:
            raise entry.error(f'the id {query_id!r} is taken')
        self._ids.add(query_id)

    def _has_boxes(
        self, video: VideoInfo, query: dict[str, Any], place: str
    ) -> bool:
        """Count what is missing of the tube; without any box it is none."""
        frames = np.arange(*query['span'])
        _, valid = video.track_boxes(query['track_id'], frames)
        missing = frames[~valid]
        if len(missing) == len(frames):
            self.summary.skipped.append(
                f'{place}: track {query["track_id"]} of video '
                f'{video.video_id!r} has no box in the span {query["span"]}'
            )
            return False
        if len(missing):
            self.summary.notes['frames in spans without a box'] += len(missing)
            kind = 'sentences with such frames'
            self.summary.note(kind, f'{place}: {frame_ranges(missing)}')
        return True


def _attempt(
    read: Callable[[Any], ReadVideo], skip_bad: bool, item: tuple[int, Any]
) -> tuple[int, Union[ReadVideo, ConversionError]]:
    """What is read, or why it cannot be where it may be left out."""
    place, file = item
    try:
        return place, read(file)
    except ConversionError as error:
        wrong = error
    except OSError as error:
        name = error.filename or str(file)
        cure = 'make it readable, or leave it out with --skip-bad'
        wrong = ConversionError(name, 'the file', str(error), cure)
    if not skip_bad:
        raise wrong
    return place, wrong


def read_json(path: PathLike, **options: Any) -> Any:
    """Read a raw JSON file, see :func:`hero_mm.json_reader.read_json`.

    Raises:
        FileNotFoundError: There is none.
        ConversionError: It is not valid JSON.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(
            f'raw annotation file {path} does not exist; fetch it or correct '
            'the path'
        )
    try:
        return read_any_json(path, **options)
    except JsonError as error:
        cure = 'fetch the file again'
        raise Entry(path, error.where).error(error.found, cure) from error


def number_again(names: Iterable[str]) -> list[str]:
    """The names as ids; one that occurs again gets ``#2``, ``#3``, ..."""
    seen: Counter = Counter()
    ids = []
    for name in names:
        seen[name] += 1
        ids.append(name if seen[name] == 1 else f'{name}#{seen[name]}')
    return ids
