"""A second reading of the benchmark's sentences, for its tests.

It shares no code with the package: the grammar is parsed from the text, and
truth is told from an object's centre and radius, with the margins that
docs/benchmark_shapes.md promises.
"""

from collections import namedtuple

COLOURS = ['red', 'green', 'blue', 'yellow', 'purple', 'cyan']
SHAPES = ['circle', 'square', 'triangle', 'star']
SIZES = ['tiny', 'huge']
VERBS = {
    'moves left': 'move_left',
    'moves right': 'move_right',
    'moves up': 'move_up',
    'moves down': 'move_down',
    'spins': 'spin',
    'grows': 'grow',
    'shrinks': 'shrink',
    'blinks': 'blink',
    'shakes': 'shake',
    'loops': 'loop',
}
PLACES = ['beside', 'far from', 'left of', 'right of', 'above', 'below']

Parsed = namedtuple('Parsed', 'look action place place_look time who doing')
"""``look``: what is told of the target's look, as a set of words; ``place``
and ``time``: the relation's word or None; ``who``: look of the other object,
or None for *it*; ``doing``: its action."""


class Reader:
    """Words of a sentence, taken from the left."""

    def __init__(self, text):
        self.words = text.split()

    def take(self, *options):
        """The first of the phrases that comes next, or None."""
        for option in options:
            phrase = option.split()
            if self.words[: len(phrase)] == phrase:
                del self.words[: len(phrase)]
                return option
        return None

    def need(self, *options):
        found = self.take(*options)
        assert found, f'{self.words} does not start with one of {options}'
        return found

    def noun(self, *stand_ins):
        """An optional size, an optional colour, a shape or a stand-in."""
        words = [self.take(*SIZES), self.take(*COLOURS)]
        noun = self.need(*SHAPES, *stand_ins)
        words.append(noun if noun in SHAPES else None)
        return frozenset(word for word in words if word)


def parse(text):
    """Parse a sentence of the benchmark."""
    assert text == text.lower()
    asks = text.endswith('?')
    assert asks or text.endswith('.')
    reader = Reader(text[:-1])
    look, action = frozenset(), None
    if not asks:
        reader.need('the')
        look = reader.noun()
        assert look & set(SHAPES)
    elif reader.take('which'):
        look = reader.noun('shape')
        assert look
    else:
        reader.need('what')
        action = reader.take(*VERBS)
        if action is None:
            look = reader.noun('thing')
            assert look and look <= set(SIZES)
    place = reader.take(*PLACES)
    place_look = None
    if place:
        reader.need('the')
        place_look = reader.noun()
    action = action or reader.need(*VERBS)
    time = reader.take('after', 'before')
    who = doing = None
    if time:
        if not reader.take('it'):
            reader.need('the')
            who = reader.noun()
        doing = VERBS[reader.need(*VERBS)]
    assert not reader.words, f'{text!r}: {reader.words} is left'
    assert not (place and time)
    return Parsed(look, VERBS[action], place, place_look, time, who, doing)


def fits(words, thing):
    look = thing.look
    return words <= {look.size, look.colour, look.shape}


def truth(parsed, world, thing, event):
    """True, False, or None where it is not clear."""
    if event.action != parsed.action or not fits(parsed.look, thing):
        return False
    if parsed.place:
        return place_truth(parsed, world, thing, event)
    if parsed.time:
        return time_truth(parsed, world, thing, event)
    return True


def place_truth(parsed, world, thing, event):
    (other,) = (t for t in world.things if fits(parsed.place_look, t))
    if other is thing:
        return False
    frames = slice(event.begin, event.end)
    x, y = (other.centre - thing.centre)[frames].T
    gap = (x**2 + y**2) ** 0.5 - (thing.radius + other.radius)[frames]
    # Pixels are those of a frame of 64; larger frames have larger margins.
    x, y, gap = (64 * value / world.profile.side for value in (x, y, gap))
    yes, no = {
        'beside': (gap <= 5, gap >= 12),
        'far from': (gap >= 24, gap <= 14),
        'left of': (x >= 5, x <= 0),
        'right of': (x <= -5, x >= 0),
        'above': (y >= 5, y <= 0),
        'below': (y <= -5, y >= 0),
    }[parsed.place]
    if yes.mean() >= 0.85:
        return True
    return False if no.mean() >= 0.85 else None


def time_truth(parsed, world, thing, event):
    others = [thing]
    if parsed.who is not None:
        others = [t for t in world.things if fits(parsed.who, t)]
    events = [event for other in others for event in other.events]
    anchors = [e for e in events if e.action == parsed.doing]
    if len(anchors) != 1:
        # Another object is told uniquely; *it* may do nothing such, or twice.
        assert parsed.who is None
        return None if anchors else False
    (anchor,) = anchors
    if anchor == event:
        return False
    if parsed.time == 'after':
        if event.begin >= anchor.end:
            return True
        return False if event.begin <= anchor.begin else None
    if event.end <= anchor.begin:
        return True
    return False if event.end >= anchor.end else None
