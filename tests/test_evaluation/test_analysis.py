"""Groups of queries, errors in time and space, two predictions."""

import numpy as np
import pytest

from hero_mm.datasets.query_traits import QueryTraits
from hero_mm.evaluation import compare_scores, score_tubes, split_errors
from hero_mm.evaluation.analysis import (
    Grouping,
    group_by_name,
    group_by_value,
    group_scores,
    item_differences,
    standard_groupings,
)
from hero_mm.evaluation.functional import TubeScores, get_protocol


def make_scores(viou, protocol='tubedetr', gt_viou=None):
    """Scores with a tIoU of half the vIoU."""
    viou = np.array(viou, dtype=np.float64)
    rows = viou / 2, viou, viou if gt_viou is None else np.array(gt_viou)
    names = [str(place) for place in range(len(viou))]
    return TubeScores(get_protocol(protocol), names, [None] * len(viou), *rows)


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
        ([*'aabbc', ''], 3, ['a', 'b', '2 others'], [0, 0, 1, 1, 2, 2]),
        (['b', ''], 2, ['(none)', 'b'], [1, 0]),
    ],
)
def test_names(names, most, shown, group):
    found = group_by_name('object', names, most)
    assert found.names == shown and found.group.tolist() == group


def test_means_of_groups():
    grouping = Grouping('x', ['even', 'odd'], np.array([0, 1, 0]))
    scores = make_scores([0.2, 0.4, 0.6], gt_viou=[0.4, 0.8, 1])
    (*even, means), (*odd, of_odd) = group_scores(scores, grouping)
    assert (even, odd) == (['even', 2], ['odd', 1])
    assert list(means) == list(scores.columns())
    values = [0.2, 0.4, 0.5, 0.5, 0.7, 1.0, 0.5]
    assert list(means.values()) == pytest.approx(values)
    assert of_odd['m_vIoU'] == pytest.approx(0.4)


def test_standard_groupings():
    words = dict.fromkeys(('query_ids', 'video_ids', 'texts', 'types'), 'abc')
    fields = dict(
        words,
        categories=['dog'] * 3,
        predicates=['run'] * 3,
        span_seconds=np.full(3, 2.0),
        segment_seconds=np.array([15.0, 15.0, 5.0]),
        video_seconds=np.full(3, 15.0),
        area=np.array([0.005, 0.01, 0.6]),
        boxes=np.full(3, 10),
        frames=np.full(3, 10),
    )
    traits = QueryTraits(**fields)
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
    fields |= dict(predicates=[''] * 3, categories=[''] * 3)
    fields['segment_seconds'] = fields['video_seconds']
    assert len(standard_groupings(QueryTraits(**fields))) == 4


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
    assert split.predicted.viou.tolist() == [0.25, 1, 0]
    assert split.true_span.viou.tolist() == [0.5, 1, 0]
    assert split.true_boxes.viou.tolist() == [0.5, 1, 0]
    assert split.both.viou.tolist() == [1, 1, 1]
    assert split.true_span.tiou.tolist() == [1, 1, 1]
    assert split.true_boxes.gt_viou.tolist() == [1, 1, 1]
    assert split.predicted.summary() == score_tubes(*three).summary()


def test_every_part_is_scored_as_chosen(three):
    truths, _ = three
    guesses = {key: dict(span=[0, 4], boxes={0: BOX}) for key in truths}
    for choice, share in ((None, 1), (False, 0.25)):
        split = split_errors(truths, guesses, 'stcat', interpolate=choice)
        for part in (split.predicted, split.true_span, split.both):
            assert part.protocol.interpolate is (choice is None)
        assert split.predicted.viou.tolist() == [0, share, share]
    # On HC-STVG stcat ends at the last frame: 7 of 8 frames count.
    split = split_errors(truths, guesses, 'stcat', 'hcstvg')
    assert split.both.viou.tolist() == [7 / 8, 3 / 4, 3 / 4]


def test_missing_and_unknown_predictions(three):
    truths, guesses = three
    guesses['z'] = guesses.pop('b')
    with pytest.warns(UserWarning, match="1 of 3 .*'b'|1 pred.*'z'") as told:
        split = split_errors(truths, guesses)
    assert len(told) == 2
    # A part of the truth gains nothing where nothing is predicted.
    assert split.true_span.viou[1] == split.true_boxes.viou[1] == 0
    with pytest.raises(ValueError, match="'b'"):
        split_errors(truths, guesses, strict=True)


def main_of(first, second, **kwargs):
    """The difference of m_vIoU."""
    found = compare_scores(make_scores(first), make_scores(second), **kwargs)
    return {part.key: part for part in found}['m_vIoU']


def test_differences_of_means():
    first, second = make_scores([0.1, 0.4, 0.6]), make_scores([0.2, 0.5, 0.2])
    by_key = {part.key: part for part in compare_scores(first, second)}
    assert by_key['m_vIoU'].first == pytest.approx(1.1 / 3)
    assert by_key['m_vIoU'].second == pytest.approx(0.3)
    assert by_key['m_vIoU'].value == pytest.approx(0.3 - 1.1 / 3)
    assert by_key['vIoU@0.3'].value == pytest.approx(-1 / 3)
    assert item_differences(first, second) == pytest.approx([0.1, 0.1, -0.4])


@pytest.mark.parametrize('gain', [0, 0.125, -0.125])
def test_an_equal_gain_everywhere_is_certain(gain):
    scores = np.array([0.1, 0.3, 0.7, 0.5])
    found = main_of(scores, scores + gain)
    assert (found.low, found.high) == pytest.approx((gain, gain))
    assert found.is_clear is (gain != 0)


def test_the_interval_covers_a_known_difference():
    # 100 times a sample of two predictions that differ by 0.05.
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(100):
        first = rng.random(80)
        second = first + 0.05 + rng.normal(0, 0.2, 80)
        found = main_of(first, second)
        assert found.low <= found.value <= found.high
        hits += found.low <= 0.05 <= found.high
    assert 88 <= hits <= 99


def test_clusters_are_drawn_as_a_whole():
    # Five sentences a video with one score say no more than one sentence.
    rng = np.random.default_rng(5)
    first, second = rng.random(30), rng.random(30)
    alone = main_of(first, second)
    names = [f'v{place:02}' for place in np.repeat(np.arange(30), 5)]
    five = np.repeat(first, 5), np.repeat(second, 5)
    clustered = main_of(*five, clusters=names)
    assert clustered.low == pytest.approx(alone.low)
    assert clustered.high == pytest.approx(alone.high)
    apart = main_of(*five)
    assert apart.high - apart.low < 0.6 * (alone.high - alone.low)
    # In each draw the mean is over queries, as the score itself.
    found = main_of([0, 0, 0, 0], [1, 1, 1, 0], clusters=list('aaab'))
    assert (found.low, found.value, found.high) == (0, 0.75, 1)
    # One cluster gives no interval.
    found = main_of([0.1, 0.2], [0.3, 0.3], clusters=['v', 'v'])
    assert np.isnan([found.low, found.high]).all() and found.is_clear is None
    assert found.value == pytest.approx(0.15)


def test_only_the_chosen_queries():
    chosen = np.array([True, False, True])
    found = main_of([0.1, 0.9, 0.3], [0.2, 0.0, 0.4], chosen=chosen)
    assert found.first == pytest.approx(0.2)
    assert (found.low, found.high) == pytest.approx((0.1, 0.1))
    with pytest.raises(ValueError, match='nothing to compare'):
        main_of([0.1], [0.2], chosen=np.array([False]))


def test_accuracy_is_compared_and_ranked_by_the_true_span():
    first = make_scores([0, 0], 'vid_sentence', gt_viou=[0.45, 0.2])
    second = make_scores([0, 0], 'vid_sentence', gt_viou=[0.65, 0.2])
    found = {part.key: part for part in compare_scores(first, second)}
    assert found['acc@0.4'].value == 0
    assert found['acc_avg'].value == pytest.approx(1 / 3)
    assert item_differences(first, second) == pytest.approx([0.2, 0])


def test_what_does_not_fit_is_refused():
    two = make_scores([0.1, 0.2])
    for other in (make_scores([0.1] * 3), make_scores([0.1] * 2, 'stcat')):
        with pytest.raises(ValueError, match='of other queries or by other'):
            compare_scores(two, other)
        with pytest.raises(ValueError, match='2 by tubedetr and'):
            item_differences(two, other)
