"""A second reading of the benchmark's sentences, for its tests.

It shares no code with the package: the grammar is parsed from the text, and
truth is told from an object's centre and radius by plain loops, with the
margins that docs/benchmark_shapes.md promises.
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
    others = [t for t in world.things if fits(parsed.place_look, t)]
    assert len(others) == 1, 'the other object is not told uniquely'
    (other,) = others
    if other is thing:
        return False
    # Pixels are those of a frame of 64; larger frames have larger margins.
    scale = world.profile.side / 64
    yes = no = 0
    for frame in range(event.begin, event.end):
        x, y = thing.centre[frame]
        other_x, other_y = other.centre[frame]
        distance = ((x - other_x) ** 2 + (y - other_y) ** 2) ** 0.5
        gap = distance - thing.radius[frame] - other.radius[frame]
        gap /= scale
        offset = {
            'left of': other_x - x,
            'right of': x - other_x,
            'above': other_y - y,
            'below': y - other_y,
        }
        if parsed.place == 'beside':
            yes, no = yes + (gap <= 5), no + (gap >= 12)
        elif parsed.place == 'far from':
            yes, no = yes + (gap >= 24), no + (gap <= 14)
        else:
            yes = yes + (offset[parsed.place] >= 5 * scale)
            no = no + (offset[parsed.place] <= 0)
    length = event.end - event.begin
    if yes >= 0.85 * length:
        return True
    return False if no >= 0.85 * length else None


def time_truth(parsed, world, thing, event):
    anchors = []
    for other in world.things:
        if parsed.who is None and other is not thing:
            continue
        if parsed.who is not None and not fits(parsed.who, other):
            continue
        anchors += [e for e in other.events if e.action == parsed.doing]
    if parsed.who is None and not anchors:
        return False
    assert parsed.who is None or len(anchors) == 1
    if len(anchors) != 1:
        return None
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
