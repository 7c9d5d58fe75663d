"""Predictions are scored with the annotation that they were made for."""

import warnings

import numpy as np
import pytest

from hero_mm.datasets.annotation import GroundingAnnotation
from hero_mm.evaluation import check_match

NUMBERS = [str(number) for number in range(9)]


@pytest.fixture
def annotation():
    queries = [dict(query_id=number) for number in NUMBERS]
    clip = dict(video_id='v', segment=[0, 9], queries=queries)
    about = dict(dataset='hcstvg-v2', split='val', query_ids='official')
    return GroundingAnnotation(about, {}, [clip], 'val.json')


def check(annotation, predictions=NUMBERS, force=False, **metainfo):
    items = dict.fromkeys(predictions)
    check_match('p.json', items, metainfo, annotation, force)


def test_what_is_alike_or_not_given(annotation):
    check(annotation, split='val', model='x', query_ids=None)
    check(annotation, dataset='HC-STVG_v2', split='Val', query_ids='official')
    annotation.metainfo.clear()
    check(annotation, dataset='vidstg', split='test', query_ids='tubedetr')


@pytest.mark.parametrize(
    ('metainfo', 'found'),
    [
        (dict(dataset='hcstvg'), "data set 'hcstvg' and 'hcstvg-v2'"),
        (dict(split='test'), "split 'test' and 'val'"),
        (dict(query_ids='tubedetr'), "query ids 'tubedetr' and 'official'"),
        (dict(split=1, dataset='x'), "data set 'x' and .*, split 1 and 'val'"),
    ],
)
def test_what_differs_is_named(annotation, metainfo, found):
    with pytest.raises(ValueError, match=found) as error:
        check(annotation, **metainfo)
    assert 'p.json and val.json do not belong' in str(error.value)
    check(annotation, force=True, **metainfo)


def test_not_one_query_in_common(annotation):
    found = r"its 7 queries \('a', .*, \.\.\.\) is in val.json \('0', '1'"
    for force in (False, True):
        with pytest.raises(ValueError, match=found):
            check(annotation, 'abcdefg', force)
    check(annotation, 'a8')
    # Nothing predicted is nothing right, and counted as missing.
    check(annotation, '')


# Clips of a split whose segments differ, and those of three sentences each
# whose ids were counted in another order than the clips stand.
SEGMENTS = [(0, 90), (30, 200), (10, 60), (300, 380), (0, 40), (120, 700)]
IDS = [
    [0, 3, 12],
    [1, 2, 4],
    [5, 7, 6],
    [8, 13, 11],
    [9, 10, 14],
    [15, 16, 17],
]


def split_of(segments=SEGMENTS):
    clips = [
        dict(
            video_id=f'v{(5 * place) % 6}',
            segment=segment,
            queries=[
                dict(query_id=str(number), type=kind, text=f'{number}')
                for number, kind in zip(ids, ('declarative', *['interr'] * 2))
            ],
        )
        for place, (segment, ids) in enumerate(zip(segments, IDS))
    ]
    return GroundingAnnotation({}, {}, clips, 'val.json')


def dense(annotation, ids=lambda place, number: number, frames=np.arange):
    """Predictions for all, under other ids; a box on each native frame."""
    return {
        str(ids(place, int(query['query_id']))): dict(
            boxes=(frames(*clip['segment']), None)
        )
        for place, (clip, query) in enumerate(
            (clip, query)
            for clip in annotation.data_list
            for query in clip['queries']
        )
    }


def inner(start, end):
    """Inside a predicted span alone."""
    return np.arange(start, end)[(end - start) // 2 :][:20]


def grid(start, end):
    """The frames of a sampled grid."""
    return np.arange(start, end, 6)


def doubt(predictions, annotation):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        check_match('p.json', predictions, {}, annotation)
    return ' '.join(str(one.message) for one in caught)


def by(annotation, key):
    """Ids counted in an order of the queries, by place in the file."""
    queries = [
        (clip['video_id'], query['type'], int(query['query_id']))
        for clip in annotation.data_list
        for query in clip['queries']
    ]
    ranked = sorted(queries, key=lambda query: (query[key], query[2]))
    return lambda place, number: ranked.index(queries[place])


@pytest.mark.parametrize('frames', [np.arange, inner, grid])
@pytest.mark.parametrize(
    ('count', 'named'),
    [
        (lambda annotation: lambda place, number: number + 1, 'from 1 inst'),
        # Going on after a file of 13.
        (lambda annotation: lambda place, number: number + 13, 'from 13 inst'),
        (lambda annotation: lambda place, number: place, 'clip by clip'),
        (lambda annotation: by(annotation, 0), 'video by video'),
        (lambda annotation: by(annotation, 1), 'one type after the other'),
    ],
    ids=['from 1', 'from 13', 'by clip', 'by video', 'by type'],
)
def test_ids_that_are_counted_another_way(count, named, frames):
    annotation = split_of()
    predictions = dense(annotation, count(annotation), frames)
    said = doubt(predictions, annotation)
    given = sum(
        set(predictions[query['query_id']]['boxes'][0])
        <= set(range(*clip['segment']))
        for clip in annotation.data_list
        for query in clip['queries']
        if query['query_id'] in predictions
    )
    assert ' of 18 predictions have their boxes' in said and named in said
    assert 'and 18 would have if query ids were counted' in said
    if frames is inner:
        assert f'{given} of 18 predictions have their boxes inside' in said
    # Those that say their sentence are compared by that alone.
    for item in predictions.values():
        item['text'] = 'another'
    with pytest.raises(ValueError, match='another video or sentence'):
        doubt(predictions, annotation)


@pytest.mark.parametrize('frames', [np.arange, inner, grid])
def test_right_ids_are_not_doubted(frames):
    annotation = split_of()
    predictions = dense(annotation, frames=frames)
    assert not doubt(predictions, annotation)
    # Some are missing, some have boxes elsewhere, as models do.
    predictions.pop('0'), predictions.pop('17')
    predictions['8']['boxes'] = (np.arange(3), None)
    predictions['2']['boxes'] = {}
    assert not doubt(predictions, annotation)
    # Segments that are alike say nothing but how many there are.
    alike = split_of([(0, 40)] * 6)
    assert not doubt(dense(alike, by(alike, 0), frames), alike)
    shifted = dense(alike, lambda place, number: number + 1, frames)
    assert '17 of 18 predictions' in doubt(shifted, alike)
