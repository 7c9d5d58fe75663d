"""Long videos with a few events that are asked for: needles in haystacks.

A haystack is a row of scenes with hard cuts, each a world of the default
profile. A sentence is true of one event of the whole video; each minute has
near-misses of every sentence, as many in a long video as in a short one.
"""

from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from .meaning import Judge, Statement, well_seen
from .profiles import Profile
from .render import visible_boxes
from .sentences import Entry, draw_entries
from .video import Scene, ShapesVideo
from .world import World, draw_world

# Frames of a scene, and scenes of a minute.
_SHORTEST, _LONGEST = 56, 112
_SCENES = 6
# A clip that holds the event, for those who ask single clips.
CLIP = 32
# A minute that cannot be filled in so many goes is drawn again as a whole.
_GOES = 400


def draw_haystack(index: int, seed: int, profile: Profile) -> ShapesVideo:
    """Draw a long video with one caption an entry, each true of one event.

    It depends on nothing but the arguments: its number in the split, the seed
    of the benchmark, and the profile of its scenes.
    """
    rng = np.random.default_rng([seed, *profile.salt, profile.minutes, index])
    lengths = [n for _ in range(profile.minutes) for n in _cut(rng, profile)]
    parts = [profile._replace(num_frames=length) for length in lengths]
    places = rng.permutation(len(lengths))[: profile.entries].tolist()
    asked: list[Statement] = []
    scenes: dict[int, Scene] = {}
    for place in sorted(places):
        worlds = [scene.world for scene in scenes.values()]
        scenes[place] = _draw_asked(rng, parts[place], asked, worlds)
        asked.append(scenes[place].entries[0].caption.statement)
    for minute in range(profile.minutes):
        slots = range(minute * _SCENES, (minute + 1) * _SCENES)
        there = [scenes[place].world for place in slots if place in scenes]
        empty = [place for place in slots if place not in scenes]
        worlds = _fill(rng, [parts[place] for place in empty], asked, there)
        for place, world in zip(empty, worlds):
            scenes[place] = Scene(world, [], *visible_boxes(world))
    ordered = [scenes[place] for place in range(len(lengths))]
    clips = []
    for scene, length, end in zip(ordered, lengths, accumulate(lengths)):
        for entry in scene.entries:
            low = max(0, entry.event.end - CLIP)
            high = min(entry.event.begin, length - CLIP)
            first = end - length + int(rng.integers(low, high + 1))
            clips.append((first, first + CLIP))
    subdir = f'8{profile.minutes:03d}'
    return ShapesVideo(f'{subdir}{index:06d}', subdir, ordered, clips)


def _cut(rng: np.random.Generator, profile: Profile) -> list[int]:
    """Lengths of the scenes of a minute; no period is in them."""
    whole = 60 * profile.fps
    while True:
        parts = rng.integers(_SHORTEST, _LONGEST + 1, _SCENES - 1).tolist()
        last = whole - sum(parts)
        if _SHORTEST <= last <= _LONGEST:
            return [*parts, last]


def count_matches(statement: Statement, world: World) -> NDArray[np.int64]:
    """How many events of a world are what a basic statement says.

    Three numbers: those, and the near-misses: events that have its look
    alone, and that have its action alone.
    """
    counts = np.zeros(3, np.int64)
    for event in world.events:
        fits = statement.look.fits(world.things[event.tid].look)
        acts = event.action == statement.action
        counts += fits and acts, fits and not acts, acts and not fits
    return counts


def _is_true(statement: Statement, worlds: list[World]) -> bool:
    """Whether it is true of any event of some worlds."""
    return any(count_matches(statement, world)[0] for world in worlds)


def _draw_asked(
    rng: np.random.Generator,
    profile: Profile,
    asked: list[Statement],
    others: list[World],
) -> Scene:
    """A scene with one caption that is true of no other event."""
    while True:
        world = draw_world(rng, profile)
        if any(_is_true(statement, [world]) for statement in asked):
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
                and not _is_true(statement, others)
            ):
                alone = Entry(entry.event, entry.related, entry.caption, ())
                return Scene(world, [alone], boxes, seen)


def _fill(
    rng: np.random.Generator,
    parts: list[Profile],
    asked: list[Statement],
    there: list[World],
) -> list[World]:
    """The other scenes of a minute: no true event, enough near-misses."""
    while True:
        worlds: list[World] = []
        for _ in range(_GOES):
            world = draw_world(rng, parts[len(worlds)])
            if any(_is_true(statement, [world]) for statement in asked):
                continue
            before = _missing(asked, [*there, *worlds])
            after = _missing(asked, [*there, *worlds, world])
            left = len(parts) - len(worlds)
            # What is missing is shared out over the scenes that are left.
            if (before - after) * left >= before:
                worlds.append(world)
            if len(worlds) == len(parts):
                return worlds


def _missing(asked: list[Statement], worlds: list[World]) -> int:
    """How many near-misses, one of each kind, a minute still lacks."""
    missing = 0
    for statement in asked:
        counts = [count_matches(statement, world)[1:] for world in worlds]
        missing += 2 - np.any(counts, axis=0).sum() if counts else 2
    return missing
