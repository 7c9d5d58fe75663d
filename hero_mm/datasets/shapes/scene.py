"""What a world of moving shapes is made of: objects, events, a bar.

Shape legend: T frames.
"""

from dataclasses import dataclass
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
        depth (int): How many of the objects are behind it, from the back.
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
        profile (Profile): How it was drawn; has the size of a frame.
    """

    things: list[Thing]
    order: list[int]
    bar: Optional[Bar]
    backdrop_seed: int
    profile: Profile = DEFAULT

    @property
    def events(self) -> list[Event]:
        """All events of all objects."""
        return [event for thing in self.things for event in thing.events]
