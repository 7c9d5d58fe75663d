"""What is lost in time and what in space."""

import pytest

from hero_mm.evaluation import score_tubes, split_errors
from hero_mm.evaluation.error_split import lost_points

BOX, HALF, AWAY = [0, 0, 4, 4], [0, 0, 4, 2], [50, 50, 60, 60]
LENGTH = 20


def truth(start, end):
    """With five frames a second each but the last frame counts."""
    boxes = dict.fromkeys(range(start, end + 1), BOX)
    segment = [0, LENGTH]
    return dict(span=[start, end], segment=segment, fps=5, boxes=boxes)


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


def test_parts_are_replaced_by_the_truth(three):
    split = split_errors(*three)
    assert {k: part.viou.tolist() for k, part in split.rows().items()} == {
        'as predicted': [0.25, 1, 0],
        'with the true span': [0.5, 1, 0],
        'with the true boxes': [0.5, 1, 0],
        'with both': [1, 1, 1],
    }
    assert split.true_span.tiou.tolist() == [1, 1, 1]
    assert split.true_boxes.gt_viou.tolist() == [1, 1, 1]
    assert split.predicted.summary() == score_tubes(*three).summary()
    assert lost_points(split, 'm_vIoU') == pytest.approx(
        dict(time=0.25 / 3, space=0.25 / 3, together=1 - 1.25 / 3)
    )
    # The span is not used by this one.
    lost = lost_points(split_errors(*three, 'vid_sentence'), 'acc@0.5')
    assert lost == pytest.approx(dict(time=0, space=1 / 3, together=1 / 3))


def test_every_part_is_scored_as_chosen(three):
    truths, _ = three
    guesses = {key: dict(span=[0, 4], boxes={0: BOX}) for key in truths}
    for choice, share in ((None, 1), (False, 0.25)):
        split = split_errors(truths, guesses, 'stcat', interpolate=choice)
        for part in split.rows().values():
            assert part.protocol.interpolate is (choice is None)
        assert split.predicted.viou.tolist() == [0, share, share]
    # On HC-STVG stcat ends at the last frame: 7 of 8 frames count.
    split = split_errors(truths, guesses, 'stcat', 'hcstvg')
    assert split.both.viou.tolist() == [7 / 8, 3 / 4, 3 / 4]


def test_what_is_right(three):
    truths, guesses = three
    # tIoU 0.5 and gt_vIoU 0.5 are not right: the threshold is strict.
    shares = split_errors(truths, guesses).right_shares()
    assert shares[True, True] == pytest.approx(1 / 3)
    assert shares[False, False] == pytest.approx(2 / 3)
    guesses['a'] = guess(4, 9, HALF)
    guesses['c'] = guess(10, 14, BOX)
    shares = split_errors(truths, guesses).right_shares()
    assert shares[True, False] == shares[False, True] == pytest.approx(1 / 3)


def test_missing_and_unknown_predictions(three):
    truths, guesses = three
    guesses['z'] = guesses.pop('b')
    with pytest.warns(UserWarning, match="1 of 3.*'z'") as told:
        split = split_errors(truths, guesses)
    assert len(told) == 1
    # A part of the truth gains nothing where nothing is predicted.
    vious = [part.viou[1] for part in split.rows().values()]
    assert vious == [0, 0, 0, 1]
    with pytest.raises(ValueError, match="'b'"):
        split_errors(truths, guesses, strict=True)
