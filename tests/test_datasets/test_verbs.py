"""Another verb in a sentence whose action nobody annotated."""

import json

import numpy as np
import pytest

from hero_mm.datasets.verb_table import ROWS
from hero_mm.datasets.verbs import find_verbs, swap_verb, verbs_in


def _main(sentence):
    matches = find_verbs(sentence)
    if not matches:
        return None
    first = matches[0]
    return sentence[first.start : first.end], first.form, first.frame


@pytest.mark.parametrize(
    ('sentence', 'found', 'form', 'frame'),
    [
        ('The man in black turns around and walks.', 'turns', 's', 'go'),
        ('The man walks to the door.', 'walks', 's', 'go'),
        (
            'The girl on the left sits down, then waves.',
            'sits down',
            's',
            'be',
        ),
        ('The man picks up the cup.', 'picks up', 's', 'act'),
        ('A woman opens the door.', 'opens', 's', 'act'),
        ('The woman looks at her.', 'looks at', 's', 'act'),
        ('The woman looks down at the boy.', 'looks down at', 's', 'act'),
        ('The boy speaks to the woman.', 'speaks to', 's', 'act'),
        ('The boy looks to the left.', 'looks', 's', 'be'),
        ('The men shake hands with him.', 'shake hands with', 'base', 'act'),
        ('A dog is slowly eating grass.', 'eating', 'ing', 'act'),
        ('A dog is running on grass.', 'running', 'ing', 'go'),
        ('The boy is caught by the man.', 'caught', 'participle', 'act'),
        ('He shook her arm.', 'shook', 'past', 'act'),
        ('A dog running on the road', 'running', 'ing', 'go'),
        # What tells who is meant is not what happens.
        ('The man holding the bag sits.', 'sits', 's', 'be'),
        ('The sitting woman gets up.', 'gets up', 's', 'be'),
        ('A man who wears a hat is running.', 'running', 'ing', 'go'),
        ('who is watching the ball?', 'watching', 'ing', 'act'),
        ('what carries the man?', 'carries', 's', 'act'),
        ('The man to be seen walks.', 'walks', 's', 'go'),
        # Nouns that look like verbs.
        ('The man with big hands runs.', 'runs', 's', 'go'),
        ('The man takes a few steps, then turns.', 'turns', 's', 'go'),
        ('The man shakes hands, then runs.', 'shakes', 's', 'act'),
        ('The man on the left jumps.', 'jumps', 's', 'go'),
    ],
)
def test_main_verb(sentence, found, form, frame):
    assert _main(sentence) == (found, form, frame)


@pytest.mark.parametrize(
    'sentence',
    [
        'A red car in the distance.',
        'The man in his long coat.',
        'the hands of the clock',
        'Walks.',
        '',
    ],
)
def test_no_verb(sentence):
    assert find_verbs(sentence) == []
    assert swap_verb(sentence, count=3) == []


def test_a_purpose_comes_after_what_happens():
    matches = find_verbs('The woman turns to look at him and goes forward.')
    assert [match.verb for match in matches] == ['turn', 'go', 'look']
    assert [match.rank for match in matches] == [0, 0, 2]


def test_all_verbs_of_a_sentence():
    text = 'The sitting man picks up the cup and is KICKING a ball'
    assert verbs_in(text) == {'sit', 'pick', 'kick'}
    assert verbs_in('The man on the left') == set()


def _made(sentence, forbidden=(), counts=None):
    made = set()
    for seed in range(40):
        np.random.seed(seed)
        made.update(swap_verb(sentence, forbidden, 3, counts))
    return made


def test_the_inflection_and_the_rest_stay():
    assert 'A dog crawls away.' in _made('A dog turns away.')
    assert 'A dog is crawling away.' in _made('A dog is turning away.')
    assert 'He hits the cup and sits.' in _made('He takes the cup and sits.')
    assert 'She kicks him.' in _made('She looks up at him.')
    assert 'He was bitten by it.' in _made('He was caught by it.')


def test_what_goes_along_with_anything_is_never_put_in():
    quiet = {'look', 'stand', 'turn', 'walk', 'go', 'come', 'speak', 'hold'}
    quiet |= {'take', 'put', 'sit', 'lie'}
    choices = {v for _, chosen, _ in ROWS for v in chosen.split()}
    assert choices.isdisjoint(quiet)
    for text in ('He turns.', 'He sits.', 'He takes it.', 'He talks to it.'):
        assert len(_made(text)) > 1
        assert verbs_in(' '.join(_made(text))) & quiet <= verbs_in(text)


def test_what_a_sentence_of_the_video_says_is_never_put_in():
    text = 'The man takes the cup, then eats.'
    made = verbs_in(' '.join(_made(text)))
    assert {'hug', 'kick', 'hit', 'wash', 'throw'} <= made
    # Eating may be told as biting, taking as pulling.
    assert made.isdisjoint({'bite', 'lick', 'drag', 'pull'})
    made = verbs_in(' '.join(_made(text, ['stroke', 'fight', 'nothing'])))
    assert made.isdisjoint({'kiss', 'hug', 'kick', 'hit', 'push'})
    assert 'wash' in made


def test_verbs_are_drawn_as_often_as_they_are_said():
    counts = dict(kick=90, wash=10, kiss=0, dance=500)
    np.random.seed(0)
    drawn = [swap_verb('He takes it.', counts=counts)[0] for _ in range(300)]
    assert set(drawn) == {'He kicks it.', 'He washes it.'}
    assert 240 < drawn.count('He kicks it.') < 295
    made = swap_verb('He takes it.', count=9, counts=counts)
    assert sorted(made) == sorted(set(drawn))


def test_the_next_verb_where_nothing_is_left_for_the_first():
    made = _made('He turns and takes it.', counts=dict(kick=1))
    assert made == {'He turns and kicks it.'}
    assert not _made('He turns and takes it.', ['hit'], dict(kick=1))


def test_every_verb_that_is_put_in_is_found_again():
    for kind, chosen, _ in ROWS:
        for verb in chosen.split():
            tail = ' a cup.' if kind == 'do' else '.'
            matches = find_verbs(f'The man can {verb}{tail}')
            assert [match.verb for match in matches] == [verb]


@pytest.mark.parametrize('split', ['val', 'test'])
def test_captions_of_vidstg(shared_data, split):
    """Without their predicates, as TubeDETR's files have them."""
    path = shared_data / 'vidstg_official' / f'{split}_annotations.json'
    captions = [
        caption['description']
        for entry in json.loads(path.read_bytes())
        for caption in entry['captions']
        if '_' not in entry['used_relation']['predicate']
    ]
    rows = [{*chosen.split(), *told.split()} for _, chosen, told in ROWS]
    made = 0
    for caption in captions:
        told = verbs_in(caption)
        for text in swap_verb(caption, count=2):
            made += 1
            new = verbs_in(text) - told
            assert new and not any(row & new and row & told for row in rows)
    assert made > len(captions)
