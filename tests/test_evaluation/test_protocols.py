"""The protocols beside tubedetr, and how they differ from it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hero_mm.evaluation.functional import (
    PROTOCOLS,
    evaluate_tubes,
    format_scores,
    get_protocol,
    score_tubes,
)

BOX = [10.0, 10.0, 30.0, 30.0]
LEFT_HALF = [10.0, 10.0, 20.0, 30.0]


def make_truth(start, end, segment=(0, 20), frames=range(20), fps=30):
    return dict(
        span=[start, end],
        boxes=dict.fromkeys(frames, BOX),
        segment=segment,
        fps=fps,
    )


def make_guess(start, end, box=BOX, frames=range(20)):
    return dict(span=[start, end], boxes=dict.fromkeys(frames, box))


def score(truth, guess, protocol, **more):
    scores = evaluate_tubes({'q': truth}, {'q': guess}, protocol, **more)
    return scores['m_tIoU'], scores['m_vIoU'], scores['gt_m_vIoU']


def test_table_has_the_four_names():
    assert list(PROTOCOLS) == ['tubedetr', 'stcat', 'hcstvg', 'vid_sentence']


@pytest.mark.parametrize(
    ('dataset', 'gt_end'),
    [
        (None, 'as_last'),
        ('vidstg', 'as_last'),
        ('hcstvg', 'last'),
        ('HC-STVG2', 'last'),
        ('hc-stvg_v1', 'last'),
    ],
)
def test_stcat_reads_hcstvg_in_its_own_way(dataset, gt_end):
    protocol = get_protocol('stcat', dataset)
    assert (protocol.name, protocol.gt_end) == ('stcat', gt_end)


def test_data_set_does_not_change_the_others():
    for name in ('tubedetr', 'hcstvg', 'vid_sentence'):
        assert get_protocol(name, 'hcstvg') is PROTOCOLS[name]


class TestStcat:
    """Native frames, interpolated boxes."""

    def test_every_native_frame_counts(self):
        # At 30 fps the 5 fps grid sees frame 6 only.
        guess = make_guess(4, 8)
        guess['boxes'][5] = [50, 50, 60, 60]
        assert score(make_truth(4, 8), guess, 'tubedetr') == (1, 1, 1)
        # The lengths are half-open, but frame 8 must be found too.
        assert score(make_truth(4, 8), guess, 'stcat') == (1, 0.75, 0.8)

    def test_last_frame_of_hcstvg(self):
        # Annotated frames 4..7, read as the span [4, 7).
        guess = make_guess(4, 8)
        guess['boxes'][7] = [50, 50, 60, 60]
        result = score(make_truth(4, 8), guess, 'stcat', dataset='hcstvg')
        assert result == (0.75, 0.75, 0.75)

    def test_end_is_cut_at_the_last_frame(self):
        truth = make_truth(10, 20)
        # [10, 19) with frames 10..19 to find.
        assert score(truth, make_guess(10, 19), 'stcat') == (1, 1, 1)

    @pytest.mark.parametrize(
        ('segment', 'dataset', 'last'),
        [
            # Behind the span; its last frame, where the segment ends; and
            # the last frame that code for HC-STVG reads.
            ((0, 20), None, 8),
            ((0, 8), None, 7),
            ((0, 20), 'hcstvg', 7),
        ],
    )
    def test_box_of_the_last_frame_is_held(self, segment, dataset, last):
        truth = make_truth(4, 8, segment=segment, frames=range(4, last))
        truth['boxes'][last - 1] = LEFT_HALF
        guess = make_guess(4, last)
        # The last two frames have half a box: that of the one before stands
        # in for the last one.
        frames = last - 4
        tiou, viou, gt_viou = score(truth, guess, 'stcat', dataset=dataset)
        assert (tiou, viou) == (1, (frames - 0.5) / frames)
        assert gt_viou == frames / (frames + 1)

    def test_only_the_last_frame_is_held(self):
        truth = make_truth(4, 8, frames=[4, 5, 7, 8])
        guess = make_guess(4, 8)
        guess['boxes'][6] = LEFT_HALF
        assert score(truth, guess, 'stcat') == (1, 1, 1)
        # And no frame in a protocol that reads the end as it is meant.
        truth = make_truth(4, 8, frames=[4, 5, 6], fps=5)
        guess['boxes'] = {4: BOX, 5: BOX, 6: BOX, 7: LEFT_HALF}
        assert score(truth, guess, 'tubedetr') == (1, 1, 1)

    def test_boxes_are_interpolated_and_held(self):
        truth = make_truth(4, 8)
        guess = make_guess(4, 8, frames=[5])
        guess['boxes'][7] = [14.0, 10.0, 34.0, 30.0]
        # Frame 6 lies between: shifted by 2, IoU 18/22; 7 and 8: 16/24.
        total = 2 + 18 / 22 + 16 / 24
        tiou, viou, gt_viou = score(truth, guess, 'stcat')
        assert viou == pytest.approx(total / 4)
        assert gt_viou == pytest.approx((total + 16 / 24) / 5)
        without = score(truth, guess, 'stcat', interpolate=False)
        assert without[1] == pytest.approx((1 + 16 / 24) / 4)

    def test_what_was_chosen_is_told(self):
        truths, guesses = {'q': make_truth(4, 8)}, {'q': make_guess(4, 8)}

        def head(protocol, interpolate=None):
            scores = score_tubes(
                truths, guesses, protocol, interpolate=interpolate
            )
            return format_scores(scores).split('\n')[0]

        assert head('stcat').startswith('Protocol stcat: every native')
        assert head('stcat').endswith('boxes interpolated')
        told = head('stcat', interpolate=False)
        assert told.startswith('Protocol stcat without interpolation: ')
        assert told.endswith('boxes as predicted')
        assert head('stcat', interpolate=True) == head('stcat')
        told = head('hcstvg', interpolate=True)
        assert told.startswith('Protocol hcstvg with interpolation: ')

    def test_no_box_at_all(self):
        guess = make_guess(4, 8, frames=[])
        assert score(make_truth(4, 8), guess, 'stcat') == (1, 0, 0)

    def test_unannotated_frame_is_not_graded(self):
        frames = [frame for frame in range(20) if frame != 5]
        truth = make_truth(4, 8, frames=frames)
        assert score(truth, make_guess(4, 8), 'stcat') == (1, 1, 1)

    def test_unannotated_last_frame_keeps_the_bounds(self):
        truth = make_truth(4, 8, frames=range(4, 7))
        result = score(truth, make_guess(4, 7), 'stcat', dataset='hcstvg')
        assert result == (1, 1, 1)


class TestHcstvg:
    """The official evaluation of HC-STVG."""

    def test_inclusive_ends(self):
        # Frames 4..7 and 6..9: two common of six.
        result = score(make_truth(4, 8), make_guess(6, 10), 'hcstvg')
        assert result == (pytest.approx(2 / 6), pytest.approx(2 / 6), 1)

    def test_gap_counts_in_the_hull_only(self):
        assert score(make_truth(4, 6), make_guess(8, 10), 'hcstvg')[:2] == (
            0,
            0,
        )

    def test_missing_box_lowers_the_temporal_overlap_too(self):
        guess = make_guess(4, 8, frames=[4, 5, 6])
        result = score(make_truth(4, 8), guess, 'hcstvg')
        assert result == (0.75, 0.75, 0.75)

    def test_boxes_outside_the_predicted_span_do_not_count(self):
        result = score(make_truth(4, 8), make_guess(4, 6), 'hcstvg')
        assert result == (0.5, 0.5, 1)

    def test_span_between_frames_holds_whole_frames(self):
        # [3.2, 6.5) holds frames 4, 5, 6.
        result = score(make_truth(4, 8), make_guess(3.2, 6.5), 'hcstvg')
        assert result[:2] == (0.75, 0.75)

    def test_interpolation_on_demand(self):
        guess = make_guess(4, 8, frames=[4])
        result = score(make_truth(4, 8), guess, 'hcstvg', interpolate=True)
        assert result == (1, 1, 1)

    def test_missing_video_scores_zero(self):
        truths = {'a': make_truth(4, 8), 'b': make_truth(4, 8)}
        with pytest.warns(UserWarning, match="'b'"):
            result = evaluate_tubes(truths, {'a': make_guess(4, 8)}, 'hcstvg')
        assert (result['m_tIoU'], result['m_vIoU']) == (0.5, 0.5)


class TestVidSentence:
    """Accuracy at thresholds, on the true frames."""

    def test_keys_and_means(self):
        truths = {key: make_truth(4, 8) for key in 'abc'}
        guesses = {
            'a': make_guess(4, 8),
            # Exactly 0.5 passes at 0.5: at least, not more than.
            'b': make_guess(0, 1, box=LEFT_HALF),
            'c': make_guess(4, 8, box=[10, 10, 19, 30]),
        }
        result = evaluate_tubes(truths, guesses, 'vid_sentence')
        assert result == {
            'acc@0.4': 1.0,
            'acc@0.5': pytest.approx(2 / 3),
            'acc@0.6': pytest.approx(1 / 3),
            'acc_avg': pytest.approx(2 / 3),
        }

    @pytest.mark.parametrize('value', [0.4, 0.5, 0.6])
    @pytest.mark.parametrize('count', [6, 10, 19])
    def test_a_tube_at_the_threshold_passes(self, value, count):
        # Sums of 0.4 and 0.6 fall below what they should be.
        box = [10.0, 10.0, 10.0 + 20 * value, 30.0]
        result = evaluate_tubes(
            {'q': make_truth(0, count)},
            {'q': make_guess(0, count, box=box)},
            'vid_sentence',
        )
        assert result[f'acc@{value}'] == 1
        box[2] -= 1e-6
        result = evaluate_tubes(
            {'q': make_truth(0, count)},
            {'q': make_guess(0, count, box=box)},
            'vid_sentence',
        )
        assert result[f'acc@{value}'] == 0

    def test_frame_without_box_counts_zero(self):
        guess = make_guess(4, 8, frames=[4, 5])
        result = evaluate_tubes(
            {'q': make_truth(4, 8)}, {'q': guess}, 'vid_sentence'
        )
        assert (result['acc@0.5'], result['acc@0.6']) == (1, 0)


@st.composite
def tubes(draw):
    """A truth and a guess, boxes changing over time, some missing."""
    last = draw(st.integers(2, 24))

    def span():
        start = draw(st.integers(0, last - 1))
        return [start, draw(st.integers(start + 1, last))]

    def box():
        left, top, width, height = (
            draw(st.integers(low, 40)) for low in (0, 0, 1, 1)
        )
        return [left, top, left + width, top + height]

    frames = range(last)
    two = box(), box()
    truth = dict(
        span=span(),
        boxes={frame: two[frame % 2] for frame in frames},
        segment=[0, last],
        fps=25,
    )
    kept = draw(st.lists(st.sampled_from(frames), unique=True))
    return truth, dict(span=span(), boxes={frame: box() for frame in kept})


@given(pair=tubes())
@settings(max_examples=120, deadline=None)
def test_stcat_as_the_reference(reference, pair):
    for dataset in (None, 'hcstvg'):
        result = score(*pair, 'stcat', dataset=dataset)
        expected = reference.stcat(*pair, hcstvg=dataset is not None)
        assert result == pytest.approx(expected, abs=1e-12)
        assert all(0 <= value <= 1 + 1e-12 for value in result)


@given(pair=tubes())
@settings(max_examples=120, deadline=None)
def test_hcstvg_as_the_reference(reference, pair):
    result = score(*pair, 'hcstvg')
    assert result == pytest.approx(reference.hcstvg(*pair), abs=1e-12)
    assert all(0 <= value <= 1 for value in result)


@pytest.mark.parametrize(
    ('name', 'run', 'dataset', 'interpolate'),
    [
        ('vidstg_sparse', 'stcat_faithful_interp', 'vidstg', None),
        ('vidstg_dense', 'stcat_faithful', 'vidstg', False),
        ('vidstg_dense', 'cgstvg_faithful', 'vidstg', False),
        ('hcstvg_dense', 'stcat_faithful', 'hcstvg', False),
        ('hcstvg_dense', 'cgstvg_faithful', 'hcstvg', False),
        ('hcstvg_dense', 'cgstvg_missing_native', 'hcstvg', False),
    ],
)
def test_official_answers(eval_case, name, run, dataset, interpolate):
    truths, guesses, expected, _ = eval_case(name, run)
    scores = score_tubes(
        truths, guesses, 'stcat', dataset=dataset, interpolate=interpolate
    )
    for query_id, record in scores.records().items():
        answer = expected[query_id]
        for key, value in record.items():
            assert value == pytest.approx(answer[key], abs=1e-9), query_id
        for key in ('viou', 'gt_viou'):
            for limit in (0.3, 0.5):
                passed = float(record[key] > limit)
                assert passed == answer[f'{key}@{limit}'], query_id
