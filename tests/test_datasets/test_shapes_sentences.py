"""Sentences of the benchmark: true once, hard, and sound when mirrored."""

import copy
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from test_datasets import shapes_grammar as grammar
from test_datasets.shapes_things import (
    check_truth,
    make_world,
    sentences_of,
    still,
)

from hero_mm.datasets.action_phrases import ActionPhraseSwapper
from hero_mm.datasets.shapes.meaning import (
    Description,
    Judge,
    Relation,
    Statement,
)
from hero_mm.datasets.shapes.profiles import DEFAULT, LONG, PROBES
from hero_mm.datasets.shapes.scene import ACTIONS
from hero_mm.datasets.shapes.sentences import (
    say,
    verb_phrase,
)
from hero_mm.datasets.shapes.video import draw_video
from hero_mm.datasets.sides import swap_sides as swap

thing = partial(still, radius=5.0)
STAR = Description(shape='star')


@pytest.fixture(scope='module')
def videos():
    return [draw_video('test', index, seed=1) for index in range(40)]


@pytest.mark.parametrize('name', ['default', 'long', *PROBES])
def test_every_sentence_is_true_for_one_event_only(name):
    profile = PROBES.get(name, LONG if name == 'long' else DEFAULT)
    split = name if name in PROBES else 'train'
    for index in range(8):
        check_truth(draw_video(split, index, 2, profile))


def test_sentences_are_hard_and_of_all_kinds(videos):
    kinds, asks = [], []
    for video in videos:
        things = video.world.things
        for sentence, meant in sentences_of(video):
            parsed = grammar.parse(sentence.text)
            alike = [t for t in things if grammar.fits(parsed.look, t)]
            assert len(alike) >= 2
            same = [e for e in video.world.events if e.action == meant.action]
            assert len(same) >= 2
            if parsed.place or parsed.time:
                rivals = [e for e in same if things[e.tid] in alike]
                assert len(rivals) >= 2, 'the relation is not needed'
            asks.append(sentence.interrogative)
            kinds.append(sentence.statement.kind)
            # Questions hide a part of the look.
            look = sentence.statement.look
            assert not (asks[-1] and look.colour and look.shape)
        for entry in video.entries:
            texts = [entry.caption.text, *(q.text for q in entry.questions)]
            assert len(set(texts)) == len(texts) <= 3
            assert entry.related != entry.event.tid
    for kind, low, high in (
        ('basic', 0.38, 0.6),
        ('spatial', 0.15, 0.4),
        ('temporal', 0.15, 0.4),
    ):
        assert low < kinds.count(kind) / len(kinds) < high
    assert 0.48 < np.mean(asks) < 0.62


def mirror_event(event):
    sides = {'move_left': 'move_right', 'move_right': 'move_left'}
    return replace(event, action=sides.get(event.action, event.action))


def mirror(world):
    """The world as in a mirror."""
    turned = copy.deepcopy(world)
    for item in turned.things:
        item.centre[:, 0] = DEFAULT.side - item.centre[:, 0]
        item.angle *= -1
        item.events[:] = [mirror_event(e) for e in item.events]
    return turned


def test_a_mirrored_sentence_is_true_in_the_mirrored_video(videos):
    changed = 0
    for video in videos:
        world = mirror(video.world)
        for sentence, meant in sentences_of(video):
            text, event = swap(sentence.text), mirror_event(meant)
            changed += text != sentence.text
            assert swap(meant.action) == event.action
            parsed = grammar.parse(text)
            right = [
                other
                for item in world.things
                for other in item.events
                if grammar.truth(parsed, world, item, other) is not False
            ]
            assert right == [event], (sentence.text, text)
    assert changed > 20


def test_the_action_can_be_swapped_in_every_sentence(videos):
    swapper = ActionPhraseSwapper(list(ACTIONS))
    for video in videos:
        for sentence, meant in sentences_of(video):
            other = 'blink' if meant.action != 'blink' else 'spin'
            forbidden = set(ACTIONS) - {other}
            (text,) = swapper.swap(sentence.text, meant.action, forbidden)
            before = grammar.parse(sentence.text)
            # Only what the target does has changed.
            assert grammar.parse(text) == before._replace(action=other)


SAID = {
    'the tiny red circle moves left.': (
        Description('tiny', 'red', 'circle'),
        'move_left',
    ),
    'which red shape spins?': (Description(colour='red'), 'spin'),
    'what huge thing shrinks?': (Description('huge'), 'shrink'),
    'which circle left of the star grows?': (
        Description('plain', shape='circle'),
        'grow',
        Relation('left of', STAR),
    ),
    'what spins beside the star?': (
        Description(),
        'spin',
        Relation('beside', STAR),
    ),
    'the red circle spins after it blinks.': (
        Description(None, 'red', 'circle'),
        'spin',
        Relation('after', None, 'blink'),
    ),
    'what blinks before the star moves up?': (
        Description(),
        'blink',
        Relation('before', STAR, 'move_up'),
    ),
}


@pytest.mark.parametrize('text', SAID)
def test_saying(text):
    statement = Statement(*SAID[text])
    assert say(statement, interrogative=text.endswith('?')) == text
    grammar.parse(text)
    assert {verb_phrase(a): a for a in ACTIONS} == grammar.VERBS


@pytest.mark.parametrize(
    'word, yes, unclear, no',
    [
        ('beside', (34, 20), (38, 20), (48, 20)),
        ('far from', (58, 20), (50, 20), (40, 20)),
        ('left of', (26, 20), (23, 20), (20, 20)),
        ('right of', (14, 20), (18, 20), (20, 40)),
        ('above', (20, 26), (20, 22), (40, 10)),
        ('below', (20, 14), (20, 19), (20, 30)),
    ],
)
def test_places(word, yes, unclear, no):
    """The target is at (20, 20), both radii are 5."""
    target = thing(0, 'plain red circle', (20, 20), ('spin', 4, 12))
    for place, expected in ((yes, True), (unclear, None), (no, False)):
        other = thing(1, 'plain blue star', place, ('blink', 2, 9))
        judge = Judge(make_world(target, other))
        relation = Relation(word, STAR)
        assert judge.verdict(target.events[0], relation) is expected
        # Nothing is in a place relative to itself.
        assert judge.verdict(other.events[0], relation) is False


@pytest.mark.parametrize(
    'word, begin, end, expected',
    [
        ('after', 16, 22, True),
        ('after', 15, 22, None),
        ('after', 11, 22, None),
        ('after', 10, 22, False),
        ('before', 4, 10, True),
        ('before', 4, 11, None),
        ('before', 4, 16, False),
        ('before', 20, 26, False),
    ],
)
def test_times(word, begin, end, expected):
    """The other object spins in [10, 16)."""
    target = thing(0, 'plain red circle', (20, 20), ('blink', begin, end))
    other = thing(1, 'plain blue star', (40, 40), ('spin', 10, 16))
    judge = Judge(make_world(target, other))
    relation = Relation(word, STAR, 'spin')
    assert judge.verdict(target.events[0], relation) is expected
