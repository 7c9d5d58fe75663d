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
from hero_mm.datasets.shapes.scene import ACTIONS, Look, World
from hero_mm.datasets.shapes.sentences import (
    choose_entries,
    draw_entries,
    hard_statements,
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


def test_a_place_counts_while_the_action_lasts():
    target = thing(0, 'plain red circle', (20, 20), ('spin', 4, 14))
    other = thing(1, 'plain blue star', (50, 20), ('blink', 2, 9))
    relation = Relation('beside', STAR)
    other.centre[4:14] = (30, 20)
    judge = Judge(make_world(target, other))
    assert judge.verdict(target.events[0], relation) is True
    # Beside one of two is unclear, too.
    judge = Judge(make_world(target, other, replace(other, tid=2)))
    assert judge.verdict(target.events[0], relation) is None
    other.centre[4:9] = (50, 20)
    judge = Judge(make_world(target, other))
    assert judge.verdict(target.events[0], relation) is None


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


def test_times_of_the_object_itself():
    one = thing(0, 'plain red star', (9, 9), ('spin', 1, 8), ('grow', 12, 20))
    two = thing(1, 'plain red star', (40, 9), ('grow', 2, 9), ('spin', 15, 22))
    three = thing(2, 'plain red star', (9, 40), ('grow', 9, 19))
    judge = Judge(make_world(one, two, three))
    after = Relation('after', None, 'spin')
    assert judge.verdict(one.events[1], after) is True
    assert judge.verdict(two.events[0], after) is False
    assert judge.verdict(three.events[0], after) is False
    found = list(hard_statements(judge, one.events[1]))
    assert Statement(STAR, 'grow', after) in found
    assert Statement(STAR, 'grow') not in found
    # Twice is unclear.
    one.events.insert(1, replace(one.events[0], begin=9, end=10))
    assert Judge(make_world(one)).verdict(one.events[2], after) is None


@pytest.mark.parametrize('rival_x, is_said', [(55, True), (38, False)])
def test_what_is_unclear_is_not_said(rival_x, is_said):
    """A rival that is nearly beside the square spoils the sentence."""
    target = thing(0, 'plain red star', (30, 20), ('spin', 4, 12))
    rival = thing(1, 'plain red star', (rival_x, 20), ('spin', 15, 25))
    other = thing(2, 'plain blue square', (20, 20), ('blink', 20, 27))
    judge = Judge(make_world(target, rival, other))
    beside = Relation('beside', Description(shape='square'))
    found = list(hard_statements(judge, target.events[0]))
    assert (Statement(STAR, 'spin', beside) in found) is is_said


def test_margins_grow_with_the_frame():
    """Beside: 5 pixels of 64 are 7.5 of 96."""
    for gap, beside in [(7.0, True), (8.0, None), (19.0, False)]:
        how = dict(radius=8.0, frames=96)
        one = still(0, 'plain red star', (20, 20), ('spin', 5, 20), **how)
        two = still(1, 'plain blue star', (20, 36 + gap), **how)
        rival = still(2, 'plain red star', (80, 80), ('spin', 5, 20), **how)
        world = World([one, two, rival], [0, 1, 2], None, 0, LONG)
        parsed = grammar.parse('the red star beside the blue star spins.')
        truth = grammar.truth(parsed, world, one, one.events[0])
        assert truth is beside
        said = hard_statements(Judge(world), one.events[0])
        words = {s.relation.word for s in said if s.relation}
        assert ('beside' in words) is (beside is True)


def test_what_is_hidden_is_not_referred_to():
    one = thing(0, 'plain red star', (9, 9), ('spin', 2, 9), ('grow', 20, 28))
    two = thing(1, 'plain red star', (40, 40), ('grow', 2, 9))
    world, seen = make_world(one, two), np.ones((2, 32))
    for is_shown in (True, False):
        said = hard_statements(Judge(world, seen), one.events[1])
        actions = {s.relation.action for s in said if s.relation}
        assert ('spin' in actions) is is_shown
        seen[0, 5:7] = 0


def test_what_is_not_worth_a_sentence():
    one = thing(0, 'plain red star', (9, 9), ('spin', 1, 8))
    two = thing(1, 'plain blue square', (40, 9), ('spin', 12, 18))
    said = hard_statements(Judge(make_world(one, two)), one.events[0])
    # "plain" is never named, so no part of the look fits the other as well.
    assert [s for s in said if s.kind == 'basic'] == []
    # The action of one object only.
    three = thing(1, 'plain red star', (40, 9), ('grow', 12, 18))
    judge = Judge(make_world(one, three))
    rng = np.random.default_rng(0)
    assert draw_entries(rng, judge, set(judge.events)) == []
    # What is no target.
    video = draw_video('train', 3, seed=2)
    event = video.entries[0].event
    judge = Judge(video.world)
    assert draw_entries(rng, judge, set()) == []
    assert [e.event for e in draw_entries(rng, judge, {event})] == [event]
    assert Description(colour='red').fits(Look('tiny', 'red', 'star'))
    assert not Description('tiny', 'red').fits(Look('plain', 'red', 'star'))


def test_an_order_in_time_is_chosen_last():
    drawn = [draw_video('train', index, seed=0) for index in range(20)]
    assert max(len(video.entries) for video in drawn) > 3
    for video in drawn:
        two = choose_entries(video.entries[::-1], 2)
        assert all(e.caption.statement.kind != 'temporal' for e in two)
        begins = [entry.event.begin for entry in two]
        assert begins == sorted(begins)
        # Of four at most one names an order.
        kinds = [e.caption.statement.kind for e in video.entries]
        orders = kinds.count('temporal')
        four = choose_entries(video.entries, 4)
        assert len(four) == min(len(kinds) - orders + min(orders, 1), 4)
