"""Draw the world of moving shapes: who is where, looks how and does what.

A world is drawn so that it is full of confusers: a few looks and a few
actions are shared by all its objects. Nothing here knows of pixels or words.

Shape legend: T frames.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Optional

import numpy as np
from numpy.typing import NDArray

from .profiles import DEFAULT, Profile

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
ACTIONS = dict.fromkeys(
    (*MOVES, 'spin', 'grow', 'shrink', 'blink', 'shake', 'loop'), 6
)
ACTIONS['loop'] = 8
# Two frames that a model sees.
HIDDEN_FRAMES = 4
# What may look out of a bar, in radii, for the object to have no box.
_OUT = 0.85
_TRIES = 24
# A grown object must stay in the frame, a shrunk one must stay visible.
GROWTH = {'tiny': 2.0, 'plain': 1.7, 'huge': 1.4}
SHRINKAGE = {'tiny': 0.5, 'plain': 0.45, 'huge': 0.45}
# A longer loop goes round several times.
ROUND = 16

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
    """One object, what it does, in order of time, and its motion.

    ``tid`` is its place in ``World.things``; ``centre`` has shape (T, 2), x
    and y in pixels; ``radius`` (T,), in pixels; ``angle`` (T,), in radians;
    ``white`` (T,) is True where a blink turns it white.
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
    """A still bar from top to bottom (``upright``) or from left to right.

    ``start`` is its first column or row, ``width`` in pixels, too; ``depth``
    says how many of the objects are behind it, from the back.
    """

    upright: bool
    start: float
    width: float
    depth: int


@dataclass
class World:
    """A scene before it is rendered; ``order`` is from back to front."""

    things: list[Thing]
    order: list[int]
    bar: Optional[Bar]
    backdrop_seed: int
    profile: Profile = DEFAULT

    @property
    def events(self) -> list[Event]:
        """All events of all objects."""
        return [event for thing in self.things for event in thing.events]


def draw_world(rng: np.random.Generator, profile: Profile = DEFAULT) -> World:
    """Draw one world: objects, each with some events."""
    looks = _draw_looks(rng, profile)
    number = _draw_number(rng, profile.actions)
    pool = [str(a) for a in rng.permutation(list(ACTIONS))[:number]]
    things: list[Thing] = []
    for tid, look in enumerate(looks):
        things.append(_draw_thing(rng, tid, look, pool, things, profile))
    bar = None
    if rng.random() < profile.bar:
        bar = Bar(
            upright=bool(rng.random() < 0.5),
            start=float(rng.uniform(8, profile.side - 16)),
            width=float(rng.uniform(*profile.bar_width)),
            depth=int(rng.integers(1, len(things))),
        )
    order = [int(tid) for tid in rng.permutation(len(things))]
    if rng.random() < 0.7:
        # A small thing behind a huge one is hard to see.
        order.sort(key=lambda tid: -SIZES.index(things[tid].look.size))
    if bar is not None and profile.hides:
        bar = hide_some(rng, bar, things, order, profile)
    return World(things, order, bar, int(rng.integers(2**31)), profile)


def _draw_looks(rng: np.random.Generator, profile: Profile) -> list[Look]:
    """Draw the looks of all objects."""
    first = _random_look(rng, profile)
    draw = _mix_looks if profile.looks is None else _share_looks
    looks = draw(rng, first, profile)
    huge = [i for i, look in enumerate(looks) if look.size == 'huge']
    for i in huge[profile.most_huge :]:
        looks[i] = replace(looks[i], size='plain')
    return [looks[i] for i in rng.permutation(len(looks))]


def _share_looks(
    rng: np.random.Generator, first: Look, profile: Profile
) -> list[Look]:
    """So many looks, that differ in one word from the first."""
    assert profile.looks is not None
    looks = [first]
    number = _draw_number(rng, profile.looks)
    while len(looks) < number:
        other = _change_one(rng, first)
        if other not in looks:
            looks.append(other)
    more = _draw_number(rng, profile.objects) - number
    return looks + [looks[i] for i in rng.integers(number, size=more)]


def _mix_looks(
    rng: np.random.Generator, first: Look, profile: Profile
) -> list[Look]:
    """Two or three looks."""
    second = _random_look(rng, profile)
    if rng.random() < 0.75:
        second = _change_one(rng, first)
    extra = _random_look(rng, profile)
    while second == first or extra in (first, second):
        second, extra = _change_one(rng, first), _random_look(rng, profile)
    number = _draw_number(rng, profile.objects)
    rest = [first, second, second, extra]
    picks = [0, 1, 2, 3] if number >= 5 else list(rng.permutation(4))
    if number >= 5 and rng.random() < 0.5:
        picks = [0, 1, 3, 2]
    if number > 6:
        picks += [int(i) for i in rng.integers(4, size=number - 6)]
    return [first, first] + [rest[i] for i in picks[: number - 2]]


def _random_look(rng: np.random.Generator, profile: Profile) -> Look:
    chances = list(profile.sizes.values())
    return Look(
        str(rng.choice(list(profile.sizes), p=chances)),
        str(rng.choice(COLOURS)),
        str(rng.choice(SHAPES)),
    )


def _change_one(rng: np.random.Generator, look: Look) -> Look:
    """Change one attribute of a look."""
    parts = (('size', SIZES), ('colour', COLOURS), ('shape', SHAPES))
    name, words = parts[rng.integers(3)]
    others = [word for word in words if word != getattr(look, name)]
    return replace(look, **{name: str(rng.choice(others))})


def _draw_thing(
    rng: np.random.Generator,
    tid: int,
    look: Look,
    pool: list[str],
    others: list[Thing],
    profile: Profile,
) -> Thing:
    """Draw the events and the path of one object."""
    number = profile.num_frames
    base = float(rng.uniform(*profile.radius[look.size]))
    # What look-alikes have not done yet can be said without a relation.
    done = {e.action for o in others if o.look == look for e in o.events}
    fresh = [action for action in pool if action not in done]
    if not fresh or rng.random() < 0.35:
        fresh = pool
    while True:
        events = _schedule(rng, tid, fresh, profile)
        thing = Thing(
            tid,
            look,
            events,
            centre=np.zeros((number, 2)),
            radius=np.full(number, base),
            angle=np.full(number, rng.uniform(-0.25, 0.25)),
            white=np.zeros(number, dtype=bool),
        )
        for event in events:
            perform(rng, thing, event, profile)
        low = 0.75 * base - thing.centre.min(axis=0)
        high = profile.side - 0.75 * base - thing.centre.max(axis=0)
        if (low <= high).all():
            break
    best, best_cost = low, math.inf
    partner = others[rng.integers(len(others))] if others else None
    if rng.random() < 0.4:
        partner = None
    for _ in range(profile.tries):
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


def hide_some(
    rng: np.random.Generator,
    bar: Bar,
    things: list[Thing],
    order: list[int],
    profile: Profile,
) -> Bar:
    """Move a bar to where most objects go behind it and come out again.

    The bar comes before what it hides, in the ``order`` from the back to the
    front; where no place is found, it stays as it was drawn.
    """
    best: list[int] = []
    for _ in range(_TRIES):
        thing = things[rng.integers(len(things))]
        frame, upright = rng.integers(profile.num_frames), rng.random() < 0.5
        middle = thing.centre[frame, 0 if upright else 1]
        tried = replace(
            bar, upright=bool(upright), start=float(middle - bar.width / 2)
        )
        hidden = [t.tid for t in things if _goes_behind(t, tried)]
        if len(hidden) > len(best):
            best, bar = hidden, tried
    depths = [order.index(tid) + 1 for tid in best]
    return replace(bar, depth=max([bar.depth, *depths]))


def _goes_behind(thing: Thing, bar: Bar) -> bool:
    """Whether it is hidden for long enough, and seen before and after."""
    place = thing.centre[:, 0 if bar.upright else 1]
    off = np.abs(place - bar.start - bar.width / 2)
    hidden = off + _OUT * thing.radius <= bar.width / 2
    edges = np.flatnonzero(np.diff(hidden)) + 1
    return any(
        hidden[begin] and end - begin >= HIDDEN_FRAMES
        for begin, end in zip(edges, edges[1:])
    )


def _schedule(
    rng: np.random.Generator, tid: int, pool: list[str], profile: Profile
) -> list[Event]:
    """Draw what an object does of a pool of actions, in order of time."""
    number = min(_draw_number(rng, profile.events), len(pool) + 1)
    repeats = len(pool) < number or rng.random() < 0.25
    actions = [str(a) for a in rng.choice(pool, size=number, replace=repeats)]
    least = [max(ACTIONS[a], profile.shortest) for a in actions]
    longest = profile.longest[number]
    lengths = [int(rng.integers(n, max(longest, n) + 1)) for n in least]
    slack = profile.num_frames - sum(lengths) - profile.idle * (number - 1)
    if slack < 0:
        return _schedule(rng, tid, pool, profile)
    cuts = np.sort(rng.integers(0, slack + 1, size=number))
    events, used = [], 0
    for action, length, cut in zip(actions, lengths, cuts):
        begin = used + int(cut)
        events.append(Event(tid, action, begin, begin + length))
        used += length + profile.idle
    return events


def _draw_number(
    rng: np.random.Generator, chances: Mapping[int, float]
) -> int:
    """Draw one of some numbers, each of which has its chance."""
    return int(rng.choice(list(chances), p=list(chances.values())))


def perform(
    rng: np.random.Generator,
    thing: Thing,
    event: Event,
    profile: Profile,
) -> None:
    """Write one event into the motion of an object, in place.

    No motion has a period of two frames: a model that sees every second frame
    would see it stand still.
    """
    span = slice(event.begin, event.end)
    length = event.end - event.begin
    # The first frame of an event already differs from the idle one.
    part = np.arange(1, length + 1) / length
    step = np.arange(length)
    if event.action in MOVES:
        near, far = profile.travel
        travel = rng.uniform(max(near, profile.pace * length), far)
        way = np.array(MOVES[event.action]) * travel
        thing.centre[span] += part[:, None] * way
        thing.centre[event.end :] += way
    elif event.action == 'spin':
        speed = rng.uniform(*profile.turn) * rng.choice([-1, 1])
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
        reach = rng.uniform(*profile.loop)
        phase = rng.uniform(0, 2 * math.pi)
        rounds = max(1, round(length / ROUND))
        turn = phase + 2 * math.pi * rounds * part * rng.choice([-1, 1])
        ring = np.stack([np.cos(turn), np.sin(turn)], axis=1)
        start = np.array([math.cos(phase), math.sin(phase)])
        thing.centre[span] += reach * (ring - start)
