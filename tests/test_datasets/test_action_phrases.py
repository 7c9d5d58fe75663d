"""Sentences that differ in the action alone, and what may be true."""

import json

import numpy as np
import pytest

from hero_mm.datasets.action_phrases import (
    PLACES,
    find_phrase,
    other_actions,
    said_alike,
    swap_action,
    true_actions,
)
from hero_mm.datasets.inflection import inflect
from hero_mm.datasets.tracks import Track, VideoInfo
from hero_mm.datasets.transforms import SwapActionPhrase

PREDICATES = [
    *['watch', 'ride', 'hug', 'carry', 'hold', 'lean_on', 'move_left'],
    *['move_right', 'above', 'beneath', 'next_to', 'behind', 'spin'],
]


@pytest.mark.parametrize(
    ('sentence', 'predicate', 'found', 'form'),
    [
        ('the child is watching the ball.', 'watch', 'watching', 'ing'),
        ('Who Watches it?', 'watch', 'Watches', 's'),
        ('the watchman sleeps', 'watch', None, None),
        ('a dog moves right', 'move_left', None, None),
        ('a boy in blue', 'inside', None, None),
        ('a dog moves to the left.', 'move_left', 'moves to the left', 's'),
        ('what moves left after it?', 'move_left', 'moves left', 's'),
        ('he rode a bike', 'ride', 'rode', 'past'),
        ('what is held by him?', 'hold', 'held', 'participle'),
        ('he held it', 'hold', 'held', 'past'),
        ('they hold it', 'hold', 'hold', 'base'),
        ('a cat leans against a wall', 'lean_on', 'leans against', 's'),
        ('a girl is next to a boy', 'next_to', 'next to', 'place'),
        ('what is beneath the dog?', 'above', 'beneath', 'place'),
    ],
)
def test_find(sentence, predicate, found, form):
    place = find_phrase(sentence, predicate)
    if found is None:
        assert place is None
    else:
        start, end, inflection = place
        assert sentence[start:end] == found and inflection == form


def test_swap_keeps_the_rest_and_the_inflection():
    names = ['watch', 'ride', 'lean_on', 'hug']
    got = swap_action('the boy is watching it.', 'watch', names, count=9)
    assert sorted(got) == [
        'the boy is hugging it.',
        'the boy is leaning on it.',
        'the boy is riding it.',
    ]


def test_what_may_be_true_is_never_used():
    others = other_actions('watch', PREDICATES, ['ride', 'spin'])
    assert set(others) == {
        *['hug', 'carry', 'hold', 'lean_on', 'move_left', 'move_right']
    }
    # A hug may be told as holding.
    assert 'hold' not in other_actions('watch', PREDICATES, ['hug'])
    others = other_actions('above', PREDICATES)
    assert others == ['behind', 'beneath', 'next_to']
    assert swap_action('he spins', 'spin', PREDICATES, PREDICATES) == []
    # Told the other way round, the other way round is true.
    for _ in range(20):
        text = 'what is beneath the dog?'
        got = swap_action(text, 'above', PREDICATES, count=3)
        assert set(got) == {
            'what is next to the dog?',
            'what is behind the dog?',
        }


def test_transform():
    step = SwapActionPhrase(num_negatives=2)
    np.random.seed(0)
    results = step.transform(
        dict(
            predicates=['watch', 'ride', 'hug', 'carry', 'spin'],
            video_predicates=['spin'],
            queries=[
                dict(text='a dog is watching a cat', predicate='watch'),
                dict(text='who carries a cat?', predicate='carry'),
                dict(text='a dog sleeps', predicate='watch'),
                dict(text='a dog is watching a cat'),
            ],
        )
    )
    negatives = results['negative_texts']
    assert [len(texts) for texts in negatives] == [2, 2, 0, 0]
    assert set(negatives[0]) == {
        'a dog is riding a cat',
        'a dog is hugging a cat',
    }
    assert set(negatives[1]) == {'who rides a cat?', 'who hugs a cat?'}


def test_what_is_said_alike():
    names = ['hug', 'hold', 'ride', 'above', 'below', 'behind', 'next_to']
    alike = said_alike(names)
    assert set(alike) == set(names)
    # An embrace may be told as holding; both ways.
    assert alike['hug'] == alike['hold'] == {'hug', 'hold'}
    assert alike['ride'] == {'ride'}
    # Where a dog is above a sofa, something is beneath the dog, whether the
    # data set calls it beneath or below.
    assert alike['above'] == {'above', 'beneath', 'below'}
    assert alike['behind'] == {'behind', 'in_front_of'}
    assert alike['next_to'] == {'next_to'}


@pytest.mark.parametrize('split', ['val', 'test'])
def test_share_of_official_sentences(shared_data, split):
    folder = shared_data / 'vidstg_official'
    entries = json.loads((folder / f'{split}_annotations.json').read_bytes())
    names = [entry['used_relation']['predicate'] for entry in entries]
    pairs_of = {'verb': [], 'place': []}
    for entry, name in zip(entries, names):
        kind = 'place' if name in PLACES else 'verb'
        for sentence in entry['captions'] + entry['questions']:
            pairs_of[kind].append((sentence['description'], name))
    for pairs in pairs_of.values():
        found = [find_phrase(*pair) is not None for pair in pairs]
        assert len(found) > 3000 and np.mean(found) > 0.99


@pytest.mark.parametrize(
    ('verb', 'forms'),
    [
        ('watch', 'watch watches watching watched watched'),
        ('ride', 'ride rides riding rode ridden'),
        ('hug', 'hug hugs hugging hugged hugged'),
        ('carry', 'carry carries carrying carried carried'),
        ('play', 'play plays playing played played'),
        ('lie', 'lie lies lying lay lain'),
        ('free', 'free frees freeing freed freed'),
        ('go', 'go goes going went gone'),
        ('kneel', 'kneel kneels kneeling knelt knelt'),
        ('tear', 'tear tears tearing tore torn'),
        ('squat', 'squat squats squatting squatted squatted'),
        ('bow', 'bow bows bowing bowed bowed'),
    ],
)
def test_inflections(verb, forms):
    names = ('base', 's', 'ing', 'past', 'participle')
    assert [inflect(verb, name) for name in names] == forms.split()


def _video(name, predicates=(), **tracks):
    tracks = {
        track_id: Track.from_boxes('dog', [0], [[0, 0, 5, 5]], true)
        for track_id, true in tracks.items()
    }
    facts = (f'{name}.mp4', 9, 5.0, 64, 48)
    return VideoInfo(name, *facts, tracks, predicates=predicates)


def _clip(name, *said):
    queries = [
        dict(track_id=track_id, predicate=predicate)
        for track_id, predicate in said
    ]
    return dict(video_id=name, queries=queries)


def test_what_is_asked_annotated_or_said_alike_may_be_true():
    videos = dict(
        v=_video('v', ('kick',), a=('hug',), b=()),
        w=_video('w', a=('above',)),
    )
    data_list = [
        _clip('v', ('b', 'ride'), ('a', 'watch'), ('a', None)),
        _clip('v', ('b', 'spin')),
        _clip('w', ('a', 'hold'), ('a', '')),
    ]
    predicates, ((first, in_first), (_, in_second)) = true_actions(
        videos, data_list
    )
    # What may take the place of another: only what the data set has.
    names = ['above', 'hold', 'hug', 'kick', 'ride', 'spin', 'watch']
    assert predicates == names
    assert in_first == ['hold', 'hug', 'kick', 'ride', 'spin', 'watch']
    assert in_second == ['above', 'beneath', 'hold', 'hug']
    tracks = first.tracks
    assert tracks['a'].predicates == ('hold', 'hug', 'watch')
    assert tracks['b'].predicates == ('ride', 'spin')
    assert videos['v'].tracks['b'].predicates == ()
    assert tracks['b'].runs is videos['v'].tracks['b'].runs
