"""Sentences of the benchmark: true once, hard, and sound when mirrored."""

import copy
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from test_datasets import shapes_grammar as grammar
from test_datasets.shapes_things import check_truth, sentences_of, still

from hero_mm.datasets.action_phrases import ActionPhraseSwapper
from hero_mm.datasets.shapes.meaning import (
    Description,
    Judge,
    Relation,
    Statement,
)
from hero_mm.datasets.shapes.profiles import DEFAULT
from hero_mm.datasets.shapes.scene import ACTIONS, Look, World
from hero_mm.datasets.shapes.sentences import (
    choose_entries,
    draw_entries,
    hard_statements,
    noun_phrase,
    say,
    verb_phrase,
)
from hero_mm.datasets.shapes.video import draw_video
from hero_mm.datasets.sides import swap_sides as swap

SIDE = DEFAULT.side
thing = partial(still, radius=5.0)


@pytest.fixture(scope='module')
def videos():
    return [draw_video('test', index, seed=1) for index in range(60)]


def make_world(*things):
    return World(list(things), list(range(len(things))), None, 0)


def test_every_sentence_is_true_for_one_event_only(videos):
    for video in videos:
        check_truth(video)


def test_neither_look_nor_action_is_enough(videos):
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


def test_kinds_and_types_have_their_shares(videos):
    sentences = [
        sentence for video in videos for sentence, _ in sentences_of(video)
    ]
    kinds = [sentence.statement.kind for sentence in sentences]
    shares = {kind: kinds.count(kind) / len(kinds) for kind in set(kinds)}
    assert 0.38 < shares['basic'] < 0.6
    assert 0.15 < shares['spatial'] < 0.4
    assert 0.15 < shares['temporal'] < 0.4
    asks = np.mean([sentence.interrogative for sentence in sentences])
    assert 0.48 < asks < 0.62


def test_the_vocabulary_is_small(videos):
    words = {
        word
        for video in videos
        for sentence, _ in sentences_of(video)
        for word in sentence.text[:-1].split()
    }
    assert 30 < len(words) < 50
    assert {'tiny', 'huge', 'beside', 'after', 'it', 'far'} <= words


def test_an_entry_has_its_own_sentences(videos):
    for video in videos:
        assert 1 <= len(video.entries) <= 3
        events = [entry.event for entry in video.entries]
        assert len(set(events)) == len(events)
        for entry in video.entries:
            assert len(entry.questions) <= 2
            assert not entry.caption.interrogative
            texts = [entry.caption.text, *(q.text for q in entry.questions)]
            assert len(set(texts)) == len(texts)
            assert entry.related != entry.event.tid
            assert entry.related in range(len(video.world.things))
            relation = entry.caption.statement.relation
            if entry.caption.statement.kind == 'spatial':
                other = video.world.things[entry.related]
                assert relation.object.fits(other.look)


def test_questions_hide_a_part_of_the_look(videos):
    for video in videos:
        for sentence, _ in sentences_of(video):
            look = sentence.statement.look
            if sentence.interrogative:
                assert not (look.colour and look.shape)
            else:
                assert look.shape


def mirror(world):
    """The world as in a mirror."""
    turned = copy.deepcopy(world)
    for thing_ in turned.things:
        thing_.centre[:, 0] = SIDE - thing_.centre[:, 0]
        thing_.angle *= -1
        thing_.events[:] = [mirror_event(e) for e in thing_.events]
    return turned


def mirror_event(event):
    sides = {'move_left': 'move_right', 'move_right': 'move_left'}
    return replace(event, action=sides.get(event.action, event.action))


def test_a_mirrored_sentence_is_true_in_the_mirrored_video(videos):
    changed = wrong = 0
    for video in videos:
        world = mirror(video.world)
        for sentence, meant in sentences_of(video):
            text, event = swap(sentence.text), mirror_event(meant)
            changed += text != sentence.text
            if ' left' in sentence.text and 'right' not in sentence.text:
                as_before = grammar.parse(sentence.text)
                thing_ = world.things[event.tid]
                verdict = grammar.truth(as_before, world, thing_, event)
                wrong += verdict is False
            assert swap(meant.action) == event.action
            parsed = grammar.parse(text)
            right = [
                other
                for thing_ in world.things
                for other in thing_.events
                if grammar.truth(parsed, world, thing_, other) is not False
            ]
            assert right == [event], (sentence.text, text)
    # Words must be swapped: else most of them are wrong in the mirror.
    assert changed > 20 and wrong > 10


def test_the_action_can_be_swapped_in_every_sentence(videos):
    swapper = ActionPhraseSwapper(list(ACTIONS))
    for video in videos:
        for sentence, meant in sentences_of(video):
            other = 'blink' if meant.action != 'blink' else 'spin'
            forbidden = set(ACTIONS) - {other}
            (text,) = swapper.swap(sentence.text, meant.action, forbidden)
            before = grammar.parse(sentence.text)
            after = grammar.parse(text)
            # Only what the target does has changed.
            assert after.action == other
            assert after == before._replace(action=other)


def test_verb_phrases():
    assert verb_phrase('move_left') == 'moves left'
    assert verb_phrase('spin') == 'spins'
    assert {verb_phrase(a): a for a in ACTIONS} == grammar.VERBS


def test_noun_phrases():
    look = Description('huge', 'red', 'star')
    assert noun_phrase(look, 'thing') == 'huge red star'
    assert noun_phrase(Description('plain', 'red'), 'shape') == 'red shape'
    assert noun_phrase(Description('tiny'), 'thing') == 'tiny thing'


SAID = [
    (
        Statement(Description('tiny', 'red', 'circle'), 'move_left'),
        'the tiny red circle moves left.',
        None,
    ),
    (
        Statement(Description(colour='red'), 'spin'),
        None,
        'which red shape spins?',
    ),
    (
        Statement(Description(size='huge'), 'shrink'),
        None,
        'what huge thing shrinks?',
    ),
    (
        Statement(
            Description(shape='circle'),
            'grow',
            Relation('left of', Description('huge', None, 'star')),
        ),
        'the circle left of the huge star grows.',
        'which circle left of the huge star grows?',
    ),
    (
        Statement(
            Description(),
            'spin',
            Relation('beside', Description(None, 'blue', 'square')),
        ),
        None,
        'what spins beside the blue square?',
    ),
    (
        Statement(
            Description(None, 'red', 'circle'),
            'spin',
            Relation('after', None, 'blink'),
        ),
        'the red circle spins after it blinks.',
        None,
    ),
    (
        Statement(
            Description(),
            'blink',
            Relation('before', Description(None, None, 'star'), 'move_up'),
        ),
        None,
        'what blinks before the star moves up?',
    ),
]


@pytest.mark.parametrize('statement, caption, question', SAID)
def test_saying(statement, caption, question):
    if caption:
        assert say(statement, interrogative=False) == caption
        grammar.parse(caption)
    if question:
        assert say(statement, interrogative=True) == question
        grammar.parse(question)


def test_a_description_fits():
    look = Look('plain', 'red', 'star')
    assert Description().fits(look)
    assert Description('plain', 'red', 'star').fits(look)
    assert not Description('tiny').fits(look)
    assert not Description(colour='blue', shape='star').fits(look)


@pytest.mark.parametrize(
    'word, place, expected',
    [
        ('beside', (34, 20), True),
        ('beside', (38, 20), None),
        ('beside', (48, 20), False),
        ('far from', (58, 20), True),
        ('far from', (50, 20), None),
        ('far from', (40, 20), False),
        ('left of', (26, 20), True),
        ('left of', (23, 20), None),
        ('left of', (20, 20), False),
        ('right of', (14, 20), True),
        ('right of', (18, 20), None),
        ('right of', (20, 40), False),
        ('above', (20, 26), True),
        ('above', (20, 22), None),
        ('above', (40, 10), False),
        ('below', (20, 14), True),
        ('below', (20, 19), None),
        ('below', (20, 30), False),
    ],
)
def test_places(word, place, expected):
    """The target is at (20, 20), both radii are 5."""
    target = thing(0, 'plain red circle', (20, 20), ('spin', 4, 12))
    other = thing(1, 'plain blue star', place, ('blink', 2, 9))
    judge = Judge(make_world(target, other))
    relation = Relation(word, Description(None, None, 'star'))
    assert judge.verdict(target.events[0], relation) is expected
    # Nothing is in a place relative to itself.
    assert judge.verdict(other.events[0], relation) is False


def test_a_place_counts_while_the_action_lasts():
    target = thing(0, 'plain red circle', (20, 20), ('spin', 4, 14))
    other = thing(1, 'plain blue star', (50, 20), ('blink', 2, 9))
    other.centre[4:14] = (30, 20)
    relation = Relation('beside', Description(None, None, 'star'))
    judge = Judge(make_world(target, other))
    assert judge.verdict(target.events[0], relation) is True
    other.centre[4:9] = (50, 20)
    judge = Judge(make_world(target, other))
    assert judge.verdict(target.events[0], relation) is None


def test_a_place_beside_one_of_two_is_unclear():
    target = thing(0, 'plain red circle', (20, 20), ('spin', 4, 12))
    stars = [
        thing(i, 'plain blue star', (30, 20 * i), ('blink', 2, 9))
        for i in (1, 2)
    ]
    relation = Relation('beside', Description(None, None, 'star'))
    judge = Judge(make_world(target, *stars))
    assert judge.verdict(target.events[0], relation) is None


@pytest.mark.parametrize(
    'word, begin, end, expected',
    [
        ('after', 16, 22, True),
        ('after', 15, 22, None),
        ('after', 11, 22, None),
        ('after', 10, 22, False),
        ('after', 2, 8, False),
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
    relation = Relation(word, Description(None, None, 'star'), 'spin')
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
    star = Description(shape='star')
    assert Statement(star, 'grow', after) in found
    assert Statement(star, 'grow') not in found


def test_it_twice_is_unclear():
    one = thing(
        0,
        'plain red star',
        (9, 9),
        ('spin', 0, 6),
        ('spin', 9, 15),
        ('grow', 20, 26),
    )
    judge = Judge(make_world(one))
    relation = Relation('after', None, 'spin')
    assert judge.verdict(one.events[2], relation) is None


def test_what_is_unclear_is_not_said():
    """A rival that is nearly beside the square spoils the sentence."""

    def statements(rival_x):
        target = thing(0, 'plain red star', (30, 20), ('spin', 4, 12))
        rival = thing(1, 'plain red star', (rival_x, 20), ('spin', 15, 25))
        other = thing(2, 'plain blue square', (20, 20), ('blink', 20, 27))
        judge = Judge(make_world(target, rival, other))
        return list(hard_statements(judge, target.events[0]))

    said = Statement(
        Description(shape='star'),
        'spin',
        Relation('beside', Description(shape='square')),
    )
    assert said in statements(55)
    assert said not in statements(38)
    assert said not in statements(31)


def test_a_unique_look_is_not_worth_a_sentence():
    one = thing(0, 'plain red star', (9, 9), ('spin', 1, 8))
    two = thing(1, 'plain blue square', (40, 9), ('spin', 12, 18))
    judge = Judge(make_world(one, two))
    plain = [
        statement
        for statement in hard_statements(judge, one.events[0])
        if statement.kind == 'basic'
    ]
    # "plain" is never told, so no part of the look fits the other as well.
    assert plain == []


def test_an_action_of_one_object_only_is_not_asked_for():
    one = thing(0, 'plain red star', (9, 9), ('spin', 1, 8))
    two = thing(1, 'plain red star', (40, 9), ('grow', 12, 18))
    judge = Judge(make_world(one, two))
    visible = set(judge.events)
    assert draw_entries(np.random.default_rng(0), judge, visible) == []


def test_hidden_events_are_not_told():
    video = draw_video('train', 3, seed=2)
    judge = Judge(video.world)
    rng = np.random.default_rng(0)
    assert draw_entries(rng, judge, set()) == []
    event = video.entries[0].event
    (entry,) = draw_entries(rng, judge, {event})
    assert entry.event == event


def test_training_videos_are_told_more_about():
    learned = [draw_video('train', index, seed=0) for index in range(20)]
    tested = [draw_video('test', index, seed=0) for index in range(20)]
    numbers = [[len(v.entries) for v in part] for part in (learned, tested)]
    assert 3 < max(numbers[0]) <= 6 and max(numbers[1]) == 3
    assert np.mean(numbers[0]) > np.mean(numbers[1]) + 1
    for video in tested:
        kinds = [e.caption.statement.kind for e in video.entries]
        assert kinds.count('temporal') <= 1


def test_an_order_in_time_is_chosen_last():
    videos = [draw_video('train', index, seed=0) for index in range(20)]
    for video in videos:
        two = choose_entries(video.entries[::-1], 2)
        assert all(e.caption.statement.kind != 'temporal' for e in two)
        begins = [entry.event.begin for entry in two]
        assert begins == sorted(begins)
        assert choose_entries(video.entries, 0) == []
        # Of four at most one tells an order.
        kinds = [e.caption.statement.kind for e in video.entries]
        orders = kinds.count('temporal')
        four = choose_entries(video.entries, 4)
        assert len(four) == min(len(kinds) - orders + min(orders, 1), 4)
