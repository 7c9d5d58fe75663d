"""Which object a prediction follows, counted by hand."""

import math

import numpy as np
import pytest

from hero_mm.datasets.annotation import load_annotation
from hero_mm.evaluation import OtherTracks, selection_report
from hero_mm.evaluation.functional import format_selection

LEFT = [0.0, 0.0, 10.0, 10.0]
RIGHT = [20.0, 0.0, 30.0, 10.0]
FAR = [80.0, 80.0, 90.0, 90.0]


def make_truth(**more):
    boxes = dict.fromkeys(range(10), LEFT)
    return dict(span=[2, 6], segment=[0, 10], boxes=boxes, **more)


def make_guess(*boxes):
    """Boxes on the frames from 2 on; the span plays no part."""
    given = {2 + place: box for place, box in enumerate(boxes) if box}
    return dict(span=[0, 1], boxes=given)


def tracks(*boxes):
    return [dict.fromkeys(range(10), box) for box in boxes]


@pytest.mark.parametrize(
    ('boxes', 'others', 'picked', 'other'),
    [
        ([LEFT, [0, 0, 10, 5], RIGHT, FAR], tracks(RIGHT), 0.5, 0.25),
        # The nearer of two overlapping objects wins; a tie is not picked.
        (
            [[1, 0, 11, 10]] * 3 + [[3, 0, 13, 10]],
            tracks([4, 0, 14, 10]),
            0.75,
            0.25,
        ),
        ([LEFT] * 4, tracks(LEFT), 0, 1),
        # IoU 0.1 exactly is not enough, more is.
        ([[0, 0, 10, 1]] * 4, [], 0, 0),
        ([[0, 0, 10, 1.1]] * 4, [], 1, 0),
        ([[20, 0, 30, 1]] * 4, tracks(RIGHT), 0, 0),
        ([[20, 0, 30, 1.1]] * 4, tracks(RIGHT), 0, 1),
        # The best of several, one that is absent on some frames.
        ([RIGHT] * 4, tracks(FAR, RIGHT), 0, 1),
        ([RIGHT] * 4, [(np.array([5, 4]), np.array([RIGHT] * 2))], 0, 0.5),
        ([], tracks(RIGHT), 0, 0),
        # Between given frames boxes are interpolated.
        ([LEFT, None, None, LEFT, FAR], [], 1, 0),
    ],
)
def test_shares_of_frames(boxes, others, picked, other):
    found = selection_report(
        {'q': make_truth()}, {'q': make_guess(*boxes)}, {'q': others}
    )
    assert (found['picked'], found['other']) == (picked, other)
    assert found['nothing'] == 1 - picked - other
    assert found['picked_queries'] == (picked > 0.5)
    assert math.isnan(found['picked_iou']) == (picked == 0)


def test_means_by_sentence_type():
    truths = {
        'a': make_truth(query_type='declarative'),
        'b': make_truth(query_type='declarative'),
        'c': make_truth(query_type='interrogative'),
        'd': make_truth(query_type='interrogative'),
    }
    guesses = {
        'a': make_guess(LEFT, LEFT, LEFT, FAR),
        'b': make_guess(*[[0, 0, 10, 5]] * 2, FAR, FAR),
        'c': make_guess(*[RIGHT] * 4),
    }
    summary = selection_report(truths, guesses, {'c': tracks(RIGHT)})
    assert summary['picked'] == pytest.approx((0.75 + 0.5) / 4)
    assert summary['declarative/picked'] == pytest.approx(0.625)
    # Half of the frames is not more than half.
    assert summary['declarative/picked_queries'] == 0.5
    # Queries that never picked it have no say in the overlap.
    assert summary['picked_iou'] == pytest.approx(0.75)
    assert summary['interrogative/other'] == 0.5
    assert math.isnan(summary['interrogative/picked_iou'])
    rows = format_selection(summary).split('\n')
    assert rows[-1].split()[:3] == ['interrogative', '0.00', '50.00']


def test_errors_name_the_query():
    truths = {'q': make_truth()}
    guess = make_guess(*[LEFT] * 4)
    with pytest.raises(ValueError, match="distractor of query 'q'"):
        selection_report(truths, {'q': guess}, {'q': [{3: [0, 0, 1]}]})
    with pytest.raises(ValueError, match="prediction of query 'q'"):
        selection_report(truths, {'q': dict(span=[3, 1], boxes={})}, {})


def test_other_tracks_of_an_annotation(tiny_annotation):
    annotation = load_annotation(tiny_annotation)
    others = OtherTracks(annotation)
    assert list(others) == ['a', 'b'] and len(others) == 2
    assert 'a' in others and 'z' not in others
    ((frames, boxes),) = others['a']
    assert frames.tolist() == [2, 3, 4, 5]
    assert boxes.tolist() == [[50, 10, 70, 30]] * 4
