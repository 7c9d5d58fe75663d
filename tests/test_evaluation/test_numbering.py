"""Query ids that are counted another way are found by frames of boxes."""

import warnings

import numpy as np
import pytest

from hero_mm.datasets.annotation import GroundingAnnotation
from hero_mm.evaluation import check_match

# Clips of a split whose segments differ, and those of three sentences each
# whose ids were counted in another order than the clips stand.
SEGMENTS = [(0, 90), (30, 200), (10, 60), (300, 380), (0, 40), (120, 700)]
IDS = [(0, 3, 12), (1, 2, 4), (5, 7, 6), (8, 13, 11), (9, 10, 14)]
IDS += [(15, 16, 17)]


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


def queries_of(annotation):
    return [
        (clip['video_id'], query['type'], int(query['query_id']), clip)
        for clip in annotation.data_list
        for query in clip['queries']
    ]


def dense(annotation, ids, frames=np.arange):
    """Predictions for all, under other ids; a box on each native frame."""
    return {
        str(new): dict(boxes=(frames(*clip['segment']), None))
        for new, (*_, clip) in zip(ids, queries_of(annotation))
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


def ranks(annotation, key):
    """Ids counted in an order of the queries, by place in the file."""
    found = [(query[key], query[2]) for query in queries_of(annotation)]
    return [sorted(found).index(one) for one in found]


RIGHT = [number for ids in IDS for number in ids]


@pytest.mark.parametrize('frames', [np.arange, inner, grid])
@pytest.mark.parametrize(
    ('ids', 'named'),
    [
        ([number + 1 for number in RIGHT], 'from 1 inst'),
        # Going on after a file of 13.
        ([number + 13 for number in RIGHT], 'from 13 inst'),
        (range(18), 'clip by clip'),
        (ranks(split_of(), 0), 'video by video'),
        (ranks(split_of(), 1), 'one type after the other'),
    ],
    ids=['from 1', 'from 13', 'by clip', 'by video', 'by type'],
)
def test_ids_that_are_counted_another_way(ids, named, frames):
    annotation = split_of()
    predictions = dense(annotation, ids, frames)
    said = doubt(predictions, annotation)
    assert ' of 18 predictions have their boxes' in said and named in said
    assert 'and 18 would have if query ids were counted' in said
    if frames is inner:
        given = sum(
            set(predictions[str(number)]['boxes'][0])
            <= set(range(*clip['segment']))
            for *_, number, clip in queries_of(annotation)
            if str(number) in predictions
        )
        assert f'{given} of 18 predictions have their boxes inside' in said
    # Those that say their sentence are compared by that alone.
    for item in predictions.values():
        item['text'] = 'another'
    with pytest.raises(ValueError, match='another video or sentence'):
        doubt(predictions, annotation)


@pytest.mark.parametrize('frames', [np.arange, inner, grid])
def test_right_ids_are_not_doubted(frames):
    annotation = split_of()
    predictions = dense(annotation, RIGHT, frames)
    assert not doubt(predictions, annotation)
    # Some are missing, some have boxes elsewhere, as models do.
    predictions.pop('0'), predictions.pop('17')
    predictions['8']['boxes'] = (np.arange(3), None)
    predictions['2']['boxes'] = {}
    assert not doubt(predictions, annotation)
    # Segments that are alike say nothing but how many there are.
    alike = split_of([(0, 40)] * 6)
    assert not doubt(dense(alike, ranks(alike, 0), frames), alike)
    shifted = dense(alike, [number + 1 for number in RIGHT], frames)
    assert '17 of 18 predictions' in doubt(shifted, alike)
