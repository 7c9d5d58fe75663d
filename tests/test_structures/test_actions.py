"""Of which clips and objects the actions of captions may be true."""

import zlib

import pytest
import torch
from mmengine.structures import InstanceData

from hero_mm.structures import GroundingDataSample
from hero_mm.structures.actions import (
    action_numbers,
    true_in_clip,
    true_of_query,
    true_of_tracks,
)

NONE = object()


def clip(*predicates, video=NONE, tracks=NONE, targets=NONE):
    """A clip with a query a predicate."""
    sample = GroundingDataSample()
    sample.queries = InstanceData(predicates=list(predicates))
    if video is not NONE:
        sample.set_metainfo(dict(video_predicates=video))
    if tracks is not NONE:
        sample.gt_tracks = InstanceData(predicates=tracks)
    if targets is not NONE:
        sample.gt_queries = InstanceData(track_index=torch.tensor(targets))
    return sample


def numbers(*names):
    return torch.tensor([zlib.crc32(name.encode()) for name in names])


def names_of(table, names):
    """The captions that are true, by name, a column each."""
    return [
        [name for name, is_true in zip(names, column) if is_true]
        for column in table.t().tolist()
    ]


def test_numbers_are_alike_in_all_processes_and_unknown_ones_are_not(
    monkeypatch,
):
    samples = [clip('kick', '', ''), clip('', 'kick', 'hold')]
    got = action_numbers(samples)
    assert got.dtype == torch.int64 and got.shape == (6,)
    assert got[[0, 4, 5]].tolist() == numbers('kick', 'kick', 'hold').tolist()
    assert got[1] == got[2] != got[3] and (got[1:4] < 0).all()
    monkeypatch.setattr('hero_mm.structures.actions.get_rank', lambda: 3)
    there = action_numbers(samples)
    assert there[[0, 4, 5]].tolist() == got[[0, 4, 5]].tolist()
    assert set(there[1:4].tolist()).isdisjoint(got.tolist())
    assert action_numbers([]).shape == (0,)


def test_true_in_clip():
    samples = [
        clip('kick', video=['kick', 'watch']),
        clip('hold', 'watch'),
        clip('hold', video=['hold']),
    ]
    names = ['kick', 'watch', 'hold', 'ride']
    table = true_in_clip(numbers(*names), samples)
    assert table.dtype == torch.bool and table.shape == (4, 3)
    assert names_of(table, names) == [
        ['kick', 'watch'],
        # Nobody says what else is true: that of its own sentences is.
        ['watch', 'hold'],
        ['hold'],
    ]


def test_an_unknown_action_is_true_in_its_own_clip_alone(monkeypatch):
    samples = [clip('', video=['kick']), clip('', ''), clip('kick')]
    own = action_numbers(samples)
    table = true_in_clip(own, samples).tolist()
    assert table == [
        [True, False, False],
        [False, True, False],
        [False, True, False],
        [True, False, True],
    ]
    monkeypatch.setattr('hero_mm.structures.actions.get_rank', lambda: 1)
    assert not true_in_clip(own[:3], samples).any()
    assert true_in_clip(own[3:], samples).tolist() == [[True, False, True]]


def test_true_of_query():
    samples = [
        clip(
            'kick',
            'hold',
            'watch',
            video=['carry', 'hold', 'kick', 'watch'],
            tracks=[['kick', 'watch'], ['carry', 'hold'], []],
            targets=[0, 1, 2],
        ),
        clip('ride', tracks=[['kick']], targets=[-1]),
        clip('ride', tracks=[['kick']]),
        clip('ride', targets=[0]),
        clip('ride'),
    ]
    names = ['kick', 'watch', 'hold', 'carry', 'ride', 'hug']
    table = true_of_query(numbers(*names), samples)
    assert table.dtype == torch.bool and table.shape == (6, 7)
    assert names_of(table, names) == [
        ['kick', 'watch'],
        ['hold', 'carry'],
        ['watch'],  # Its own, where its track has none.
        *[['ride']] * 4,
    ]


def test_unknown_actions_of_queries(monkeypatch):
    samples = [
        clip('', 'kick', tracks=[['kick', 'hug']], targets=[0, 0]),
        clip(''),
    ]
    own = action_numbers(samples)
    # It may be what any sentence of its clip says, and no other's.
    assert true_of_query(own, samples).tolist() == [
        [True, True, False],
        [True, True, False],
        [False, False, True],
    ]
    assert true_of_query(numbers('hug'), samples).tolist() == [
        [True, True, False]
    ]
    monkeypatch.setattr('hero_mm.structures.actions.get_rank', lambda: 1)
    other = true_of_query(own, samples)
    assert other.tolist() == [[False] * 3, [True, True, False], [False] * 3]


def scene(*queries, video, categories):
    """A clip with (text, predicate, category) a query."""
    texts, predicates, named = zip(*queries)
    sample = clip(*predicates, video=video, tracks=[[]] * len(categories))
    sample.queries.texts = list(texts)
    sample.queries.categories = list(named)
    sample.gt_tracks.categories = list(categories)
    return sample


def test_true_of_tracks():
    samples = [
        scene(
            ('the dog runs.', 'run', 'dog'),
            # It does not say what it is.
            ('what runs?', 'run', 'dog'),
            ('the hotdog of somebody runs', 'run', 'dog'),
            ('the Sports ball rolls', 'roll', 'sports_ball'),
            ('the dog does something', '', 'dog'),
            video=['run', 'roll'],
            categories=['dog', 'sports_ball'],
        ),
        scene(
            ('the cat runs.', 'run', 'cat'),
            video=['run'],
            categories=['cat', 'dog', ''],
        ),
    ]
    table = true_of_tracks(samples, 4)
    assert table.dtype == torch.bool and table.shape == (6, 2, 4)
    everything = [[1, 1, 0, 0], [1, 1, 1, 0]]
    assert table.int().tolist() == [
        [[1, 0, 0, 0], [0, 1, 1, 0]],
        everything,
        everything,
        # Nothing rolls in the other video.
        [[0, 1, 0, 0], [0, 0, 0, 0]],
        # What nobody annotated may be true anywhere.
        [[1, 0, 0, 0], [0, 1, 1, 0]],
        [[0, 0, 0, 0], [1, 0, 1, 0]],
    ]


@pytest.mark.parametrize('ask', [true_in_clip, true_of_query])
def test_nothing_asked_and_nothing_there(ask):
    assert ask(numbers(), [clip('kick')]).shape == (0, 1)
    assert ask(numbers('kick'), []).shape == (1, 0)
    assert not ask(numbers('ride', 'hug'), [clip('kick')]).any()


def test_objects_without_a_category_may_be_any():
    sample = clip('run', tracks=[[], []])
    sample.queries.texts = ['the dog runs']
    sample.queries.categories = ['dog']
    assert true_of_tracks([sample], 2).tolist() == [[[True, True]]]
