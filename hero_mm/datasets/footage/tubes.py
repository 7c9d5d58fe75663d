"""A tube as annotation tools have it: boxes of an object, and its sentence.

Shape legend: T frames. Boxes are xyxy in pixels; frame numbers are native and
0-based; spans and segments are half-open ``[start, end)``.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Optional

import numpy as np
from numpy.typing import ArrayLike

from ..annotation import GroundingAnnotation
from ..converters.boxes import make_track
from ..converters.summary import ConversionSummary
from ..entries import Entry, PathLike
from ..tracks import (
    MOST_FRAMES,
    Track,
    VideoInfo,
    frames_of_span,
    interpolate,
)
from ..video_base import VIDEO_SUFFIXES

FIELDS = ('text', 'query_id', 'object', 'type', 'predicate', 'segment')
"""What may be written beside the boxes of a tube; all but the text may be
left away, and what has no text is an object that no sentence is about."""
# Boxes that differ by less are the same, in pixels.
SAME = 1e-3
OWN_TRACK = 'tubes that disagree with others of their object (own track)'
EMPTY = 'tracks without a box (left out)'
CUT = 'tracks cut to the end of their video'
HIDDEN = 'sentences whose span begins or ends without a box (cut to the boxes)'


@dataclass
class Tube:
    """Boxes of an object, where it is seen or where a sentence speaks of it.

    Attributes:
        video_id (str): Its video.
        track (Track): Its boxes, on every frame where it is.
        fields (dict[str, str]): What is written beside it, by
            :data:`FIELDS`; ``object`` is always there.
        span (tuple[int, int], optional): Where the sentence holds. Defaults
            to None: from the first box to the last.
    """

    video_id: str
    track: Track
    fields: dict[str, str]
    span: Optional[tuple[int, int]] = None


@dataclass
class Footage:
    """What a source of annotated videos holds.

    Attributes:
        path (PathLike): The source, for errors.
        summary (ConversionSummary): Notes what is left out.
        videos (dict[str, VideoInfo]): Numbers that the source does not say
            are 0.
        tubes (list[Tube]): In the order of the source.
    """

    path: PathLike
    summary: ConversionSummary
    videos: dict[str, VideoInfo] = field(default_factory=dict)
    tubes: list[Tube] = field(default_factory=list)

    def name_of(self, file: str) -> str:
        """The id of a video: its name without suffix.

        Where a video of another folder has that one, the folder is part of
        it.
        """
        path = PurePosixPath(file.replace('\\', '/'))
        if path.name.lower().endswith(VIDEO_SUFFIXES):
            path = path.with_suffix('')
        other = self.videos.get(path.name)
        if other is None or not path.parent.name:
            return path.name
        is_same = PurePosixPath(other.path).parent == path.parent
        return path.name if is_same else str(path)

    def add_video(self, file: Any, **facts: Any) -> VideoInfo:
        """Add a video, or find it.

        What of ``frame_count``, ``fps``, ``width`` and ``height`` is no
        number above 0 is not known.
        """
        name, path = self.name_of(str(file)), str(file).replace('\\', '/')
        keys = ('frame_count', 'fps', 'width', 'height')
        numbers = (positive_or_zero(facts.get(key)) for key in keys)
        count, fps, width, height = numbers
        video = VideoInfo(name, path, int(count), fps, int(width), int(height))
        video = self.videos.setdefault(name, video)
        # Parts of it may be annotated by themselves.
        video.frame_count = max(video.frame_count, int(count))
        return video

    def add(
        self,
        entry: Entry,
        video: VideoInfo,
        label: str,
        frames: Sequence[int],
        boxes: ArrayLike,
        fields: dict[str, str],
        linear: bool = True,
        **keys: Any,
    ) -> None:
        """Add a tube, where it has boxes.

        ``keys`` are what :meth:`Track.from_key_frames` takes; where boxes are
        not ``linear`` between frames, none is.
        """
        make = Track.from_key_frames if linear else Track.from_boxes
        try:
            track = make(label, frames, boxes, **keys)
        except ValueError as error:
            raise entry.error(f'no track ({error})') from error
        if len(track.runs):
            self.tubes.append(Tube(video.video_id, track, fields))
        else:
            self.summary.note(EMPTY, f'{entry.path}, {entry.where}')


def positive_or_zero(value: Any) -> float:
    """A number above 0 that a source says; 0 where it says none."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return 0
    return number if 0 < number <= MOST_FRAMES else 0


def merge_tracks(footage: Footage) -> None:
    """Give the videos their tracks, and the tubes the names of theirs.

    Tracks are cut to the picture and to the length of the video. Boxes of a
    sentence go before those of the object alone: they are what was looked at.
    Sentences whose boxes of one object disagree get a track each, which is
    noted.
    """
    boxes: dict[tuple, dict[int, np.ndarray]] = defaultdict(dict)
    said: dict[tuple, set[int]] = defaultdict(set)
    labels: dict[tuple, str] = {}
    for tube in sorted(footage.tubes, key=lambda tube: 'text' in tube.fields):
        ours = dict(boxes_of(tube.track))
        key = (tube.video_id, tube.fields['object'])
        known = boxes[key]
        shared = said[key] & ours.keys()
        if any(abs(known[f] - ours[f]).max() > SAME for f in shared):
            footage.summary.note(OWN_TRACK, f'{key[0]}: {key[1]}')
            while key in boxes:
                key = (key[0], f"{key[1]}'")
            tube.fields['object'] = key[1]
        boxes[key].update(ours)
        if 'text' in tube.fields:
            said[key].update(ours)
        labels[key] = labels.get(key) or tube.track.category
    for (video_id, name), found in boxes.items():
        video, summary = footage.videos[video_id], footage.summary
        last, count = max(found) + 1, video.frame_count
        if last > count:
            summary.note(CUT, f'{video_id}, {name}: {last} to {count}')
        kept = {f: found[f] for f in sorted(found) if f < count}
        where = f'video {video_id!r}, object {name!r}'
        entry, size = Entry(footage.path, where), (video.width, video.height)
        label, there = labels[video_id, name], list(kept.values())
        track = make_track(entry, list(kept), there, size, summary, label)
        if track is not None:
            video.tracks[name] = track


def boxes_of(track: Track) -> Iterator[tuple[int, np.ndarray]]:
    """Frames and boxes, of shape (4,), of a track that has its own."""
    assert track.boxes is not None
    return zip(track.frames.tolist(), track.boxes)


def tubes_of(
    annotation: GroundingAnnotation,
    summary: ConversionSummary,
    predictions: Optional[Mapping[str, Mapping[str, Any]]] = None,
) -> Iterator[Tube]:
    """The tubes of an annotation, one a sentence, then objects.

    An object with boxes that no sentence covers is a tube without a text. What
    a tube cannot hold is noted. Of predictions only their tubes are given.
    """
    said: dict[tuple, set[int]] = defaultdict(set)
    for clip in annotation.data_list:
        video = annotation.videos[clip['video_id']]
        for query in clip['queries']:
            name, track_id = query['query_id'], query['track_id']
            track = _part(video, track_id, np.arange(*query['span']))
            if predictions is None:
                ends = [int(track.runs[0, 0]), int(track.runs[-1, 1])]
                if ends != list(query['span']):
                    summary.note(HIDDEN, f'query {name!r}')
                said[video.video_id, track_id].update(range(*query['span']))
            else:
                guess, track_id = predictions.get(name), name
                if guess is None or not len(guess['boxes'][0]):
                    continue
                track = _guessed(guess, clip['segment'], track.category)
            fields = dict(
                text=query['text'],
                query_id=name,
                object=track_id,
                type=query['type'],
                segment='{} {}'.format(*clip['segment']),
            )
            if query.get('predicate'):
                fields['predicate'] = query['predicate']
            yield Tube(video.video_id, track, fields)
    others = annotation.videos if predictions is None else {}
    for name, video in others.items():
        for track_id in video.tracks:
            track = _part(video, track_id, np.arange(video.frame_count))
            if any(f not in said[name, track_id] for f, _ in boxes_of(track)):
                yield Tube(name, track, dict(object=track_id))


def _guessed(
    guess: Mapping[str, Any], segment: Sequence[int], label: str
) -> Track:
    """The tube of a prediction, on each frame of its span."""
    frames_N, boxes_N4 = guess['boxes']
    frames_T = frames_of_span(guess['span'], (segment[0], segment[1]))
    boxes_T4 = interpolate(frames_T, frames_N, boxes_N4)
    return Track.from_boxes(label, frames_T, boxes_T4.astype(np.float32))


def _part(video: VideoInfo, track_id: str, frames: np.ndarray) -> Track:
    """A track on some frames, with its own boxes."""
    boxes_T4, valid_T = video.track_boxes(track_id, frames)
    category = video.tracks[track_id].category
    return Track.from_boxes(category, frames[valid_T], boxes_T4[valid_T])


def key_frames(track: Track) -> list[tuple[int, np.ndarray, bool]]:
    """Key frames that give a whole track, to a quarter of :data:`SAME`.

    They are frame, box of shape (4,), and whether the object is there up to
    the next key frame.
    """
    assert track.boxes is not None
    keys = []
    for begin, end, row in track.runs.tolist():
        boxes_T4 = track.boxes[row : row + end - begin].astype(np.float64)
        last = end - begin - 1
        chosen, todo = {0, last}, [(0, last)]
        while todo:
            low, high = todo.pop()
            share = np.linspace(0, 1, high - low + 1)[:, None]
            line = boxes_T4[low] + share * (boxes_T4[high] - boxes_T4[low])
            off = np.abs(boxes_T4[low : high + 1] - line).max(1)
            if off.max() > SAME / 4:
                middle = low + int(off.argmax())
                chosen.add(middle)
                todo += [(low, middle), (middle, high)]
        keys += [
            (begin + place, boxes_T4[place], place < last)
            for place in sorted(chosen)
        ]
    return keys
