"""One video of the benchmark: its world, sentences and annotation.

The annotation has the official layout of VidOR and VidSTG.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .meaning import Judge, well_seen
from .profiles import DEFAULT, PROBES, Profile
from .render import Frames, render, visible_boxes
from .scene import Event, World
from .sentences import Entry, Sentence, choose_entries, draw_entries
from .world import draw_world

SPLITS = ('train', 'val', 'test')
_MIN_SENTENCES = 5
# Ids of the videos of one probe.
MAX_PROBE = 100_000


@dataclass
class ShapesVideo:
    """A video before it is rendered.

    Attributes:
        vid (str): Video id, ten digits as in VidOR.
        subdir (str): Folder of the video and its annotation.
        world (World): What happens in it.
        entries (list[Entry]): What is said about it.
        boxes (ndarray): Visible boxes, has shape (N, T, 4), xyxy.
        seen (ndarray): Visible share, has shape (N, T), 0 without box.
    """

    vid: str
    subdir: str
    world: World
    entries: list[Entry]
    boxes: NDArray[np.int64]
    seen: NDArray[np.float64]

    @property
    def path(self) -> str:
        """str: Of the video in its folder."""
        return f'{self.subdir}/{self.vid}.mp4'

    def frames(self) -> Frames:
        """uint8 RGB frames, has shape (T, H, W, 3)."""
        return render(self.world)

    def annotation(self) -> dict[str, Any]:
        """The content of the video's VidOR file."""
        profile = self.world.profile
        return {
            'version': 'VERSION 1.0',
            'video_id': self.vid,
            'video_hash': '',
            'video_path': self.path,
            'frame_count': profile.num_frames,
            'fps': profile.fps,
            'width': profile.side,
            'height': profile.side,
            'subject/objects': self._objects(),
            'trajectories': [
                self._present(frame) for frame in range(profile.num_frames)
            ],
            'relation_instances': self._relation_instances(),
        }

    def _objects(self) -> list[dict[str, Any]]:
        return [
            {'tid': thing.tid, 'category': thing.look.shape}
            for thing in self.world.things
        ]

    def _present(self, frame: int) -> list[dict[str, Any]]:
        """Boxes of a frame."""
        names = ('xmin', 'ymin', 'xmax', 'ymax')
        return [
            {
                'bbox': dict(zip(names, self.boxes[tid, frame].tolist())),
                'tracker': 'none',
                'generated': 0,
                'tid': int(tid),
            }
            for tid in np.flatnonzero(self.seen[:, frame])
        ]

    def _relation_instances(self) -> list[dict[str, Any]]:
        """All events; one with a sentence has the object that it names."""
        related = {entry.event: entry.related for entry in self.entries}
        number = len(self.world.things)
        return [
            _relation(event, related.get(event, (event.tid + 1) % number))
            for event in sorted(
                self.world.events, key=lambda e: (e.begin, e.tid)
            )
        ]

    def vidstg_entries(self) -> list[dict[str, Any]]:
        """The video's entries in the VidSTG file."""
        profile = self.world.profile
        return [
            {
                'vid': self.vid,
                'fps': profile.fps,
                'frame_count': profile.num_frames,
                # As published: the segment's end is its last frame, the end
                # of the truth is the frame after its last one.
                'used_segment': {
                    'begin_fid': 0,
                    'end_fid': profile.num_frames - 1,
                },
                'width': profile.side,
                'height': profile.side,
                'subject/objects': self._objects(),
                'used_relation': _relation(entry.event, entry.related),
                'temporal_gt': {
                    'begin_fid': entry.event.begin,
                    'end_fid': entry.event.end,
                },
                'captions': [_description(entry.caption, entry.event)],
                'questions': [
                    _description(text, entry.event) for text in entry.questions
                ],
            }
            for entry in self.entries
        ]

    def meanings(self) -> list[dict[str, Any]]:
        """What every sentence means, one item an entry; for analysis."""
        looks = [asdict(thing.look) for thing in self.world.things]
        return [
            {
                'vid': self.vid,
                'looks': looks,
                'captions': [_meaning(entry.caption)],
                'questions': [_meaning(text) for text in entry.questions],
            }
            for entry in self.entries
        ]


def draw_video(
    split: str, index: int, seed: int, profile: Profile = DEFAULT
) -> ShapesVideo:
    """Draw one video of at least five sentences.

    It depends on nothing but the arguments: the split (or the name of the
    probe that the profile is), its number in it, and the seed of the
    benchmark.
    """
    if split in SPLITS:
        number = SPLITS.index(split)
    else:
        number = len(SPLITS)
        index += MAX_PROBE * list(PROBES).index(split)
    rng = np.random.default_rng([seed, number, index, *profile.salt])
    while True:
        world = draw_world(rng, profile)
        boxes, seen = visible_boxes(world)
        judge = Judge(world, seen if profile.see_relations else None)
        targets = {
            event
            for event in world.events
            if well_seen(seen[event.tid, event.begin : event.end])
            and _is_asked_for(event, world)
        }
        drawn = draw_entries(rng, judge, targets, profile.kinds)
        entries = choose_entries(drawn, profile.entries, profile.per_order)
        sentences = sum(1 + len(entry.questions) for entry in entries)
        if sentences >= _MIN_SENTENCES:
            break
    if split == 'train':
        most = profile.entries_to_learn
        entries = choose_entries(drawn, most, profile.per_order)
    vid = f'{number + 1}{index:09d}'
    subdir = f'{3000 * number + index // 1000:04d}'
    return ShapesVideo(vid, subdir, world, entries, boxes, seen)


def vidor_part(split: str) -> str:
    """Folder of VidOR that has the annotation of a split.

    It is ``'training'`` for train and val, as published; what is only tested
    on is in ``'validation'``.
    """
    return 'training' if split in ('train', 'val') else 'validation'


def _is_asked_for(event: Event, world: World) -> bool:
    """Whether the profile asks for such a target."""
    profile = world.profile
    looks = [thing.look for thing in world.things]
    look = looks[event.tid]
    return (
        profile.target_size in (None, look.size)
        and event.action in (profile.target_actions or (event.action,))
        and looks.count(look) > profile.alike
    )


def _relation(event: Event, related: int) -> dict[str, Any]:
    return {
        'subject_tid': event.tid,
        'object_tid': related,
        'predicate': event.action,
        'begin_fid': event.begin,
        'end_fid': event.end,
    }


def _description(sentence: Sentence, event: Event) -> dict[str, Any]:
    return {
        'description': sentence.text,
        'type': 'object',
        'target_id': event.tid,
    }


def _meaning(sentence: Sentence) -> dict[str, Any]:
    return {'kind': sentence.statement.kind, **asdict(sentence.statement)}
