"""What objects do: when, and how it looks.

Shape legend: T frames.
"""

import math
from collections.abc import Mapping

import numpy as np

from .profiles import DEFAULT, Profile
from .scene import ACTIONS, MOVES, Event, Look, Thing

# A grown object must stay in the frame, a shrunk one must stay visible.
GROWTH = {'tiny': 2.0, 'plain': 1.7, 'huge': 1.4}
SHRINKAGE = {'tiny': 0.5, 'plain': 0.45, 'huge': 0.45}
# A longer loop goes round several times.
ROUND = 16


def schedule(
    rng: np.random.Generator,
    tid: int,
    pool: list[str],
    profile: Profile = DEFAULT,
) -> list[Event]:
    """Draw the events of an object, parted by idle frames, in order of time.

    ``pool`` are the actions to draw from.
    """
    number = int(draw_number(rng, profile.events))
    number = min(number, len(pool) + 1)
    repeats = len(pool) < number or rng.random() < 0.25
    actions = [str(a) for a in rng.choice(pool, size=number, replace=repeats)]
    least = [max(ACTIONS[a], profile.shortest) for a in actions]
    longest = profile.longest[number]
    lengths = [int(rng.integers(n, max(longest, n) + 1)) for n in least]
    slack = profile.num_frames - sum(lengths) - profile.idle * (number - 1)
    if slack < 0:
        return schedule(rng, tid, pool, profile)
    cuts = np.sort(rng.integers(0, slack + 1, size=number))
    events, used = [], 0
    for action, length, cut in zip(actions, lengths, cuts):
        begin = used + int(cut)
        events.append(Event(tid, action, begin, begin + length))
        used += length + profile.idle
    return events


def draw_number(rng: np.random.Generator, chances: Mapping[int, float]) -> int:
    """Draw one of some numbers, each of which has its chance."""
    return int(rng.choice(list(chances), p=list(chances.values())))


def animate(
    rng: np.random.Generator,
    tid: int,
    look: Look,
    base: float,
    events: list[Event],
    profile: Profile = DEFAULT,
) -> Thing:
    """Turn events into the motion of an object of ``base`` pixels radius.

    Its path starts at (0, 0).
    """
    number = profile.num_frames
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
    return thing


def perform(
    rng: np.random.Generator,
    thing: Thing,
    event: Event,
    profile: Profile = DEFAULT,
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
