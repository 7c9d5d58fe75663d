"""What a sentence means, and for which events of a world it is true.

A statement names an action, perhaps a look, and perhaps one relation to
another object (at the time of the action) or to another event (in time). Its
truth has three values: an event that is neither clearly right nor clearly
wrong makes the statement useless, and it is dropped.

Shape legend: T frames, N objects.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Optional

import numpy as np
from numpy.typing import NDArray

from .world import Event, Look, World

SPATIAL = ('beside', 'far from', 'left of', 'right of', 'above', 'below')
TEMPORAL = ('after', 'before')

# Of a frame of 64 pixels; larger frames have larger ones in proportion.
# Gaps between two outlines, in pixels.
_NEAR, _NOT_NEAR = 5.0, 12.0
_FAR, _NOT_FAR = 24.0, 14.0
# Offsets between two centres, in pixels.
_ASIDE, _NOT_ASIDE = 5.0, 0.0
# A relation must hold on this share of an event's frames, and fail on as
# many to be clearly wrong.
_MOSTLY = 0.85
_MIN_SEEN = 0.5


def well_seen(shares: NDArray[np.float64]) -> bool:
    """Whether an object has a box on every frame, and half of it is seen.

    ``shares`` are the visible ones of each frame, has shape (T,).
    """
    return bool(shares.min() > 0 and shares.mean() >= _MIN_SEEN)


@dataclass(frozen=True)
class Description:
    """The part of a look that a sentence names; None is left open."""

    size: Optional[str] = None
    colour: Optional[str] = None
    shape: Optional[str] = None

    def fits(self, look: Look) -> bool:
        """Whether an object of this look is described."""
        return (
            self.size in (None, look.size)
            and self.colour in (None, look.colour)
            and self.shape in (None, look.shape)
        )


@dataclass(frozen=True)
class Relation:
    """What sets the meant event apart: a word of ``SPATIAL`` or ``TEMPORAL``.

    Without an ``object`` it is the target itself ("after it blinks");
    ``action`` is what the related object does (temporal).
    """

    word: str
    object: Optional[Description]
    action: Optional[str] = None


@dataclass(frozen=True)
class Statement:
    """The meaning of a sentence."""

    look: Description
    action: str
    relation: Optional[Relation] = None

    @property
    def kind(self) -> str:
        """``'basic'``, ``'spatial'`` or ``'temporal'``."""
        if self.relation is None:
            return 'basic'
        return 'spatial' if self.relation.word in SPATIAL else 'temporal'


class Judge:
    """Tells for which events of a world a statement is true.

    Where visible shares (N, T) are given as ``seen``, a sentence refers only
    to what can be seen, otherwise to anything.
    """

    def __init__(
        self, world: World, seen: Optional[NDArray[np.float64]] = None
    ) -> None:
        self.world = world
        self.seen = seen
        self.events = world.events
        self.looks = [thing.look for thing in world.things]

    def matches(self, look: Description) -> list[int]:
        """Track ids of the objects that fit a description."""
        return [tid for tid, own in enumerate(self.looks) if look.fits(own)]

    def candidates(self, statement: Statement) -> list[Event]:
        """Events of the right look and action, whatever the relation."""
        fitting = self.matches(statement.look)
        return [
            event
            for event in self.events
            if event.action == statement.action and event.tid in fitting
        ]

    def shows(self, event: Event, tid: Optional[int] = None) -> bool:
        """Whether an object, its own by default, is seen well in an event."""
        who = event.tid if tid is None else tid
        return self.seen is None or well_seen(
            self.seen[who, event.begin : event.end]
        )

    def verdict(self, event: Event, relation: Relation) -> Optional[bool]:
        """Whether an event is in a relation; None where it is not clear."""
        spatial = relation.word in SPATIAL
        return (self._aside if spatial else self._in_time)(event, relation)

    def _aside(self, event: Event, relation: Relation) -> Optional[bool]:
        """Whether a spatial relation holds while an event lasts."""
        assert relation.object is not None
        others = self.matches(relation.object)
        if len(others) != 1:
            return None
        if others[0] == event.tid:
            return False
        yes, no = self._relations[relation.word]
        pair = event.tid, others[0], slice(event.begin, event.end)
        if yes[pair].mean() >= _MOSTLY:
            return True
        return False if no[pair].mean() >= _MOSTLY else None

    @cached_property
    def _relations(self) -> dict[str, tuple[NDArray, NDArray]]:
        """A pair of (N, N, T) masks a word: clearly so, clearly not so."""
        centre = np.stack([thing.centre for thing in self.world.things])
        radius = np.stack([thing.radius for thing in self.world.things])
        dx, dy = np.moveaxis(centre[None] - centre[:, None], -1, 0)
        gap = np.hypot(dx, dy) - radius[None] - radius[:, None]
        gap, dx, dy = (d / self.world.profile.scale for d in (gap, dx, dy))
        return {
            'beside': (gap <= _NEAR, gap >= _NOT_NEAR),
            'far from': (gap >= _FAR, gap <= _NOT_FAR),
            'left of': (dx >= _ASIDE, dx <= _NOT_ASIDE),
            'right of': (dx <= -_ASIDE, dx >= -_NOT_ASIDE),
            'above': (dy >= _ASIDE, dy <= _NOT_ASIDE),
            'below': (dy <= -_ASIDE, dy >= -_NOT_ASIDE),
        }

    def _in_time(self, event: Event, relation: Relation) -> Optional[bool]:
        """Whether a temporal relation holds for an event."""
        if relation.object is None:
            own = self.world.things[event.tid].events
            anchors = [e for e in own if e.action == relation.action]
            if not anchors:
                return False
        else:
            assert relation.action is not None
            anchors = self.candidates(
                Statement(relation.object, relation.action)
            )
        if len(anchors) != 1:
            return None
        anchor = anchors[0]
        if anchor == event:
            return False
        if relation.word == 'after':
            yes, no = event.begin >= anchor.end, event.begin <= anchor.begin
        else:
            yes, no = event.end <= anchor.begin, event.end >= anchor.end
        return True if yes else (False if no else None)
