"""Profiles: what the worlds of a benchmark are like, and what is asked.

One renderer serves all. ``DEFAULT`` is ``data/shapes``, whose bytes no other
profile may change; ``LONG`` has larger and longer clips; ``HAYSTACK`` has long
videos of many scenes; ``PROBES`` are small test splits in the format of
``DEFAULT``, each for one thing that is hard.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, Optional


class Profile(NamedTuple):
    """How worlds are drawn and what is said of them.

    Defaults are those of ``data/shapes``. Lengths are in pixels, times in
    frames. A mapping from numbers or words to floats gives the chance of
    each.
    """

    # Tells its random draws from those of others.
    salt: tuple[int, ...] = ()
    # Of each split, by default.
    videos: Mapping[str, int] = {'train': 4500, 'val': 200, 'test': 500}
    # Width and height of a frame.
    side: int = 64
    # Of a clip; a model sees every second one.
    num_frames: int = 32
    fps: int = 8
    # How many objects a world has, and how many looks they share: None is two
    # or three, most of which differ in one word.
    objects: Mapping[int, float] = {3: 0.25, 4: 0.45, 5: 0.3}
    looks: Optional[Mapping[int, float]] = None
    # Size words, how many objects at most are huge, least and largest radius.
    sizes: Mapping[str, float] = {'tiny': 0.25, 'plain': 0.45, 'huge': 0.3}
    most_huge: int = 2
    radius: Mapping[str, tuple[float, float]] = {
        'tiny': (3.5, 4.5),
        'plain': (6.0, 8.0),
        'huge': (11.0, 14.0),
    }
    # How many actions the objects share, how often an object acts, and most
    # frames of an action of one that acts so often.
    actions: Mapping[int, float] = {2: 0.15, 3: 0.4, 4: 0.45}
    events: Mapping[int, float] = {1: 0.25, 2: 0.5, 3: 0.25}
    longest: Mapping[int, int] = {1: 14, 2: 13, 3: 9}
    # Fewest frames of an action (or what it needs itself), and between two.
    shortest: int = 0
    idle: int = 3
    # How far a move goes, and fewest pixels a frame of it.
    travel: tuple[float, float] = (14.0, 27.0)
    pace: float = 1.8
    # Degrees a frame of a spin; radius of a loop.
    turn: tuple[float, float] = (28.0, 40.0)
    loop: tuple[float, float] = (6.0, 9.0)
    # Places that are tried for an object, to see all of it.
    tries: int = 24
    # Chance of a bar, its thickness, and whether it is put where it hides an
    # object that comes out again.
    bar: float = 0.2
    bar_width: tuple[float, float] = (4.0, 7.0)
    hides: bool = False
    # What a sentence refers to must be seen too, not its target alone.
    see_relations: bool = False
    # Kinds of sentences with their weights; one that is missing is not said.
    kinds: Mapping[str, float] = {
        'basic': 0.6,
        'spatial': 0.22,
        'temporal': 0.18,
    }
    # One entry of so many may name an order in time.
    per_order: int = 3
    # Most entries of a video to test and to train with: a video costs much
    # more than a sentence, in rendering and in training.
    entries: int = 3
    entries_to_learn: int = 6
    # Only objects of this size, only these actions are asked for; so many
    # others, at least, have the target's very look.
    target_size: Optional[str] = None
    target_actions: Optional[tuple[str, ...]] = None
    alike: int = 0
    # How long a video of many scenes is; 0 is one scene.
    minutes: int = 0

    @property
    def scale(self) -> float:
        """Side of a frame in units of the default profile's."""
        return self.side / 64


DEFAULT = Profile()

LONG = DEFAULT._replace(
    salt=(1,),
    videos={'train': 2000, 'val': 100, 'test': 300},
    side=96,
    num_frames=96,
    objects={5: 0.4, 6: 0.4, 7: 0.2},
    radius={'tiny': (3.5, 5.0), 'plain': (7.0, 9.5), 'huge': (12.5, 17.0)},
    actions={3: 0.5, 4: 0.5},
    events={2: 0.35, 3: 0.5, 4: 0.15},
    longest={2: 32, 3: 24, 4: 17},
    shortest=12,
    idle=5,
    travel=(21.0, 48.0),
    pace=1.3,
    loop=(8.0, 12.0),
    bar=0.7,
    bar_width=(14.0, 20.0),
    hides=True,
    see_relations=True,
    entries=4,
    entries_to_learn=7,
)

# Its splits are lengths, as :data:`HAYSTACKS` says.
HAYSTACK = DEFAULT._replace(
    salt=(2,),
    videos={'1min': 10, '5min': 6, '20min': 3, '60min': 3},
    kinds={'basic': 1.0},
    entries=5,
)
HAYSTACKS = {
    split: HAYSTACK._replace(minutes=int(split.removesuffix('min')))
    for split in HAYSTACK.videos
}

PROFILES = {'default': DEFAULT, 'long': LONG, 'haystack': HAYSTACK}

_FAST = ('move_left', 'move_right', 'move_up', 'move_down', 'spin', 'loop')
# What a probe is for. Their places give the ids of their videos: a new one
# comes last.
_PROBES: dict[str, dict[str, Any]] = {
    'tiny': dict(
        sizes={'tiny': 0.8, 'plain': 0.15, 'huge': 0.05},
        target_size='tiny',
    ),
    'huge': dict(
        objects={3: 0.4, 4: 0.6},
        sizes={'tiny': 0.1, 'plain': 0.1, 'huge': 0.8},
        most_huge=3,
        tries=60,
        target_size='huge',
    ),
    'crowded': dict(
        objects={7: 0.5, 8: 0.5},
        sizes={'tiny': 0.45, 'plain': 0.5, 'huge': 0.05},
        most_huge=1,
        tries=60,
    ),
    'fast': dict(
        travel=(25.0, 46.0),
        pace=3.2,
        turn=(52.0, 72.0),
        loop=(10.5, 15.5),
        target_actions=_FAST,
    ),
    'long-actions': dict(
        objects={4: 0.5, 5: 0.5},
        actions={2: 0.5, 3: 0.5},
        events={1: 0.7, 2: 0.3},
        longest={1: 24, 2: 14},
        shortest=14,
        travel=(16.0, 34.0),
        pace=1.2,
    ),
    'order': dict(
        events={2: 0.5, 3: 0.5},
        kinds={'temporal': 1.0},
        per_order=1,
    ),
    'look-alikes': dict(
        objects={4: 0.5, 5: 0.5},
        looks={1: 0.15, 2: 0.85},
        sizes={'tiny': 0.35, 'plain': 0.65, 'huge': 0.0},
        # To make one plain would be to make a third look.
        most_huge=5,
        kinds={'basic': 0.6, 'spatial': 0.3, 'temporal': 0.1},
        per_order=2,
        entries=4,
        alike=2,
    ),
    'relations': dict(kinds={'spatial': 1.0}),
}
PROBES = {
    name: DEFAULT._replace(see_relations=True, **changes)
    for name, changes in _PROBES.items()
}
# Of each probe, with five sentences or more each.
PROBE_VIDEOS = 100
