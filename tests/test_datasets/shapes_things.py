"""Objects that do nothing, and what else tests of the benchmark share."""

import numpy as np

from hero_mm.datasets.shapes.haystack import draw_haystack
from hero_mm.datasets.shapes.profiles import (
    HAYSTACKS,
    PROBES,
    PROFILES,
)
from hero_mm.datasets.shapes.video import draw_video
from hero_mm.datasets.shapes.world import Look, Thing, World


def still(tid, words, place, radius=7.0, frames=32):
    """A still object that does nothing."""
    return Thing(
        tid=tid,
        look=Look(*words.split()),
        events=[],
        centre=np.tile(np.array(place, dtype=float), (frames, 1)),
        radius=np.full(frames, radius),
        angle=np.zeros(frames),
        white=np.zeros(frames, dtype=bool),
    )


def make_world(*things, order=None, bar=None):
    return World(list(things), order or list(range(len(things))), bar, 11)


def draw(name, index, seed):
    """A video of a split of the default profile, or of a profile, a probe."""
    if name in HAYSTACKS:
        return draw_haystack(index, seed, HAYSTACKS[name])
    split = 'test' if name in PROFILES else name
    profile = {**PROFILES, **PROBES}.get(name, PROFILES['default'])
    return draw_video(split, index, seed, profile)


def draw_scenes(name, number, seed):
    """The only scenes of so many videos."""
    return [draw(name, index, seed).scenes[0] for index in range(number)]


def sentences_of(scene):
    """All sentences of a scene with the event that they mean."""
    for entry in scene.entries:
        for sentence in (entry.caption, *entry.questions):
            yield sentence, entry.event


def contents(folder):
    """All files of a folder by their path in it."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob('*'))
        if path.is_file()
    }
