"""Bars that hide what is behind them.

Shape legend: T frames.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .profiles import Profile
from .scene import Bar, Thing

# Two frames that a model sees.
HIDDEN_FRAMES = 4
# What may look out of a bar, in radii, for the object to have no box.
_OUT = 0.85
_TRIES = 24


def draw_bar(rng: np.random.Generator, number: int, profile: Profile) -> Bar:
    """Draw a bar at any place, before some of the objects."""
    return Bar(
        upright=bool(rng.random() < 0.5),
        start=float(rng.uniform(8, profile.side - 16)),
        width=float(rng.uniform(*profile.bar_width)),
        depth=int(rng.integers(1, number)),
    )


def hide_some(
    rng: np.random.Generator,
    bar: Bar,
    things: list[Thing],
    order: list[int],
    profile: Profile,
) -> Bar:
    """Move a bar to where most objects go behind it and come out again.

    ``order`` are the track ids from the back to the front. The bar comes
    before what it hides; where no place is found, it stays as it was drawn.
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
    runs = hidden_runs(_is_behind(thing, bar))
    return any(end - begin >= HIDDEN_FRAMES for begin, end in runs)


def _is_behind(thing: Thing, bar: Bar) -> NDArray[np.bool_]:
    """Frames in which a bar hides (nearly) all of an object, shape (T,)."""
    place = thing.centre[:, 0 if bar.upright else 1]
    off = np.abs(place - bar.start - bar.width / 2)
    return np.asarray(off + _OUT * thing.radius <= bar.width / 2)


def hidden_runs(hidden: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Spans in which something is hidden between two frames that show it.

    ``hidden`` has shape (T,); the spans are half-open and in order.
    """
    edges = np.flatnonzero(np.diff(hidden.astype(int))) + 1
    starts = [int(t) for t in edges if hidden[t]]
    return [
        (begin, int(end))
        for begin in starts
        for end in edges[edges > begin][:1]
    ]
