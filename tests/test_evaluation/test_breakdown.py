"""Scores of groups of queries."""

import numpy as np
import pytest

from hero_mm.datasets.query_traits import QueryTraits
from hero_mm.evaluation.breakdown import (
    Grouping,
    group_by_name,
    group_by_value,
    group_scores,
    standard_groupings,
)
from hero_mm.evaluation.functional import TubeScores, get_protocol


def make_scores(viou, protocol='tubedetr'):
    """Scores with a tIoU of half and a gt_vIoU of twice the vIoU."""
    viou = np.array(viou, dtype=np.float64)
    names = [str(place) for place in range(len(viou))]
    rows = viou / 2, viou, np.minimum(2 * viou, 1)
    types = [None] * len(viou)
    return TubeScores(get_protocol(protocol), names, types, *rows)


def make_traits(count=3, **changes):
    """Queries that differ in nothing but what is changed."""
    fields = dict(
        query_ids=[str(place) for place in range(count)],
        video_ids=['v'] * count,
        texts=['a dog runs'] * count,
        types=['declarative'] * count,
        categories=['dog'] * count,
        predicates=['run'] * count,
        span_seconds=np.full(count, 2.0),
        segment_seconds=np.full(count, 15.0),
        video_seconds=np.full(count, 15.0),
        area=np.full(count, 0.1),
        boxes=np.full(count, 10),
        frames=np.full(count, 10),
    )
    return QueryTraits(**{**fields, **changes})


def test_a_value_on_an_edge_belongs_above_it():
    values = np.array([0.99, 1.0, 2.99, 50])
    found = group_by_value('length', values, (1.0, 3.0, 9.0), 's')
    # The group without a query is left out.
    assert found.names == ['under 1 s', '1 to 3 s', '9 s or more']
    assert found.group.tolist() == [0, 1, 1, 2]


@pytest.mark.parametrize(
    ('names', 'most', 'shown', 'group'),
    [
        # Equally frequent names stand in the order of the alphabet.
        ('bacac', 9, ['a', 'c', 'b'], [2, 0, 1, 0, 1]),
        (['a', 'a', 'b', 'b', 'c', ''], 3, ['a', 'b', '2 others'], None),
        (['b', ''], 2, ['(none)', 'b'], [1, 0]),
    ],
)
def test_names(names, most, shown, group):
    found = group_by_name('object', names, most)
    assert found.names == shown
    assert found.group.tolist() == (group or [0, 0, 1, 1, 2, 2])


def test_means_by_hand():
    grouping = Grouping('x', ['even', 'odd'], np.array([0, 1, 0]))
    even, odd = group_scores(make_scores([0.2, 0.4, 0.6]), grouping)
    assert (*even[:2], odd[1]) == ('even', 2, 1)
    assert even[2] == pytest.approx(
        {
            'm_tIoU': 0.2,
            'm_vIoU': 0.4,
            'vIoU@0.3': 0.5,
            'vIoU@0.5': 0.5,
            'gt_m_vIoU': 0.7,
            'gt_vIoU@0.3': 1.0,
            'gt_vIoU@0.5': 0.5,
        }
    )
    assert odd[2]['m_vIoU'] == pytest.approx(0.4)


def test_standard_groupings():
    traits = make_traits(
        segment_seconds=np.array([15.0, 15.0, 5.0]),
        area=np.array([0.005, 0.01, 0.6]),
    )
    found = {part.title: part for part in standard_groupings(traits)}
    assert list(found) == [
        'sentence',
        'length of the true span',
        'size of the object',
        'category of the object',
        'predicate',
        'length of the video',
        'length of the searched part',
    ]
    sizes = found['size of the object']
    assert sizes.names[1] == '1 to 5 % of the picture'
    assert sizes.group.tolist() == [0, 1, 2]
    # What no query has, and segments that are the whole video.
    traits = make_traits(predicates=[''] * 3, categories=[''] * 3)
    assert len(standard_groupings(traits)) == 4
