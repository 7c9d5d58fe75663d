"""Figures of a split, computed by hand."""

import math
from functools import partial

import pytest
from test_datasets import shapes_things

from hero_mm.datasets.shapes.meaning import Description, Relation
from hero_mm.datasets.shapes.statistics import describe

make_question = partial(shapes_things.make_question, 2)


def test_lengths_and_cover():
    found = describe(
        [make_question(), make_question(vid='2', answer=(0, (0, 32)))]
    )
    assert found['sentences'] == 2
    assert found['sentences a video'] == 1
    assert found['objects a video'] == 3
    assert found["answer's share of the clip"] == pytest.approx(24 / 64)
    cover = 'share of the clip in which some object does the action'
    assert found[cover] == pytest.approx(24 / 64)
    assert found['sentences for which that is half of the clip or more'] == 0
    found = describe([make_question(events=[(0, 'spin', (0, 32))])])
    assert found['sentences for which that is half of the clip or more'] == 1


@pytest.mark.parametrize(
    'gone, hidden',
    [
        # Sampled are 1, 3, 5, ...
        ((), False),
        (range(10, 13), False),
        (range(11, 14), True),
        ((11, 13), True),
        ((10, 12, 14), False),
        # It was never seen before, or is not seen again.
        (range(0, 20), False),
        (range(40, 64), False),
    ],
)
def test_hidden(gone, hidden):
    found = describe([make_question(gone, answer=(2, (24, 30)))])
    share = found['objects hidden for two sampled frames or more']
    assert share == pytest.approx(hidden / 3)
    assert found['sentences whose target is one of them'] == hidden


def test_a_video_counts_once():
    asked = [make_question(range(10, 20)), make_question(range(10, 20))]
    found = describe([*asked, make_question(vid='2')])
    share = found['objects hidden for two sampled frames or more']
    assert share == pytest.approx(1 / 6)
    assert found['sentences a video'] == pytest.approx(1.5)
    # The target of all three is another object.
    assert found['sentences whose target is one of them'] == 0


@pytest.mark.parametrize(
    'answer, eight, sixteen',
    [
        ((0, 16), 0, 0),
        ((0, 17), 1, 0),
        ((15, 33), 1, 1),
        ((16, 32), 0, 0),
        ((31, 33), 1, 1),
    ],
)
def test_borders(answer, eight, sixteen):
    found = describe([make_question(answer=(0, answer))])
    assert found['answers across a border of windows of 8'] == eight
    assert found['answers across a border of windows of 16'] == sixteen
    # No sentence tells an order.
    assert math.isnan(found['orders in time apart in windows of 8'])


def test_orders():
    itself = Relation('before', None, 'grow')
    other = Relation('before', Description(colour='blue'), 'spin')
    for relation, eight, sixteen in [(itself, 1, 1), (other, 0, 0)]:
        found = describe([make_question(relation=relation)])
        assert found['orders in time apart in windows of 8'] == eight
        assert found['orders in time apart in windows of 16'] == sixteen
    # A place is no order.
    beside = Relation('beside', Description(colour='blue'))
    found = describe([make_question(relation=beside)])
    assert math.isnan(found['orders in time apart in windows of 16'])
