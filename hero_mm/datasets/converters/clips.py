"""Sentences to clips: check them, group them, write the annotation file."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Optional

import numpy as np

from ..annotation import save_annotation
from ..checks import find_fault
from ..entries import ConversionError, Entry, PathLike
from ..tracks import VideoInfo
from .boxes import frame_ranges
from .common import ConversionSummary
from .official import official_counts

LAST_FRAME = (
    "sentences whose span ends one past their segment's last frame (kept)"
)
_CURE = 'correct it or skip it with --skip-bad'


@dataclass(frozen=True)
class RawNames:
    """What the raw file calls things, for errors.

    Attributes:
        segment (str): The part of the video that is searched.
        span (str): When it happens.
        target (str): The id of the object.
        text (str): The sentence.
        boxes (str): The file that has the boxes.
        inclusive (bool): Whether a segment names its last frame while a span
            names the frame after it. So spans may end one past the segment,
            which looks wrong, is not, and is counted.
    """

    segment: str
    span: str
    target: str
    text: str
    boxes: str
    inclusive: bool = False


@dataclass
class Sentence:
    """A sentence as read, times already half-open.

    Attributes:
        query_id (str): Its name in the annotation file.
        where (str): Its place in the raw file, for errors.
        type (str): ``declarative`` or ``interrogative``.
        text (str): What it says.
        segment (tuple[int, int]): Frames ``[start, end)`` that are searched.
        span (tuple[int, int]): Frames ``[start, end)`` where it happens.
        track_id (str): Its object.
        predicate (str): What happens, where the raw file says so.
    """

    query_id: str
    where: str
    type: str
    text: str
    segment: tuple[int, int]
    span: tuple[int, int]
    track_id: str
    predicate: str = ''

    def query(self, video: VideoInfo) -> dict:
        """The sentence as an annotation file has it."""
        query = dict(
            query_id=self.query_id,
            type=self.type,
            text=self.text,
            span=list(self.span),
            track_id=self.track_id,
        )
        if self.predicate:
            query['predicate'] = self.predicate
        category = video.tracks[self.track_id].category
        if category:
            query['category'] = category
        return query


@dataclass
class ClipList:
    """The clips of a split; sentences of a segment stand together.

    Args:
        path (PathLike): The raw file, for errors.
        names (RawNames): How it calls things.
        summary (ConversionSummary): Counts and lists what is met.
    """

    path: PathLike
    names: RawNames
    summary: ConversionSummary
    _clips: dict[tuple, dict] = field(default_factory=dict, init=False)

    def take(
        self,
        query_id: str,
        where: str,
        read: Callable[[], Sentence],
        video: Optional[VideoInfo],
    ) -> Optional[Sentence]:
        """Read a sentence, check it and put it into its clip.

        Its text is tidied, its segment and span are cut to the video. That
        is None where it is left out, and so is what is returned.

        Raises:
            ConversionError: It is wrong and may not be left out.
        """
        place = f'sentence {query_id}'
        if video is None:
            kind = 'sentences of skipped videos'
            self.summary.note(kind, f'{place}, {where}')
            return None
        with self.summary.leaving_out(place):
            sentence = read()
            if self._add(sentence, video):
                return sentence
        return None

    def take_all(
        self,
        sentences: Iterable[tuple[str, Sentence]],
        infos: Mapping[str, VideoInfo],
    ) -> None:
        """Take sentences that are read, each with the name of its video."""
        for name, sentence in sentences:
            place = sentence.query_id, sentence.where
            self.take(*place, partial(replace, sentence), infos.get(name))

    def _add(self, sentence: Sentence, video: VideoInfo) -> bool:
        sentence.text = sentence.text.strip()
        (start, end), count = sentence.segment, video.frame_count
        cut = end > count
        sentence.segment = start, min(end, count)
        begin, stop = sentence.span
        cut_span = cut and begin < count < stop <= end
        if cut_span:
            sentence.span = begin, count
        self._check(sentence, video, end)
        if not self._has_boxes(sentence, video):
            return False
        summary = self.summary
        place = f'sentence {sentence.query_id}, {sentence.where}'
        if cut:
            kind = 'sentences whose segment was cut to the video'
            summary.note(kind, f'{place}: {end} to {count}')
        if cut_span:
            kind = 'sentences whose span was cut to the video'
            summary.note(kind, f'{place}: {stop} to {count}')
        if self.names.inclusive and sentence.span[1] == end:
            summary.note(LAST_FRAME, place)
        clip = self._clips.setdefault(
            (video.video_id, sentence.segment),
            dict(
                video_id=video.video_id,
                segment=list(sentence.segment),
                queries=[],
            ),
        )
        clip['queries'].append(sentence.query(video))
        summary.sentences[sentence.type] += 1
        return True

    def save(
        self,
        out: PathLike,
        dataset: str,
        split: str,
        infos: Mapping[str, VideoInfo],
        **metainfo: str,
    ) -> ConversionSummary:
        """Write the annotation file, with the videos that are used.

        ``metainfo`` is what else the file says of itself; its
        ``tracks_complete`` says whether it holds of all videos. The counts of
        the summary are filled in.

        Raises:
            ConversionError: There is no sentence.
        """
        data_list = list(self._clips.values())
        summary = self.summary
        if not data_list:
            raise ConversionError(
                self.path,
                f'{len(infos)} videos',
                f'not one sentence is left; skipped: {summary.skipped[:3]}',
                'check that the files belong together',
            )
        used = {clip['video_id'] for clip in data_list}
        kept = {name: infos[name] for name in infos if name in used}
        summary.videos, summary.clips = len(kept), len(data_list)
        summary.official = official_counts(dataset, split)
        about: dict[str, Any] = dict(dataset=dataset, split=split, **metainfo)
        about['tracks_complete'] = all(
            video.tracks_complete for video in kept.values()
        )
        save_annotation(out, about, kept, data_list)
        return summary

    def _check(
        self, sentence: Sentence, video: VideoInfo, raw_end: int
    ) -> None:
        """Refuse a wrong sentence, in the words of the raw file."""
        names, (start, end) = self.names, sentence.segment
        begin, stop = sentence.span
        fault = find_fault(
            sentence.text,
            (start, end),
            (begin, stop),
            sentence.track_id,
            video,
        )
        if fault is None:
            return
        entry = Entry(self.path, sentence.where, cure=_CURE)
        if fault == 'text':
            raise entry.error(f'the sentence ({names.text}) is empty')
        if fault == 'segment':
            raise entry.error(
                f'[{start}, {raw_end - 1}] is empty or not in the '
                f'{video.frame_count} frames of the video',
                field=names.segment,
            )
        if fault == 'span':
            raise entry.error(
                f'[{begin}, {stop}) is empty or outside its segment '
                f'[{start}, {end})',
                field=names.span,
            )
        raise entry.error(
            f'unknown track id {sentence.track_id!r}; {names.boxes} has boxes '
            f'for {sorted(video.tracks)}',
            field=names.target,
        )

    def _has_boxes(self, sentence: Sentence, video: VideoInfo) -> bool:
        """Count what is missing of the tube; without any box it is none."""
        frames = np.arange(*sentence.span)
        _, valid = video.track_boxes(sentence.track_id, frames)
        missing = frames[~valid]
        if len(missing) == len(frames):
            self.summary.skipped.append(
                f'sentence {sentence.query_id}: track {sentence.track_id} of '
                f'video {video.video_id!r} has no box in the span '
                f'{list(sentence.span)}'
            )
            return False
        if len(missing):
            self.summary.notes['frames in spans without a box'] += len(missing)
            self.summary.note(
                'sentences with such frames',
                f'sentence {sentence.query_id}, {sentence.where}: '
                f'{frame_ranges(missing)}',
            )
        return True
