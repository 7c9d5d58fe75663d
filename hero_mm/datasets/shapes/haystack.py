"""Long videos with a few events that are asked for: needles in haystacks.

A haystack is a row of scenes with hard cuts, each a world of the default
profile. A sentence is true of one event of the whole video; each minute has
near-misses of every sentence, as many in a long video as in a short one.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import numpy as np

from .meaning import Judge, Statement, well_seen
from .profiles import Profile
from .render import Frame, visible_boxes
from .scene import World
from .sentences import Entry, draw_entries
from .video import ShapesVideo
from .world import draw_world

# Frames of a scene, and scenes of a minute.
_SHORTEST, _LONGEST = 56, 112
_SCENES = 6
# A clip that holds the event, for those who ask single clips.
CLIP = 32
# A scene that lacks too much is drawn again; a minute that cannot be filled
# in so many goes is drawn again as a whole.
_GOES = 400


@dataclass
class Haystack:
    """A long video before it is rendered.

    Attributes:
        vid (str): Video id.
        subdir (str): Folder of the video and its annotation.
        scenes (list[ShapesVideo]): In order; only those that are asked for
            have entries.
        starts (list[int]): First frame of each scene.
        clips (dict[str, tuple[int, int]]): Of each sentence, a part of its
            scene as long as a clip of the default profile.
    """

    vid: str
    subdir: str
    scenes: list[ShapesVideo]
    starts: list[int]
    clips: dict[str, tuple[int, int]]

    @property
    def path(self) -> str:
        """str: Of the video in its folder."""
        return self.scenes[0].path

    def frames(self) -> Iterator[Frame]:
        """RGB frames, one at a time, each has shape (H, W, 3)."""
        for scene in self.scenes:
            yield from scene.frames()

    def annotation(self) -> dict[str, Any]:
        """The content of the video's VidOR file."""
        whole: dict[str, Any] = {}
        for scene, start in zip(self.scenes, self.starts):
            part = scene.annotation()
            first = len(whole.get('subject/objects', ()))
            for item in part['subject/objects']:
                item['tid'] += first
            for present in part['trajectories']:
                for item in present:
                    item['tid'] += first
            for item in part['relation_instances']:
                _move(item, first, start)
            if not whole:
                whole = part
                continue
            for key in (
                'frame_count',
                'subject/objects',
                'trajectories',
                'relation_instances',
            ):
                whole[key] += part[key]
        return whole

    def vidstg_entries(self) -> list[dict[str, Any]]:
        """The video's entries in the VidSTG file."""
        objects: list[dict[str, Any]] = []
        entries = []
        number = self.starts[-1] + self.scenes[-1].world.profile.num_frames
        for scene, start in zip(self.scenes, self.starts):
            first = len(objects)
            for thing in scene.world.things:
                tid = first + thing.tid
                objects.append({'tid': tid, 'category': thing.look.shape})
            for entry in scene.vidstg_entries():
                entry['frame_count'] = number
                entry['used_segment']['end_fid'] = number - 1
                # All of them, once the last scene is there.
                entry['subject/objects'] = objects
                _move(entry['used_relation'], first, start)
                for asked in entry['captions'] + entry['questions']:
                    asked['target_id'] += first
                for key in ('begin_fid', 'end_fid'):
                    entry['temporal_gt'][key] += start
                entries.append(entry)
        return entries

    def meanings(self) -> list[dict[str, Any]]:
        """What the sentences mean, and a clip that holds their event."""
        looks = [
            vars(thing.look)
            for scene in self.scenes
            for thing in scene.world.things
        ]
        items = [item for scene in self.scenes for item in scene.meanings()]
        texts = [e.caption.text for s in self.scenes for e in s.entries]
        for item, text in zip(items, texts):
            item.update(looks=looks, clip=list(self.clips[text]))
        return items


def _move(relation: dict[str, Any], first: int, start: int) -> None:
    """Move a relation to its place in the whole video."""
    for key in ('subject_tid', 'object_tid'):
        relation[key] += first
    for key in ('begin_fid', 'end_fid'):
        relation[key] += start


def draw_haystack(index: int, seed: int, profile: Profile) -> Haystack:
    """Draw a long video with one caption an entry, each true of one event.

    It depends on nothing but the arguments: its number in the split, the seed
    of the benchmark, and the profile of its scenes.
    """
    rng = np.random.default_rng([seed, *profile.salt, profile.minutes, index])
    lengths = [n for _ in range(profile.minutes) for n in _cut(rng, profile)]
    vid = f'8{profile.minutes:03d}{index:06d}'
    subdir = f'8{profile.minutes:03d}'
    places = rng.permutation(len(lengths))[: profile.entries].tolist()
    asked: list[Statement] = []
    scenes: dict[int, ShapesVideo] = {}
    for place in sorted(places):
        part = profile._replace(num_frames=lengths[place])
        worlds = [scene.world for scene in scenes.values()]
        scene = _draw_asked(rng, part, asked, worlds)
        scenes[place] = replace(scene, vid=vid, subdir=subdir)
        asked.append(scene.entries[0].caption.statement)
    for minute in range(profile.minutes):
        slots = range(minute * _SCENES, (minute + 1) * _SCENES)
        there = [scenes[place].world for place in slots if place in scenes]
        empty = [place for place in slots if place not in scenes]
        worlds = _fill(rng, profile, [lengths[p] for p in empty], asked, there)
        for place, world in zip(empty, worlds):
            boxes, seen = visible_boxes(world)
            scenes[place] = ShapesVideo(vid, subdir, world, [], boxes, seen)
    ordered = [scenes[place] for place in range(len(lengths))]
    starts = [0, *accumulate(lengths)][:-1]
    clips = {}
    for scene, start in zip(ordered, starts):
        for entry in scene.entries:
            length, event = scene.world.profile.num_frames, entry.event
            low = max(0, event.end - CLIP)
            high = min(event.begin, length - CLIP)
            first = start + int(rng.integers(low, high + 1))
            clips[entry.caption.text] = (first, first + CLIP)
    return Haystack(vid, subdir, ordered, starts, clips)


def _cut(rng: np.random.Generator, profile: Profile) -> list[int]:
    """Lengths of the scenes of a minute; no period is in them."""
    whole = 60 * profile.fps
    while True:
        parts = rng.integers(_SHORTEST, _LONGEST + 1, _SCENES - 1).tolist()
        last = whole - sum(parts)
        if _SHORTEST <= last <= _LONGEST:
            return [*parts, last]


def is_true(statement: Statement, world: World) -> bool:
    """Whether any event of a world is what a basic statement says."""
    return any(
        event.action == statement.action
        and statement.look.fits(world.things[event.tid].look)
        for event in world.events
    )


def near_misses(statement: Statement, world: World) -> tuple[int, int]:
    """Events of a world that are nearly what a basic statement says.

    Gives how many have the look and another action, and how many the action
    and another look.
    """
    looks = actions = 0
    for event in world.events:
        fits = statement.look.fits(world.things[event.tid].look)
        acts = event.action == statement.action
        looks += fits and not acts
        actions += acts and not fits
    return looks, actions


def _draw_asked(
    rng: np.random.Generator,
    profile: Profile,
    asked: list[Statement],
    others: list[World],
) -> ShapesVideo:
    """A scene with one caption that is true of no other event."""
    while True:
        world = draw_world(rng, profile)
        if any(is_true(statement, world) for statement in asked):
            continue
        boxes, seen = visible_boxes(world)
        targets = {
            event
            for event in world.events
            if well_seen(seen[event.tid, event.begin : event.end])
        }
        for entry in draw_entries(rng, Judge(world), targets, profile.kinds):
            statement = entry.caption.statement
            if (
                statement.look.colour is not None
                and statement.kind == 'basic'
                and not any(is_true(statement, other) for other in others)
            ):
                alone = Entry(entry.event, entry.related, entry.caption, ())
                return ShapesVideo('', '', world, [alone], boxes, seen)


def _fill(
    rng: np.random.Generator,
    profile: Profile,
    lengths: list[int],
    asked: list[Statement],
    there: list[World],
) -> list[World]:
    """The other scenes of a minute: no true event, enough near-misses."""
    while True:
        worlds: list[World] = []
        for _ in range(_GOES):
            if len(worlds) == len(lengths):
                break
            part = profile._replace(num_frames=lengths[len(worlds)])
            world = draw_world(rng, part)
            if any(is_true(statement, world) for statement in asked):
                continue
            before = _missing(asked, [*there, *worlds])
            after = _missing(asked, [*there, *worlds, world])
            left = len(lengths) - len(worlds)
            # What is missing is shared out over the scenes that are left.
            if (before - after) * left >= before:
                worlds.append(world)
        if len(worlds) == len(lengths):
            return worlds


def _missing(asked: list[Statement], worlds: list[World]) -> int:
    """How many near-misses, one of each kind, a minute still lacks."""
    missing = 0
    for statement in asked:
        counts = [near_misses(statement, world) for world in worlds]
        for kind in (0, 1):
            missing += not any(count[kind] for count in counts)
    return missing
