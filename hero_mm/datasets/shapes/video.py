"""A video of the benchmark: its scenes, sentences and annotation.

The annotation has the official layout of VidOR and VidSTG.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .meaning import Judge, well_seen
from .profiles import DEFAULT, PROBES, Profile
from .render import Frame, render, visible_boxes
from .sentences import Entry, Sentence, choose_entries, draw_entries
from .world import Event, World, draw_world

SPLITS = ('train', 'val', 'test')
_MIN_SENTENCES = 5
# Ids of the videos of one probe.
MAX_PROBE = 100_000


@dataclass
class Scene:
    """A world, what is said about it, and what is seen of it.

    ``boxes`` are the visible ones, of shape (N, T, 4), xyxy; ``seen`` the
    visible shares, of shape (N, T), 0 without box.
    """

    world: World
    entries: list[Entry]
    boxes: NDArray[np.int64]
    seen: NDArray[np.float64]


@dataclass
class ShapesVideo:
    """A video before it is rendered: one scene, or a row with hard cuts.

    Attributes:
        vid (str): Video id, ten digits as in VidOR.
        subdir (str): Folder of the video and its annotation.
        scenes (list[Scene]): In order.
        clips (Sequence[tuple[int, int]]): Of each entry of a long video, a
            part of its scene that holds the event.
    """

    vid: str
    subdir: str
    scenes: list[Scene]
    clips: Sequence[tuple[int, int]] = ()

    @property
    def path(self) -> str:
        """str: Of the video in its folder."""
        return f'{self.subdir}/{self.vid}.mp4'

    def frames(self) -> Iterator[Frame]:
        """uint8 RGB frames, one at a time, each of shape (H, W, 3)."""
        for scene in self.scenes:
            yield from render(scene.world)

    def places(self) -> Iterator[tuple[Scene, int, int]]:
        """Every scene with its first track id and its first frame."""
        first = start = 0
        for scene in self.scenes:
            yield scene, first, start
            first += len(scene.world.things)
            start += scene.world.profile.num_frames

    def _shape(self) -> dict[str, Any]:
        """What both files say of frames and objects."""
        profile = self.scenes[0].world.profile
        things = [t for scene in self.scenes for t in scene.world.things]
        return {
            'frame_count': sum(
                s.world.profile.num_frames for s in self.scenes
            ),
            'fps': profile.fps,
            'width': profile.side,
            'height': profile.side,
            'subject/objects': [
                {'tid': tid, 'category': thing.look.shape}
                for tid, thing in enumerate(things)
            ],
        }

    def annotation(self) -> dict[str, Any]:
        """The content of the video's VidOR file."""
        return {
            'version': 'VERSION 1.0',
            'video_id': self.vid,
            'video_hash': '',
            'video_path': self.path,
            **self._shape(),
            'trajectories': [
                _present(scene, frame, first)
                for scene, first, _ in self.places()
                for frame in range(scene.world.profile.num_frames)
            ],
            'relation_instances': [
                relation
                for scene, first, start in self.places()
                for relation in _relations(scene, first, start)
            ],
        }

    def vidstg_entries(self) -> list[dict[str, Any]]:
        """The video's entries in the VidSTG file."""
        shape = self._shape()
        # As published: the segment's end is its last frame, the end of the
        # truth is the frame after its last one.
        segment = {'begin_fid': 0, 'end_fid': shape['frame_count'] - 1}
        return [
            {
                'vid': self.vid,
                'fps': shape['fps'],
                'frame_count': shape['frame_count'],
                'used_segment': segment,
                'width': shape['width'],
                'height': shape['height'],
                'subject/objects': shape['subject/objects'],
                'used_relation': _relation(
                    entry.event, entry.related, first, start
                ),
                'temporal_gt': {
                    'begin_fid': start + entry.event.begin,
                    'end_fid': start + entry.event.end,
                },
                'captions': [_description(entry.caption, entry, first)],
                'questions': [
                    _description(text, entry, first)
                    for text in entry.questions
                ],
            }
            for scene, first, start in self.places()
            for entry in scene.entries
        ]

    def meanings(self) -> list[dict[str, Any]]:
        """What every sentence means, one item an entry; for analysis."""
        looks = [
            asdict(thing.look)
            for scene in self.scenes
            for thing in scene.world.things
        ]
        items: list[dict[str, Any]] = [
            {
                'vid': self.vid,
                'looks': looks,
                'captions': [_meaning(entry.caption)],
                'questions': [_meaning(text) for text in entry.questions],
            }
            for scene in self.scenes
            for entry in scene.entries
        ]
        for item, clip in zip(items, self.clips):
            item['clip'] = clip
        return items


def draw_video(
    split: str, index: int, seed: int, profile: Profile = DEFAULT
) -> ShapesVideo:
    """Draw one video of at least five sentences.

    It depends on nothing but the arguments: the split (or the name of the
    probe that the profile is), its number in it, and the seed of the
    benchmark.
    """
    number = len(SPLITS)
    if split in SPLITS:
        number = SPLITS.index(split)
    else:
        index += MAX_PROBE * list(PROBES).index(split)
    rng = np.random.default_rng([seed, number, index, *profile.salt])
    most = profile.entries_to_learn if split == 'train' else profile.entries
    return ShapesVideo(
        vid=f'{number + 1}{index:09d}',
        subdir=f'{3000 * number + index // 1000:04d}',
        scenes=[_draw_scene(rng, profile, most)],
    )


def _draw_scene(
    rng: np.random.Generator, profile: Profile, most: int
) -> Scene:
    """Draw worlds until one has enough to say."""
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
        if sum(1 + len(e.questions) for e in entries) >= _MIN_SENTENCES:
            entries = choose_entries(drawn, most, profile.per_order)
            return Scene(world, entries, boxes, seen)


def vidor_part(split: str) -> str:
    """Folder of VidOR with the annotation of a split, as published."""
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


def _present(scene: Scene, frame: int, first: int) -> list[dict[str, Any]]:
    """Boxes of a frame."""
    names = ('xmin', 'ymin', 'xmax', 'ymax')
    return [
        {
            'bbox': dict(zip(names, scene.boxes[tid, frame].tolist())),
            'tracker': 'none',
            'generated': 0,
            'tid': first + tid,
        }
        for tid in np.flatnonzero(scene.seen[:, frame]).tolist()
    ]


def _relations(scene: Scene, first: int, start: int) -> list[dict[str, Any]]:
    """All events; one with a sentence has the object that it names."""
    related = {entry.event: entry.related for entry in scene.entries}
    number = len(scene.world.things)
    return [
        _relation(
            event, related.get(event, (event.tid + 1) % number), first, start
        )
        for event in sorted(scene.world.events, key=lambda e: (e.begin, e.tid))
    ]


def _relation(
    event: Event, related: int, first: int, start: int
) -> dict[str, Any]:
    return {
        'subject_tid': first + event.tid,
        'object_tid': first + related,
        'predicate': event.action,
        'begin_fid': start + event.begin,
        'end_fid': start + event.end,
    }


def _description(
    sentence: Sentence, entry: Entry, first: int
) -> dict[str, Any]:
    return {
        'description': sentence.text,
        'type': 'object',
        'target_id': first + entry.event.tid,
    }


def _meaning(sentence: Sentence) -> dict[str, Any]:
    return {'kind': sentence.statement.kind, **asdict(sentence.statement)}
