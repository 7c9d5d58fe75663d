"""The frame of all converters; they differ in what they read."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Optional

import numpy as np

from hero_mm.json_reader import JsonError
from hero_mm.processes import in_processes

from ..annotation import save_annotation
from ..checks import find_fault, probe_videos
from ..entries import ConversionError, Entry, PathLike
from ..progress import show_progress
from ..tracks import VideoInfo
from .summary import ConversionSummary, official_counts
from .videos import VideoFolder, adapt

RAISED = 'videos with boxes past frame_count, which was raised'
CUT = 'sentences whose segment, and span with it, was cut to the video'
TWICE = 'files found at several places, the first in order taken'
# Reads a file; repairs and boxes left out are noted in the summary.
ReadVideo = Callable[[Any, ConversionSummary], VideoInfo]
_NAMED = 5


@dataclass
class Conversion:
    """One split on its way from raw files to an annotation file.

    A converter reads the videos with their tracks, places them, takes the
    sentences one by one and saves. Its options are those of this class. It
    gives the summary; it raises OSError where a file is missing, and
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

    def __post_init__(self) -> None:
        name = re.match('(train|val|test)|[^_.]*', Path(self.source).name)
        self.split = self.split or (name[1] or name[0] if name else '')
        self.summary = ConversionSummary(str(self.out), self.skip_bad)
        self.infos: dict[str, VideoInfo] = {}
        self._clips: dict[tuple, dict] = {}
        self._ids: set[str] = set()

    def read_videos(
        self, read: ReadVideo, files: Sequence[Any]
    ) -> list[VideoInfo]:
        """Read a file for each video, in order, in processes where it pays."""
        workers = self.workers if len(files) >= 2 * self.workers else 1
        work = partial(_read_one, read, self.skip_bad)
        found = in_processes(work, list(enumerate(files)), workers)
        read_files = show_progress(found, len(files))
        videos = []
        for _, video, summary in sorted(read_files, key=lambda one: one[0]):
            self.summary.take(summary)
            if video is not None:
                videos.append(video)
        return videos

    def place(
        self, infos: Iterable[VideoInfo], only_one: bool = False
    ) -> None:
        """Find the files of the videos and verify them, where asked for.

        What is not annotated of a video is 0, and becomes that of its file.
        With ``only_one`` a video is bad where several files have its name.
        """
        self.infos = {video.video_id: video for video in infos}
        if self.videos is None:
            return
        films, total = VideoFolder(self.videos), len(self.infos)
        bad: dict[str, str] = {}
        for name, video in self.infos.items():
            places = films.find(video.path, name)
            if not places:
                bad[name] = f'{video.path}: no such file there or below'
                continue
            if only_one and len(places) > 1:
                some = ', '.join(places[:_NAMED])
                bad[name] = f'{video.path}: {len(places)} such files: {some}'
                continue
            video.path = self.first(name, places)
        # What is missing is said before hours of looking at the others.
        if not bad or self.skip_bad:
            there = {n: v for n, v in self.infos.items() if n not in bad}
            paths = [video.path for video in there.values()]
            facts = probe_videos(self.videos, paths, self.workers)
            for name, video in there.items():
                wrong = adapt(video, facts[video.path], self.summary)
                if wrong is not None:
                    bad[name] = wrong
        if bad and not self.skip_bad:
            raise ConversionError(
                self.source,
                f'{len(bad)} of {total} videos in {self.videos}',
                f'cannot be used: {"; ".join([*bad.values()][:_NAMED])}',
                'fetch them again and repeat the command, which goes on from '
                'here, or leave them out and list them with --skip-bad',
            )
        for name, why in bad.items():
            del self.infos[name]
            self.summary.skipped.append(f'video {name}: {why}')

    def first(self, name: str, places: Sequence[str]) -> str:
        """The first place of a file; where it has others, all are noted."""
        if len(places) > 1:
            self.summary.note(TWICE, f'{name}: {", ".join(places)}')
        return places[0]

    def take(
        self,
        entry: Entry,
        video_id: str,
        query: dict[str, Any],
        segment: Optional[Sequence[int]] = None,
    ) -> Optional[tuple[int, int]]:
        """Check a sentence and put it into its clip.

        Segment and span are cut to the video. Gives the segment; None where
        the sentence is left out.

        Args:
            entry (Entry): Its place, for errors.
            video_id (str): Its video.
            query (dict[str, Any]): As an annotation file has it.
            segment (Sequence[int], optional): ``[start, end)``. Defaults to
                None: the whole video.
        """
        place = f'sentence {query["query_id"]}'
        video = self.infos.get(video_id)
        if video is None:
            kind = 'sentences of skipped videos'
            self.summary.note(kind, f'{place}, {entry.where}')
            return None
        (begin, stop), count = query['span'], video.frame_count
        start, end = segment or (0, max(count, stop))
        if begin < count < stop <= end:
            query['span'] = [begin, count]
        segment = start, min(end, count)
        query['text'] = query['text'].strip()
        with self.summary.leaving_out(place):
            fault = find_fault(query, segment, video)
            if query['query_id'] in self._ids:
                fault = f'the id {query["query_id"]!r} is taken'
            if fault is not None:
                raise entry.error(fault)
            self._ids.add(query['query_id'])
            place += f', {entry.where}'
            if not self._has_boxes(video, query, place):
                return None
            if end > count:
                self.summary.note(CUT, f'{place}: {end} to {count}')
            category = video.tracks[query['track_id']].category
            if category:
                query['category'] = category
            clip: dict = dict(video_id=video_id, segment=[*segment])
            clip = self._clips.setdefault((video_id, segment), clip)
            clip.setdefault('queries', []).append(query)
            self.summary.sentences[query['type']] += 1
            return segment
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
        elif len(missing):
            kind = 'frames in spans without a box'
            where = f'{place}: {missing[0]} to {missing[-1]}'
            self.summary.note(kind, where, len(missing))
        return bool(valid.any())


def _read_one(
    read: ReadVideo, skip_bad: bool, item: tuple[int, Any]
) -> tuple[int, Optional[VideoInfo], ConversionSummary]:
    """What is read, None where it is left out, and what was noted."""
    place, file = item
    video, summary = None, ConversionSummary(skip_bad=skip_bad)
    with summary.leaving_out('video'):
        try:
            video = read(file, summary)
        except (OSError, JsonError) as error:
            cure = 'unpack it again, or leave it out with --skip-bad'
            found = str(error)
            raise ConversionError(file, 'the file', found, cure) from error
    return place, video, summary


def number_again(names: Iterable[str]) -> list[str]:
    """The names as ids; one that occurs again gets ``#2``, ``#3``, ..."""
    seen: Counter = Counter()
    ids = []
    for name in names:
        seen[name] += 1
        ids.append(name if seen[name] == 1 else f'{name}#{seen[name]}')
    return ids
