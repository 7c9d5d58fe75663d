"""Scores of groups of queries."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hero_mm.datasets.query_traits import QueryTraits
from hero_mm.evaluation.breakdown import (
    Grouping,
    group_by_name,
    group_by_value,
    group_scores,
    standard_groupings,
)
from hero_mm.evaluation.functional import TubeScores, get_protocol

KINDS = ('declarative', 'interrogative')


def make_scores(viou, protocol='tubedetr', types=None):
    """Scores with a tIoU of half and a gt_vIoU of twice the vIoU."""
    viou = np.array(viou, dtype=np.float64)
    count = len(viou)
    return TubeScores(
        protocol=get_protocol(protocol),
        query_ids=[str(place) for place in range(count)],
        query_types=list(types or [None] * count),
        tiou=viou / 2,
        viou=viou,
        gt_viou=np.minimum(2 * viou, 1),
        missing=[],
        unknown=[],
    )


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


class TestByValue:
    def test_a_value_on_an_edge_belongs_above_it(self):
        values = np.array([0.99, 1.0, 2.99, 3.0, 50])
        found = group_by_value('length', values, (1.0, 3.0), 's')
        assert found.names == ['under 1 s', '1 to 3 s', '3 s or more']
        assert found.group.tolist() == [0, 1, 1, 2, 2]

    def test_empty_groups_are_left_out(self):
        found = group_by_value('x', np.array([5.0, 0.5, 5.0]), (1, 2, 3), '%')
        assert found.names == ['under 1 %', '3 % or more']
        assert found.group.tolist() == [1, 0, 1]


class TestByName:
    def test_the_most_frequent_comes_first(self):
        found = group_by_name('object', ['b', 'a', 'c', 'a', 'c'])
        # Equally frequent names stand in the order of the alphabet.
        assert found.names == ['a', 'c', 'b']
        assert found.group.tolist() == [2, 0, 1, 0, 1]

    def test_the_rarest_share_a_group(self):
        names = ['a'] * 3 + ['b'] * 2 + ['c', 'd', '']
        found = group_by_name('object', names, most=3)
        assert found.names == ['a', 'b', '3 others']
        assert found.group.tolist() == [0] * 3 + [1] * 2 + [2] * 3

    def test_as_many_as_allowed_stand_alone(self):
        found = group_by_name('object', ['a', 'b', ''], most=3)
        assert sorted(found.names) == ['(none)', 'a', 'b']


class TestScores:
    def test_means_by_hand(self):
        scores = make_scores([0.2, 0.4, 0.6])
        grouping = Grouping('x', ['even', 'odd'], np.array([0, 1, 0]))
        even, odd = group_scores(scores, grouping)
        assert (even.name, even.count) == ('even', 2)
        assert even.scores == pytest.approx(
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
        assert (odd.count, odd.scores['m_vIoU']) == (1, pytest.approx(0.4))

    def test_accuracies_of_vid_sentence(self):
        scores = make_scores([0.2, 0.25, 0.3], 'vid_sentence')
        (all_of_it,) = group_scores(
            scores, Grouping('x', ['all'], np.zeros(3, np.int64))
        )
        # Mean overlaps 0.4, 0.5, 0.6, each just enough for a threshold.
        assert all_of_it.scores == pytest.approx(
            {
                'acc@0.4': 1.0,
                'acc@0.5': 2 / 3,
                'acc@0.6': 1 / 3,
                'acc_avg': 2 / 3,
            }
        )

    def test_groups_by_type_are_those_of_the_summary(self):
        types = [KINDS[0], KINDS[1], KINDS[0]]
        scores = make_scores([0.1, 0.5, 0.7], types=types)
        summary = scores.summary()
        for part in group_scores(scores, group_by_name('type', types)):
            for key, value in part.scores.items():
                assert summary[f'{part.name}/{key}'] == pytest.approx(value)

    def test_scores_of_other_queries_are_refused(self):
        grouping = Grouping('length', ['all'], np.zeros(2, np.int64))
        with pytest.raises(ValueError, match='3 queries.*2 .*length'):
            group_scores(make_scores([0, 0, 0]), grouping)


class TestStandard:
    def test_all_that_is_told(self):
        traits = make_traits(segment_seconds=np.array([15.0, 15.0, 5.0]))
        assert [found.title for found in standard_groupings(traits)] == [
            'sentence',
            'length of the true span',
            'size of the object',
            'category of the object',
            'predicate',
            'length of the video',
            'length of the searched part',
        ]

    def test_what_no_query_tells_is_left_out(self):
        traits = make_traits(predicates=[''] * 3, categories=[''] * 3)
        titles = [found.title for found in standard_groupings(traits)]
        assert titles == [
            'sentence',
            'length of the true span',
            'size of the object',
            'length of the video',
        ]

    def test_sizes_are_in_percent_of_the_picture(self):
        traits = make_traits(area=np.array([0.005, 0.01, 0.6]))
        (sizes,) = (
            found
            for found in standard_groupings(traits)
            if found.title == 'size of the object'
        )
        assert sizes.names == [
            'under 1 % of the picture',
            '1 to 5 % of the picture',
            '50 % of the picture or more',
        ]
        assert sizes.group.tolist() == [0, 1, 2]


QUERIES = st.lists(
    st.tuples(
        st.floats(0, 1),
        st.sampled_from(['', 'a', 'b', 'c', 'd', 'e']),
        st.floats(0, 100),
    ),
    min_size=1,
    max_size=30,
)


@given(queries=QUERIES, most=st.integers(1, 6))
@settings(max_examples=100, deadline=None)
def test_groups_partition_the_queries(queries, most):
    viou, names, values = zip(*queries)
    scores = make_scores(viou)
    summary = scores.summary()
    for grouping in (
        group_by_name('name', names, most),
        group_by_value('value', np.array(values), (1, 10, 50), 's'),
    ):
        parts = group_scores(scores, grouping)
        assert len(parts) == len(set(grouping.names)) == len(grouping.names)
        assert all(part.count > 0 for part in parts)
        assert sum(part.count for part in parts) == len(queries)
        for key in scores.columns():
            total = sum(part.count * part.scores[key] for part in parts)
            assert total / len(queries) == pytest.approx(summary[key])
    assert len(group_by_name('name', names, most).names) <= most
