"""The world of moving shapes: who is where, looks how and does what.

A world is drawn so that it is full of confusers: a few looks and a few
actions are shared by all its objects. Nothing here knows of pixels or words.

Shape legend: T frames.
"""

import math
from dataclasses import dataclass
from typing import Optional

import numpy as np
from numpy.typing import NDArray

SIDE = 64
NUM_FRAMES = 32
FPS = 8

COLOURS = ('red', 'green', 'blue', 'yellow', 'purple', 'cyan')
SHAPES = ('circle', 'square', 'triangle', 'star')
SIZES = ('tiny', 'plain', 'huge')
MOVES = {
    'move_left': (-1, 0),
    'move_right': (1, 0),
    'move_up': (0, -1),
    'move_down': (0, 1),
}
# Every action with the fewest frames in which it can be seen.
ACTIONS = {
    'move_left': 6,
    'move_right': 6,
    'move_up': 6,
    'move_down': 6,
    'spin': 6,
    'grow': 6,
    'shrink': 6,
    'blink': 6,
    'shake': 6,
    'loop': 8,
}
RADIUS = {'tiny': (3.5, 4.5), 'plain': (6.0, 8.0), 'huge': (11.0, 14.0)}
# A grown object must stay in the frame, a shrunk one must stay visible.
GROWTH = {'tiny': 2.0, 'plain': 1.7, 'huge': 1.4}
SHRINKAGE = {'tiny': 0.5, 'plain': 0.45, 'huge': 0.45}

MIN_IDLE = 3
_LONGEST = {1: 14, 2: 13, 3: 9}
_PLACE_TRIES = 24

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Look:
    """What an object looks like, in words of the vocabulary."""

    size: str
    colour: str
    shape: str


@dataclass(frozen=True)
class Event:
    """One object does one action in the frames ``[begin, end)``."""

    tid: int
    action: str
    begin: int
    end: int


@dataclass
class Thing:
    """One object and its motion.

    Attributes:
        tid (int): Track id, the place in ``World.things``.
        look (Look): Its look.
        events (list[Event]): What it does, in order, never two at a time.
        centre (ndarray): Has shape (T, 2), x and y in pixels.
        radius (ndarray): Has shape (T,), in pixels.
        angle (ndarray): Has shape (T,), in radians.
        white (ndarray): Has shape (T,), True where a blink turns it white.
    """

    tid: int
    look: Look
    events: list[Event]
    centre: Array
    radius: Array
    angle: Array
    white: NDArray[np.bool_]


@dataclass(frozen=True)
class Bar:
    """A still bar that hides what is behind it.

    Attributes:
        upright (bool): Whether it runs from top to bottom.
        start (float): Its first column (or row).
        width (float): Its thickness in pixels.
        depth (int): How many of the objects are behind it.
    """

    upright: bool
    start: float
    width: float
    depth: int


@dataclass
class World:
    """A whole clip before it is rendered.

    Attributes:
        things (list[Thing]): The objects; their place is their track id.
        order (list[int]): Track ids from the back to the front.
        bar (Bar, optional): An occluder.
        backdrop_seed (int): Seed of the background's texture and motion.
    """

    things: list[Thing]
    order: list[int]
    bar: Optional[Bar]
    backdrop_seed: int

    @property
    def events(self) -> list[Event]:
        """All events of all objects."""
        return [event for thing in self.things for event in thing.events]


def draw_world(rng: np.random.Generator) -> World:
    """Draw one world.

    Args:
        rng (np.random.Generator): Source of everything random.

    Returns:
        World: Three to five objects with one to three events each.
    """
    looks = _draw_looks(rng)
    number = rng.choice([2, 3, 4], p=[0.15, 0.4, 0.45])
    pool = [str(a) for a in rng.permutation(list(ACTIONS))[:number]]
    things: list[Thing] = []
    for tid, look in enumerate(looks):
        things.append(_draw_thing(rng, tid, look, pool, things))
    bar = None
    if rng.random() < 0.2:
        bar = Bar(
            upright=bool(rng.random() < 0.5),
            start=float(rng.uniform(8, SIDE - 16)),
            width=float(rng.uniform(4, 7)),
            depth=int(rng.integers(1, len(things))),
        )
    order = [int(tid) for tid in rng.permutation(len(things))]
    if rng.random() < 0.7:
        # A small thing behind a huge one is hard to see.
        order.sort(key=lambda tid: -SIZES.index(things[tid].look.size))
    return World(things, order, bar, int(rng.integers(2**31)))


def _draw_looks(rng: np.random.Generator) -> list[Look]:
    """Draw the looks of all objects from a pool of two or three."""
    first = _random_look(rng)
    second = _random_look(rng)
    if rng.random() < 0.75:
        second = _change_one(rng, first)
    extra = _random_look(rng)
    while second == first or extra in (first, second):
        second, extra = _change_one(rng, first), _random_look(rng)
    number = int(rng.choice([3, 4, 5], p=[0.25, 0.45, 0.3]))
    rest = [first, second, second, extra]
    picks = [0, 1, 2, 3] if number == 5 else list(rng.permutation(4))
    if number == 5 and rng.random() < 0.5:
        picks = [0, 1, 3, 2]
    looks = [first, first] + [rest[i] for i in picks[: number - 2]]
    huge = [i for i, look in enumerate(looks) if look.size == 'huge']
    for i in huge[2:]:
        looks[i] = Look('plain', looks[i].colour, looks[i].shape)
    return [looks[i] for i in rng.permutation(number)]


def _random_look(rng: np.random.Generator) -> Look:
    return Look(
        str(rng.choice(SIZES, p=[0.25, 0.45, 0.3])),
        str(rng.choice(COLOURS)),
        str(rng.choice(SHAPES)),
    )


def _change_one(rng: np.random.Generator, look: Look) -> Look:
    """Change one attribute of a look."""
    size, colour, shape = look.size, look.colour, look.shape
    which = rng.integers(3)
    if which == 0:
        size = str(rng.choice([s for s in SIZES if s != size]))
    elif which == 1:
        colour = str(rng.choice([c for c in COLOURS if c != colour]))
    else:
        shape = str(rng.choice([s for s in SHAPES if s != shape]))
    return Look(size, colour, shape)


def _draw_thing(
    rng: np.random.Generator,
    tid: int,
    look: Look,
    pool: list[str],
    others: list[Thing],
) -> Thing:
    """Draw the events and the path of one object."""
    base = float(rng.uniform(*RADIUS[look.size]))
    # What look-alikes have not done yet can be said without a relation.
    done = {e.action for o in others if o.look == look for e in o.events}
    fresh = [action for action in pool if action not in done]
    if not fresh or rng.random() < 0.35:
        fresh = pool
    while True:
        events = _schedule(rng, tid, fresh)
        thing = _animate(rng, tid, look, base, events)
        low = 0.75 * base - thing.centre.min(axis=0)
        high = SIDE - 0.75 * base - thing.centre.max(axis=0)
        if (low <= high).all():
            break
    best, best_cost = low, math.inf
    partner = others[rng.integers(len(others))] if others else None
    if rng.random() < 0.4:
        partner = None
    for _ in range(_PLACE_TRIES):
        start = rng.uniform(low, high)
        if partner is not None:
            start = _beside(rng, partner, base, events, thing.centre)
            start = np.clip(start, low, high)
        cost = _overlap(thing.centre + start, thing.radius, others)
        if cost < best_cost:
            best, best_cost = start, cost
        if cost == 0:
            break
    thing.centre += best
    return thing


def _beside(
    rng: np.random.Generator,
    partner: Thing,
    base: float,
    events: list[Event],
    offsets: Array,
) -> Array:
    """Start so that the object is beside its partner during an event."""
    event = events[rng.integers(len(events))]
    frame = (event.begin + event.end) // 2
    angle = rng.uniform(0, 2 * math.pi)
    reach = base + partner.radius[frame] + rng.uniform(0.5, 4.0)
    side = np.array([math.cos(angle), math.sin(angle)]) * reach
    return np.asarray(partner.centre[frame] + side - offsets[frame])


def _overlap(centre: Array, radius: Array, others: list[Thing]) -> float:
    """How much of the time, and how deeply, objects cover each other."""
    cost = 0.0
    for other in others:
        gap = np.hypot(*(centre - other.centre).T)
        depth = 1 - gap / (0.8 * (radius + other.radius))
        cost += float(np.clip(depth, 0, None).sum())
    return cost


def _schedule(
    rng: np.random.Generator, tid: int, pool: list[str]
) -> list[Event]:
    """Draw one to three events that are parted by idle frames."""
    number = int(rng.choice([1, 2, 3], p=[0.25, 0.5, 0.25]))
    number = min(number, len(pool) + 1)
    repeats = len(pool) < number or rng.random() < 0.25
    actions = [str(a) for a in rng.choice(pool, size=number, replace=repeats)]
    longest = _LONGEST[number]
    lengths = [
        int(rng.integers(ACTIONS[a], max(longest, ACTIONS[a]) + 1))
        for a in actions
    ]
    slack = NUM_FRAMES - sum(lengths) - MIN_IDLE * (number - 1)
    if slack < 0:
        return _schedule(rng, tid, pool)
    cuts = np.sort(rng.integers(0, slack + 1, size=number))
    events, used = [], 0
    for action, length, cut in zip(actions, lengths, cuts):
        begin = used + int(cut)
        events.append(Event(tid, action, begin, begin + length))
        used += length + MIN_IDLE
    return events


def _animate(
    rng: np.random.Generator,
    tid: int,
    look: Look,
    base: float,
    events: list[Event],
) -> Thing:
    """Turn events into motion; the path starts at (0, 0)."""
    thing = Thing(
        tid,
        look,
        events,
        centre=np.zeros((NUM_FRAMES, 2)),
        radius=np.full(NUM_FRAMES, base),
        angle=np.full(NUM_FRAMES, rng.uniform(-0.25, 0.25)),
        white=np.zeros(NUM_FRAMES, dtype=bool),
    )
    for event in events:
        _perform(rng, thing, event)
    return thing


def _perform(rng: np.random.Generator, thing: Thing, event: Event) -> None:
    """Write one event into the motion of an object.

    No motion has a period of two frames: a model that sees every second
    frame would see it stand still.
    """
    span = slice(event.begin, event.end)
    length = event.end - event.begin
    # The first frame of an event already differs from the idle one.
    part = np.arange(1, length + 1) / length
    step = np.arange(length)
    if event.action in MOVES:
        travel = rng.uniform(max(14.0, 1.8 * length), 27.0)
        way = np.array(MOVES[event.action]) * travel
        thing.centre[span] += part[:, None] * way
        thing.centre[event.end :] += way
    elif event.action == 'spin':
        speed = rng.uniform(28, 40) * rng.choice([-1, 1])
        turn = np.deg2rad(speed) * (step + 1)
        thing.angle[span] += turn
        thing.angle[event.end :] += turn[-1]
    elif event.action in ('grow', 'shrink'):
        table = GROWTH if event.action == 'grow' else SHRINKAGE
        # It snaps back at the end, so that its size word stays true.
        thing.radius[span] *= 1 + (table[thing.look.size] - 1) * part
    elif event.action == 'blink':
        thing.white[span] = step // 2 % 2 == 0
    elif event.action == 'shake':
        reach = 2.2 + 0.12 * thing.radius[event.begin]
        side = np.where(step // 2 % 2 == 0, 1, -1) * rng.choice([-1, 1])
        thing.centre[span, 0] += side * reach
    else:
        reach, phase = rng.uniform(6, 9), rng.uniform(0, 2 * math.pi)
        turn = phase + 2 * math.pi * part * rng.choice([-1, 1])
        ring = np.stack([np.cos(turn), np.sin(turn)], axis=1)
        start = np.array([math.cos(phase), math.sin(phase)])
        thing.centre[span] += reach * (ring - start)
