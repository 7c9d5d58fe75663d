"""Two predictions item by item, and the interval of their difference."""

import numpy as np
import pytest

from hero_mm.evaluation import compare_scores
from hero_mm.evaluation.comparison import item_differences
from hero_mm.evaluation.functional import TubeScores, get_protocol


def make_scores(viou, protocol='tubedetr', gt_viou=None):
    viou = np.array(viou, dtype=np.float64)
    rows = viou, viou, viou if gt_viou is None else np.array(gt_viou)
    names = [str(place) for place in range(len(viou))]
    types = [None] * len(viou)
    return TubeScores(get_protocol(protocol), names, types, *rows)


def main_of(first, second, **kwargs):
    """The difference of m_vIoU."""
    found = compare_scores(make_scores(first), make_scores(second), **kwargs)
    return {part.key: part for part in found}['m_vIoU']


def test_means_by_hand():
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


def test_one_cluster_gives_no_interval():
    found = main_of([0.1, 0.2], [0.3, 0.3], clusters=['v', 'v'])
    assert np.isnan(found.low) and np.isnan(found.high)
    assert found.is_clear is None
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
