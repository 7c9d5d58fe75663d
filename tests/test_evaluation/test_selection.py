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


def make_truth(box=LEFT, **more):
    boxes = dict.fromkeys(range(10), box)
    return dict(span=[2, 6], segment=[0, 10], boxes=boxes, **more)


def make_guess(*boxes):
    """One box on each of the frames 2, 3, 4, 5."""
    return dict(span=[0, 1], boxes=dict(zip(range(2, 6), boxes)))


def report(guess, others=(), truth=None):
    selection = selection_report(
        {'q': truth or make_truth()}, {'q': guess}, {'q': others}
    )
    return selection.records()['q']


def test_shares_of_frames():
    guess = make_guess(LEFT, [0, 0, 10, 5], RIGHT, FAR)
    result = report(guess, [dict.fromkeys(range(10), RIGHT)])
    # The predicted span [0, 1) plays no part.
    assert result == dict(picked=0.5, other=0.25, nothing=0.25, iou=0.75)


def test_the_nearer_of_two_overlapping_objects_wins():
    other = [4.0, 0.0, 14.0, 10.0]
    others = [dict.fromkeys(range(10), other)]
    true_side, other_side = [1, 0, 11, 10], [3, 0, 13, 10]
    result = report(
        make_guess(true_side, true_side, true_side, other_side), others
    )
    assert (result['picked'], result['other']) == (0.75, 0.25)


def test_a_tie_is_not_picked():
    result = report(make_guess(*[LEFT] * 4), [dict.fromkeys(range(10), LEFT)])
    assert (result['picked'], result['other']) == (0, 1)


def test_touching_little_is_nothing():
    # IoU 0.1 exactly is not enough, more is.
    assert report(make_guess(*[[0, 0, 10, 1]] * 4))['nothing'] == 1
    assert report(make_guess(*[[0, 0, 10, 1.1]] * 4))['picked'] == 1


def test_another_object_is_touched_little():
    others = [dict.fromkeys(range(10), RIGHT)]
    # IoU 0.1 exactly is not enough here either.
    assert report(make_guess(*[[20, 0, 30, 1]] * 4), others)['nothing'] == 1
    assert report(make_guess(*[[20, 0, 30, 1.1]] * 4), others)['other'] == 1


def test_more_than_half_of_the_frames_is_enough():
    # 11 frames of 20.
    truth = dict(
        span=[0, 20], segment=[0, 20], boxes=dict.fromkeys(range(20), LEFT)
    )
    boxes = {frame: LEFT if frame < 11 else FAR for frame in range(20)}
    selection = selection_report(
        {'q': truth}, {'q': dict(span=[0, 1], boxes=boxes)}, {}
    )
    assert selection.summary()['picked'] == 0.55
    assert selection.summary()['picked_queries'] == 1


def test_other_object_is_absent_on_some_frames():
    guess = make_guess(*[RIGHT] * 4)
    frames = np.array([5, 4])
    result = report(guess, [(frames, np.array([RIGHT, RIGHT]))])
    assert (result['other'], result['nothing']) == (0.5, 0.5)


def test_best_of_several_others():
    others = [dict.fromkeys(range(10), FAR), dict.fromkeys(range(10), RIGHT)]
    assert report(make_guess(*[RIGHT] * 4), others)['other'] == 1
    assert report(make_guess(*[FAR] * 4), others)['other'] == 1


def test_boxes_are_interpolated():
    guess = dict(span=[0, 1], boxes={0: LEFT, 9: LEFT})
    assert report(guess)['picked'] == 1


def test_frames_outside_the_true_span_do_not_count():
    guess = dict(span=[0, 1], boxes=dict.fromkeys((0, 1, 6, 7, 8, 9), FAR))
    guess['boxes'].update(dict.fromkeys(range(2, 6), LEFT))
    assert report(guess)['picked'] == 1


def test_nothing_predicted():
    for predictions in ({}, {'q': dict(span=[0, 1], boxes={})}):
        selection = selection_report({'q': make_truth()}, predictions, {})
        result = selection.records()['q']
        assert (result['picked'], result['other']) == (0, 0)
        assert result['nothing'] == 1
        assert math.isnan(result['iou'])


def test_means_by_sentence_type():
    truths = {
        'a': make_truth(query_type='declarative'),
        'b': make_truth(query_type='declarative'),
        'c': make_truth(query_type='interrogative'),
    }
    guesses = {
        'a': make_guess(LEFT, LEFT, LEFT, FAR),
        'b': make_guess(*[[0, 0, 10, 5]] * 2, FAR, FAR),
        'c': make_guess(*[RIGHT] * 4),
    }
    others = {'c': [dict.fromkeys(range(10), RIGHT)]}
    selection = selection_report(truths, guesses, others)
    summary = selection.summary()
    assert summary['picked'] == pytest.approx((0.75 + 0.5) / 3)
    assert summary['declarative/picked'] == pytest.approx(0.625)
    # Half of the frames is not more than half.
    assert summary['declarative/picked_queries'] == 0.5
    # Queries that never picked it have no say in the overlap.
    assert summary['picked_iou'] == pytest.approx(0.75)
    assert summary['interrogative/other'] == 1
    assert math.isnan(summary['interrogative/picked_iou'])
    for prefix in ('', 'declarative/', 'interrogative/'):
        parts = ('picked', 'other', 'nothing')
        assert sum(summary[prefix + part] for part in parts) == 1
    rows = format_selection(selection).split('\n')
    assert rows[-1].split()[:4] == ['interrogative', '1', '0.00', '100.00']


def test_errors_name_the_query():
    with pytest.raises(ValueError, match='no ground truth'):
        selection_report({}, {}, {})
    with pytest.raises(TypeError, match='predictions must be a mapping'):
        selection_report({'q': make_truth()}, ['q'], {})
    with pytest.raises(ValueError, match="distractor of query 'q'"):
        report(make_guess(*[LEFT] * 4), [{3: [0, 0, 1]}])
    with pytest.raises(ValueError, match="prediction of query 'q'"):
        report(dict(span=[3, 1], boxes={}))


def test_other_tracks_of_an_annotation(tiny_annotation):
    annotation = load_annotation(tiny_annotation)
    others = OtherTracks(annotation)
    assert list(others) == ['a', 'b'] and len(others) == 2
    assert 'a' in others and 'z' not in others
    ((frames, boxes),) = others['a']
    assert frames.tolist() == [2, 3, 4, 5]
    assert boxes.tolist() == [[50, 10, 70, 30]] * 4
    # "a" follows the cup of "b".
    guesses = {
        'a': dict(span=[2, 6], boxes={0: [50, 10, 70, 30]}),
        'b': dict(span=[4, 8], boxes={0: [50, 10, 70, 30]}),
    }
    summary = selection_report(
        annotation.ground_truths(), guesses, others
    ).summary()
    assert summary['declarative/other'] == 1
    assert summary['interrogative/picked'] == 1
