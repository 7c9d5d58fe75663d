"""What is lost in time and what in space."""

import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hero_mm.evaluation import score_tubes, split_errors
from hero_mm.evaluation.error_split import boxes_as_arrays, lost_points

BOX, HALF, AWAY = [0, 0, 4, 4], [0, 0, 4, 2], [50, 50, 60, 60]
LENGTH = 20
# vIoU can only rise by truth where the truth itself reaches 1.
RISING = ('tubedetr', 'hcstvg')


def truth(start, end):
    """With five frames a second each but the last frame counts."""
    return dict(
        span=[start, end],
        segment=[0, LENGTH],
        fps=5,
        query_type='declarative',
        boxes=dict.fromkeys(range(start, end + 1), BOX),
    )


def guess(start, end, box):
    return dict(span=[start, end], boxes=dict.fromkeys(range(LENGTH), box))


@pytest.fixture
def three():
    """Half wrong in time and space, right, all wrong."""
    truths = dict(a=truth(4, 12), b=truth(0, 4), c=truth(0, 4))
    guesses = dict(
        a=guess(4, 8, HALF), b=guess(0, 4, BOX), c=guess(10, 14, AWAY)
    )
    return truths, guesses


def viou_of(split):
    return {name: part.viou.tolist() for name, part in split.rows().items()}


def test_parts_are_replaced_by_the_truth(three):
    split = split_errors(*three)
    assert viou_of(split) == {
        'as predicted': [0.25, 1, 0],
        'with the true span': [0.5, 1, 0],
        'with the true boxes': [0.5, 1, 0],
        'with both': [1, 1, 1],
    }
    assert split.true_span.tiou.tolist() == [1, 1, 1]
    assert split.true_span.gt_viou.tolist() == [0.5, 1, 0]
    assert split.true_boxes.tiou.tolist() == [0.5, 1, 0]
    assert split.true_boxes.gt_viou.tolist() == [1, 1, 1]


def test_as_predicted_is_the_score_itself(three):
    split, scores = split_errors(*three), score_tubes(*three)
    assert split.predicted.summary() == scores.summary()


def test_every_part_is_scored_as_chosen(three):
    truths, _ = three
    guesses = {key: dict(span=[0, 4], boxes={0: BOX}) for key in truths}
    for choice, share in ((None, 1), (False, 0.25)):
        split = split_errors(truths, guesses, 'stcat', interpolate=choice)
        for part in split.rows().values():
            assert part.protocol.interpolate is (choice is None)
        assert split.predicted.viou.tolist() == [0, share, share]


def test_items_without_a_query(three):
    with pytest.raises(TypeError, match='predictions must be a mapping'):
        split_errors(three[0], ['a'])


def test_points_that_are_lost(three):
    lost = lost_points(split_errors(*three), 'm_vIoU')
    assert lost['time'] == pytest.approx(0.25 / 3)
    assert lost['space'] == pytest.approx(0.25 / 3)
    assert lost['together'] == pytest.approx(1 - 1.25 / 3)


def test_what_is_right(three):
    truths, guesses = three
    # tIoU 0.5 and gt_vIoU 0.5 are not right: the threshold is strict.
    shares = split_errors(truths, guesses).right_shares()
    assert shares[True, True] == pytest.approx(1 / 3)
    assert shares[False, False] == pytest.approx(2 / 3)
    guesses['a'] = guess(4, 9, HALF)
    guesses['c'] = guess(10, 14, BOX)
    shares = split_errors(truths, guesses).right_shares()
    assert shares == {
        (True, True): pytest.approx(1 / 3),
        (True, False): pytest.approx(1 / 3),
        (False, True): pytest.approx(1 / 3),
        (False, False): 0,
    }


def test_a_missing_prediction_gains_nothing_by_a_part(three):
    truths, guesses = three
    del guesses['b']
    with pytest.warns(UserWarning, match='1 of 3') as told:
        split = split_errors(truths, guesses)
    assert len(told) == 1
    assert [part[1] for part in viou_of(split).values()] == [0, 0, 0, 1]
    assert split.predicted.missing == ['b']
    with pytest.raises(ValueError, match="'b'"):
        split_errors(truths, guesses, strict=True)


def test_an_unknown_prediction_is_ignored(three):
    truths, guesses = three
    guesses['z'] = guess(0, 4, BOX)
    with pytest.warns(UserWarning, match="'z'"):
        split = split_errors(truths, guesses)
    assert split.predicted.unknown == ['z'] and len(split.both.viou) == 3


def test_the_ceiling_of_stcat_is_below_one():
    # It takes the end for the last frame, and cuts it at the segment's.
    split = split_errors(
        {'a': truth(16, LENGTH)}, {'a': guess(16, LENGTH, BOX)}, 'stcat'
    )
    assert split.both.tiou.tolist() == [0.75]
    assert split.both.viou.tolist() == [0.75]
    assert lost_points(split, 'm_vIoU')['together'] == 0


def test_the_variant_of_the_data_set_is_used():
    # On HC-STVG stcat ends at the last frame: 3 of 4 frames count.
    split = split_errors(
        {'a': truth(4, 8)}, {'a': guess(4, 8, BOX)}, 'stcat', 'hcstvg'
    )
    assert split.both.viou.tolist() == [0.75]


def test_accuracy_ignores_the_span(three):
    split = split_errors(*three, protocol='vid_sentence')
    assert lost_points(split, 'acc@0.5') == dict(
        time=0, space=pytest.approx(1 / 3), together=pytest.approx(1 / 3)
    )


def test_arrays_are_given_and_say_whose_boxes_are_wrong(three):
    truths, _ = three
    frames, boxes = boxes_as_arrays(truths, 'truth')['a']['boxes']
    assert frames.tolist() == list(range(4, 13)) and boxes.shape == (9, 4)
    assert truths['a']['boxes'][4] == BOX
    with pytest.raises(ValueError, match="truth of query 'x': no 'boxes'"):
        boxes_as_arrays({'x': dict(span=[0, 1])}, 'truth')
    with pytest.raises(ValueError, match="guess of query 'x'.*four numbers"):
        boxes_as_arrays({'x': dict(boxes={0: [1, 2, 3]})}, 'guess')


@st.composite
def pairs(draw):
    """A true tube and any prediction of it."""
    start = draw(st.integers(0, LENGTH - 2))
    end = draw(st.integers(start + 1, LENGTH))
    first = draw(st.integers(0, LENGTH - 1))
    stop = draw(st.integers(first, LENGTH))
    corner = st.integers(0, 6)
    boxes = {}
    for frame in draw(st.sets(st.integers(0, LENGTH - 1))):
        left, top = draw(corner), draw(corner)
        boxes[frame] = [left, top, left + draw(corner), top + draw(corner)]
    return truth(start, end), dict(span=[first, stop], boxes=boxes)


@given(items=st.lists(pairs(), min_size=1, max_size=4))
@settings(max_examples=150, deadline=None)
def test_truth_never_costs_and_both_is_the_ceiling(items):
    truths = {str(place): pair[0] for place, pair in enumerate(items)}
    guesses = {str(place): pair[1] for place, pair in enumerate(items)}
    for protocol in RISING:
        split = split_errors(truths, guesses, protocol)
        for part in (split.true_span, split.true_boxes):
            assert (part.viou >= split.predicted.viou - 1e-12).all()
            assert (part.viou <= split.both.viou + 1e-12).all()
        # Where no frame of the grid is in the true span, nothing counts.
        graded = split.both.gt_viou > 0
        assert (split.both.viou[graded] == 1).all()
        assert (split.both.tiou == 1).all()
        assert sum(split.right_shares().values()) == pytest.approx(1)


@given(pair=pairs())
@settings(max_examples=60, deadline=None)
def test_form_of_the_boxes_does_not_matter(pair):
    truths, guesses = {'q': pair[0]}, {'q': pair[1]}
    plain = split_errors(truths, guesses, 'stcat')
    arrays = split_errors(
        boxes_as_arrays(truths, 'truth'),
        boxes_as_arrays(guesses, 'guess'),
        'stcat',
    )
    assert viou_of(plain) == viou_of(arrays)


def test_nothing_is_told_twice_or_left_filtered(three):
    truths, guesses = three
    del guesses['a']
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        split_errors(truths, guesses)
        split_errors(truths, guesses)
    assert len(caught) == 2
