"""Scores of tubes: by hand, by properties, by the official evaluators."""

import subprocess
import sys
import time
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hero_mm.evaluation.functional import (
    evaluate_tubes,
    format_scores,
    sampled_grid,
    score_tubes,
)

BOX = [10.0, 10.0, 30.0, 30.0]
LEFT_HALF = [10.0, 10.0, 20.0, 30.0]


def make_truth(start, end, segment=(0, 20), box=BOX, fps=5, **more):
    """A true tube that stands still; at 5 fps every frame is graded."""
    boxes = dict.fromkeys(range(start, end), box)
    return dict(
        span=[start, end], boxes=boxes, segment=segment, fps=fps, **more
    )


def make_guess(start, end, box=BOX, frames=range(20)):
    return dict(span=[start, end], boxes=dict.fromkeys(frames, box))


def score_one(truth, guess, protocol='tubedetr', **more):
    scores = evaluate_tubes({'q': truth}, {'q': guess}, protocol, **more)
    return scores['m_tIoU'], scores['m_vIoU'], scores['gt_m_vIoU']


# True and predicted span, how the prediction differs, the three scores.
BY_HAND = [
    # Frames 4 to 7 and 6 to 9: 2 common of 6.
    ((4, 8), (6, 10), {}, (2 / 6, 2 / 6, 1)),
    ((4, 8), (4, 8), dict(box=LEFT_HALF), (1, 0.5, 0.5)),
    ((4, 12), (6, 8), {}, (0.25, 0.25, 1)),
    ((6, 8), (4, 12), {}, (0.25, 0.25, 1)),
    # Touching, disjoint, a single frame, empty.
    ((4, 8), (8, 12), {}, (0, 0, 1)),
    ((4, 8), (0, 4), {}, (0, 0, 1)),
    ((4, 8), (12, 15), {}, (0, 0, 1)),
    ((4, 5), (4, 5), {}, (1, 1, 1)),
    ((4, 5), (4, 6), {}, (0.5, 0.5, 1)),
    ((4, 8), (4, 4), {}, (0, 0, 1)),
    # Frames without a predicted box count zero.
    ((4, 8), (4, 8), dict(frames=[4, 5, 6]), (1, 0.75, 0.75)),
    ((4, 8), (4, 8), dict(frames=[]), (1, 0, 0)),
    # Boxes side by side, and turned over.
    ((4, 8), (4, 8), dict(box=[30, 10, 50, 30]), (1, 0, 0)),
    ((4, 8), (4, 8), dict(box=[30, 10, 10, 30]), (1, 0, 0)),
    ((4, 8), (4, 8), dict(box=[30, 30, 10, 10]), (1, 0, 0)),
    ((4, 8), (4, 8), dict(box=[10, 10, 10, 30]), (1, 0, 0)),
    # Frames 4, 5, 6 lie in [3.5, 6.5); the hull is [3.5, 8).
    ((4, 8), (3.5, 6.5), {}, (2.5 / 4.5, 3 / 4, 1)),
    # The grid of the published code ends before the last frame.
    ((18, 20), (18, 20), dict(frames=[18]), (1, 1, 1)),
    ((18, 20), (18, 20), dict(frames=[19]), (1, 0, 0)),
]


class TestByHand:
    """Numbers that can be checked with a pencil."""

    def test_identical_tubes_score_one(self):
        result = evaluate_tubes(
            {'q': make_truth(3, 9)}, {'q': make_guess(3, 9)}
        )
        assert result == {
            'm_tIoU': 1.0,
            'm_vIoU': 1.0,
            'vIoU@0.3': 1.0,
            'vIoU@0.5': 1.0,
            'gt_m_vIoU': 1.0,
            'gt_vIoU@0.3': 1.0,
            'gt_vIoU@0.5': 1.0,
        }

    @pytest.mark.parametrize('protocol', ['tubedetr', 'stcat', 'hcstvg'])
    def test_a_span_of_any_length_costs_nothing(self, protocol):
        """Its frames are never listed: no memory would hold them."""
        guess = make_guess(0, 10**15)
        tiou, _, gt_viou = score_one(make_truth(4, 8), guess, protocol)
        assert 0 < tiou < 1e-12 and gt_viou == 1

    @pytest.mark.parametrize(('true', 'given', 'how', 'wanted'), BY_HAND)
    def test_one_query(self, true, given, how, wanted):
        found = score_one(make_truth(*true), make_guess(*given, **how))
        assert found == pytest.approx(wanted)

    def test_frame_without_true_box_is_not_graded(self):
        truth = make_truth(4, 8)
        del truth['boxes'][5]
        assert score_one(truth, make_guess(4, 8)) == (1, 1, 1)

    def test_truth_one_past_the_segment(self):
        # Frame 19 is the last of the segment, the true span ends behind it.
        truth = make_truth(10, 20, segment=(0, 19))
        tiou, viou, gt_viou = score_one(truth, make_guess(10, 19))
        assert tiou == pytest.approx(0.9)
        # Graded: 10..17, of which all are found; the hull has the same.
        assert (viou, gt_viou) == (1.0, 1.0)

    @pytest.mark.parametrize(
        ('right', 'passes'), [(20.0, 0.0), (20.0001, 1.0)]
    )
    def test_half_is_not_more_than_half(self, right, passes):
        guess = make_guess(4, 8, box=[10.0, 10.0, right, 30.0])
        result = evaluate_tubes({'q': make_truth(4, 8)}, {'q': guess})
        assert result['vIoU@0.5'] == result['gt_vIoU@0.5'] == passes
        assert result['vIoU@0.3'] == 1.0

    def test_sum_is_that_of_the_published_code(self):
        # 29 times 0.3 added one by one give a mean of 0.3; in pairs, more.
        frames = range(40)
        truth = make_truth(4, 33, segment=(0, 40), box=[0, 0, 10, 10])
        guess = make_guess(4, 33, box=[0, 0, 3, 10], frames=frames)
        result = evaluate_tubes({'q': truth}, {'q': guess})
        assert result['m_vIoU'] == result['gt_m_vIoU'] == 0.3
        assert result['vIoU@0.3'] == result['gt_vIoU@0.3'] == 0


class TestMeans:
    """Averages over queries and sentence types."""

    def test_by_sentence_type(self):
        truths = {
            'a': make_truth(4, 8, query_type='declarative'),
            'b': make_truth(4, 8, query_type='declarative'),
            'c': make_truth(4, 8, query_type='interrogative'),
        }
        guesses = {
            'a': make_guess(4, 8),
            'b': make_guess(12, 14),
            'c': make_guess(4, 6, box=LEFT_HALF),
        }
        result = evaluate_tubes(truths, guesses)
        assert result['m_tIoU'] == pytest.approx((1 + 0 + 0.5) / 3)
        assert result['declarative/m_vIoU'] == 0.5
        assert result['declarative/vIoU@0.5'] == 0.5
        assert result['interrogative/m_vIoU'] == 0.25
        assert result['interrogative/vIoU@0.3'] == 0.0
        assert result['interrogative/gt_m_vIoU'] == 0.5

    def test_absent_type_has_no_key(self):
        result = evaluate_tubes(
            {'q': make_truth(4, 8, query_type='declarative')},
            {'q': make_guess(4, 8)},
        )
        assert 'declarative/m_vIoU' in result
        assert not any(key.startswith('interrogative') for key in result)

    def test_per_query_records(self):
        truths = {'a': make_truth(4, 8), 'b': make_truth(4, 8)}
        guesses = {'a': make_guess(4, 8), 'b': make_guess(4, 6)}
        result = evaluate_tubes(truths, guesses, per_query=True)
        assert result['per_query'] == {
            'a': dict(tiou=1.0, viou=1.0, gt_viou=1.0),
            'b': dict(tiou=0.5, viou=0.5, gt_viou=1.0),
        }

    def test_table_names_protocol_and_counts(self):
        truths = {
            'a': make_truth(4, 8, query_type='declarative'),
            'b': make_truth(4, 8, query_type='interrogative'),
        }
        with pytest.warns(UserWarning, match='no prediction'):
            scores = score_tubes(truths, {'a': make_guess(4, 8)})
        table = format_scores(scores)
        assert 'Protocol tubedetr' in table
        assert '2 queries, 1 without a prediction' in table
        rows = {line.split()[0]: line.split() for line in table.split('\n')}
        assert rows['all'][1:4] == ['2', '50.00', '50.00']
        assert rows['declarative'][1:4] == ['1', '100.00', '100.00']
        assert rows['interrogative'][1:4] == ['1', '0.00', '0.00']


class TestInput:
    """What may be given, and what is refused."""

    def test_frames_as_text_and_arrays(self):
        truth = make_truth(4, 8)
        guess = make_guess(4, 8, box=LEFT_HALF)
        as_text = dict(
            guess, boxes={str(k): v for k, v in guess['boxes'].items()}
        )
        frames = np.array(list(guess['boxes']))[::-1]
        as_arrays = dict(guess, boxes=(frames, np.array([LEFT_HALF] * 20)))
        expected = score_one(truth, guess)
        assert score_one(truth, as_text) == expected
        assert score_one(truth, as_arrays) == expected

    def test_missing_prediction_scores_zero_and_warns(self):
        truths = {'a': make_truth(4, 8), 'b': make_truth(4, 8)}
        with pytest.warns(UserWarning, match="1 of 2 .*'b'"):
            result = evaluate_tubes(truths, {'a': make_guess(4, 8)})
        assert result['m_tIoU'] == result['gt_m_vIoU'] == 0.5

    def test_strict_names_missing_queries(self):
        truths = {str(index): make_truth(4, 8) for index in range(9)}
        with pytest.raises(ValueError, match=r"9 of 9.*'0', '1'.*\.\.\."):
            evaluate_tubes(truths, {}, strict=True)

    def test_five_names_are_all(self):
        truths = {name: make_truth(4, 8) for name in 'abcdef'}
        guesses = {'f': make_guess(4, 8)}
        with pytest.raises(ValueError, match=r"\('a', 'b', 'c', 'd', 'e'\)"):
            evaluate_tubes(truths, guesses, strict=True)
        with pytest.raises(ValueError, match=r"'d', 'e', \.\.\.\)"):
            evaluate_tubes(truths, {}, strict=True)

    def test_unknown_prediction_is_ignored_or_refused(self):
        truths = {'a': make_truth(4, 8)}
        guesses = {'a': make_guess(4, 8), 'z': make_guess(4, 8)}
        with pytest.warns(UserWarning, match="'z'"):
            assert evaluate_tubes(truths, guesses)['m_vIoU'] == 1.0
        with pytest.raises(ValueError, match="'z'"):
            evaluate_tubes(truths, guesses, strict=True)

    def test_complete_predictions_do_not_warn(self):
        with warnings.catch_warnings():
            warnings.simplefilter('error')
            evaluate_tubes({'a': make_truth(4, 8)}, {'a': make_guess(4, 8)})

    @pytest.mark.parametrize(
        ('change', 'message'),
        [
            (dict(span=[4, float('nan')]), 'span must be finite, found nan'),
            (dict(span=['4', 8]), "span must be finite, found '4'"),
            (dict(span=[False, 8]), 'span must be finite, found False'),
            (dict(span=[4, 10**400]), 'span must be finite, found 1000'),
            (dict(span=[4]), 'span must be two numbers'),
            (dict(span=[4, 6, 8]), 'span must be two numbers'),
            (dict(span=None), 'span must be two numbers'),
            (dict(span=[8, 4]), 'ends before it starts'),
            (dict(boxes={4: [0, 0, 1, float('inf')]}), 'box on frame 4'),
            (dict(boxes={4: [0, 0, 1]}), 'frame 4 must be four numbers'),
            (dict(boxes={4: BOX, 5: [0]}), r'frame 5 .*found \[0\]'),
            (dict(boxes={4: BOX, 5: None}), 'frame 5 .*found None'),
            (dict(boxes={4: BOX, 5: list('1234')}), "frame 5 .*found .'1'"),
            (dict(boxes={4: BOX, 5: [True, 0, 2, 2]}), 'frame 5 .*found .Tr'),
            (dict(boxes={4: BOX, 5: [0, 0, 1, None]}), 'frame 5 .*None'),
            (dict(boxes={4: BOX, 5: [0, 0, 1, 10**400]}), 'frame 5 must be'),
            (dict(boxes={4: BOX, 5: {'x': 1}}), 'frame 5 must be four'),
            (dict(boxes={'x': [0, 0, 1, 1]}), "whole numbers, found 'x'"),
            (dict(boxes={4: BOX, 4.5: BOX}), 'whole numbers, found 4.5'),
            (dict(boxes={4: BOX, True: BOX}), 'whole numbers, found True'),
            (dict(boxes={str(10**25): BOX}), "whole numbers, found '10000"),
            (dict(boxes={4: BOX, '4': BOX}), 'frame 4 has two boxes'),
            (dict(boxes=(np.array([4.5]), np.ones((1, 4)))), 'whole numbers'),
            (dict(boxes=([4, 5], [BOX])), '2 frames have 1 boxes'),
            (dict(boxes=([4], np.zeros((0, 4)))), '1 frames have 0 boxes'),
            (dict(boxes=([], [BOX])), '0 frames have 1 boxes'),
            (dict(boxes=([4], np.ones((1, 5)))), 'frame 4 must be four'),
            (dict(boxes=([4], np.ones((1, 4), bool))), 'frame 4 must be four'),
        ],
    )
    def test_malformed_prediction_names_the_query(self, change, message):
        guess = dict(make_guess(4, 8), **change)
        with pytest.raises(ValueError, match=message) as error:
            evaluate_tubes({'q7': make_truth(4, 8)}, {'q7': guess})
        assert "prediction of query 'q7'" in str(error.value)

    @pytest.mark.parametrize(
        'boxes', [[BOX], ([4], [BOX], []), ([4],), ([4], 5), 'ab']
    )
    def test_boxes_of_a_wrong_type(self, boxes):
        guess = dict(span=[4, 8], boxes=boxes)
        with pytest.raises(TypeError, match="'q7'.*mapping.*or a pair"):
            evaluate_tubes({'q7': make_truth(4, 8)}, {'q7': guess})

    def test_items_without_a_query(self):
        truths = {'a': make_truth(4, 8)}
        with pytest.raises(TypeError, match='predictions.*found list'):
            evaluate_tubes(truths, ['a'])
        with pytest.raises(TypeError, match='ground truths.*found list'):
            evaluate_tubes(['a'], {'a': make_guess(4, 8)})

    def test_numbers_of_numpy(self):
        guess = make_guess(4, 8, box=LEFT_HALF)
        numbers = dict(
            span=np.array([4, 8], np.float32),
            boxes={
                np.int32(frame): np.array(box, np.float32)
                for frame, box in guess['boxes'].items()
            },
        )
        objects = np.array([LEFT_HALF] * 20, dtype=object)
        expected = score_one(make_truth(4, 8), guess)
        assert score_one(make_truth(4, 8), numbers) == expected
        numbers = dict(guess, boxes=(list(range(20)), objects))
        assert score_one(make_truth(4, 8), numbers) == expected

    @pytest.mark.parametrize('key', ['span', 'boxes'])
    def test_missing_key_names_query_and_key(self, key):
        guess = make_guess(4, 8)
        del guess[key]
        with pytest.raises(ValueError, match=f"'q7': no '{key}'"):
            evaluate_tubes({'q7': make_truth(4, 8)}, {'q7': guess})

    @pytest.mark.parametrize(
        ('change', 'message'),
        [
            (dict(span=[4, 4]), r'span \[4.0, 4.0\) is empty'),
            (dict(segment=[9, 9]), 'segment .* is empty'),
            (dict(span=[4.5, 6]), 'span .* whole frames'),
            (dict(segment=[0, 9.5]), 'segment .* whole frames'),
            (dict(boxes={}), 'there is no box'),
            (dict(boxes={3: BOX, 8: BOX}), r'no box in the span \[4, 8\)'),
            (dict(segment=[8, 20]), r'\[4, 8\) lies outside .* \[8, 20\)'),
            (dict(segment=[0, 4]), r'\[4, 8\) lies outside .* \[0, 4\)'),
            (dict(fps=0), 'positive fps'),
            (dict(fps='abc'), "fps must be finite, found 'abc'"),
            (dict(fps=float('inf')), 'fps must be finite, found inf'),
            (dict(fps=None), 'positive fps'),
            (dict(query_type='question'), 'unknown query_type'),
        ],
    )
    def test_malformed_truth_names_the_query(self, change, message):
        truth = dict(make_truth(4, 8), **change)
        with pytest.raises(ValueError, match=message) as error:
            evaluate_tubes({'q7': truth}, {'q7': make_guess(4, 8)})
        assert "ground truth of query 'q7'" in str(error.value)

    def test_no_ground_truth(self):
        with pytest.raises(ValueError, match='no ground truth'):
            evaluate_tubes({}, {'a': make_guess(4, 8)})

    def test_unknown_protocol_lists_the_known(self):
        with pytest.raises(ValueError, match="'x'.*tubedetr"):
            evaluate_tubes({'a': make_truth(4, 8)}, {}, 'x')


class TestGrid:
    """The frames that the sampled protocols look at."""

    def test_five_a_second(self):
        assert sampled_grid((0, 31), 30).tolist() == [0, 6, 12, 18, 24]

    def test_start_is_always_taken(self):
        assert sampled_grid((7, 20), 25).tolist() == [7, 10, 15]

    def test_low_rate_takes_every_frame_but_the_last(self):
        assert sampled_grid((3, 8), 4).tolist() == [3, 4, 5, 6]

    def test_a_frame_a_second(self):
        truth = make_truth(4, 8, fps=1)
        assert score_one(truth, make_guess(4, 8)) == (1, 1, 1)

    def test_one_frame(self):
        assert sampled_grid((3, 4), 30).tolist() == [3]

    def test_at_most_200(self):
        grid = sampled_grid((0, 1802), 30)
        assert len(grid) == 200
        assert grid[:4].tolist() == [0, 6, 18, 24]

    @given(
        start=st.integers(0, 500),
        length=st.integers(1, 3000),
        fps=st.sampled_from([4.0, 5.0, 10, 15, 23.976, 24, 25, 29.97, 60]),
    )
    @settings(max_examples=60, deadline=None)
    def test_as_the_reference(self, reference, start, length, fps):
        segment = (start, start + length)
        expected = reference.grid_5fps(segment, fps)
        assert sampled_grid(segment, fps).tolist() == expected


@st.composite
def boxes(draw):
    left, top = draw(st.integers(0, 50)), draw(st.integers(0, 50))
    width, height = draw(st.integers(1, 50)), draw(st.integers(1, 50))
    return [left, top, left + width, top + height]


@st.composite
def tubes(draw):
    """A truth and a guess on the same segment, boxes on every frame."""
    first = draw(st.integers(0, 10))
    length = draw(st.integers(2, 40))
    last = first + length

    def span():
        start = draw(st.integers(first, last - 1))
        return [start, draw(st.integers(start + 1, last))]

    frames = range(first, last)
    truth = dict(
        span=span(),
        boxes=dict.fromkeys(frames, draw(boxes())),
        segment=[first, last],
        fps=draw(st.sampled_from([5, 10, 25])),
    )
    two = draw(boxes()), draw(boxes())
    guess = dict(span=span(), boxes={f: two[f % 2] for f in frames})
    return truth, guess


class TestProperties:
    """What holds for any tubes."""

    @given(pair=tubes())
    @settings(max_examples=150, deadline=None)
    def test_bounds_and_reference(self, reference, pair):
        result = score_one(*pair)
        assert all(0 <= value <= 1 for value in result)
        assert result == pytest.approx(reference.tubedetr(*pair), abs=1e-12)

    @given(pair=tubes())
    @settings(max_examples=50, deadline=None)
    def test_identity(self, pair):
        truth = dict(pair[0], fps=5)
        start, end = truth['span']
        tiou, viou, gt_viou = score_one(truth, dict(truth))
        only_the_last = start == truth['segment'][1] - 1
        found = 0.0 if only_the_last and end - start == 1 else 1.0
        # A lone last frame is the start of a one-frame grid at most.
        assert tiou == 1.0
        assert viou == gt_viou == found

    @given(pair=tubes(), shift=st.integers(1, 30))
    @settings(max_examples=50, deadline=None)
    def test_disjoint(self, pair, shift):
        truth, guess = pair
        end = truth['span'][1]
        guess = dict(guess, span=[end + shift - 1, end + shift + 5])
        assert score_one(truth, guess)[:2] == (0, 0)

    @given(pair=tubes(), width=st.integers(0, 5))
    @settings(max_examples=50, deadline=None)
    def test_early_and_late_shifts_cost_the_same(self, pair, width):
        truth = pair[0]
        start, end = truth['span']
        early = dict(truth, span=[start - width, end - width])
        late = dict(truth, span=[start + width, end + width])
        assert score_one(truth, early)[0] == pytest.approx(
            score_one(truth, late)[0]
        )

    @given(pair=tubes())
    @settings(max_examples=50, deadline=None)
    def test_tiou_is_symmetric(self, pair):
        truth, guess = pair
        swapped = dict(truth, span=guess['span'])
        back = dict(guess, span=truth['span'])
        assert score_one(truth, guess)[0] == score_one(swapped, back)[0]


@pytest.mark.parametrize(
    ('name', 'run', 'protocol', 'dataset'),
    [
        ('vidstg_dense', 'tubedetr_5fps', 'tubedetr', 'vidstg'),
        ('vidstg_sparse', 'tubedetr_5fps', 'tubedetr', 'vidstg'),
        ('hcstvg_dense', 'tubedetr', 'tubedetr', 'hcstvg'),
    ],
)
def test_official_answers(eval_case, name, run, protocol, dataset):
    truths, guesses, expected, _ = eval_case(name, run)
    scores = score_tubes(truths, guesses, protocol, dataset=dataset)
    for query_id, record in scores.records().items():
        answer = expected[query_id]
        for key, value in record.items():
            assert value == pytest.approx(answer[key], abs=1e-9), query_id
        for key in ('viou', 'gt_viou'):
            # Bit by bit: some items sit on the threshold.
            for limit in (0.3, 0.5):
                passed = float(record[key] > limit)
                assert passed == answer[f'{key}@{limit}'], query_id


def test_official_grid(eval_case):
    _, _, _, items = eval_case('vidstg_dense', 'tubedetr_5fps')
    for item in items:
        first, last = item['segment']
        grid = sampled_grid((first, last + 1), item['fps'])
        assert grid.tolist() == item['frame_ids']


def test_ten_thousand_queries_take_seconds():
    frames = np.arange(400)
    box = np.tile(np.array(BOX), (400, 1))
    truth = dict(
        span=[100, 300],
        boxes=(frames, box),
        segment=[0, 400],
        fps=25,
        query_type='declarative',
    )
    guess = dict(span=[120, 310], boxes=(frames, box + 1))
    ids = [str(index) for index in range(1000)]
    start = time.process_time()
    evaluate_tubes(dict.fromkeys(ids, truth), dict.fromkeys(ids, guess))
    # 10,303 queries of VidSTG in ten times this.
    assert time.process_time() - start < 2.0


def test_functions_need_no_torch(repo_root):
    code = (
        'import sys, types\n'
        f'package = types.ModuleType("hero_mm")\n'
        f'package.__path__ = [{str(repo_root / "hero_mm")!r}]\n'
        'sys.modules["hero_mm"] = package\n'
        'import hero_mm.evaluation.functional\n'
        'print([m for m in ("torch", "mmengine") if m in sys.modules])\n'
    )
    done = subprocess.run(
        [sys.executable, '-c', code],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == '[]'


def test_boxes_smaller_than_a_pixel_overlap():
    small = [0.0, 0.0, 0.5, 0.5]
    found = score_one(make_truth(2, 6, box=small), make_guess(2, 6, small))
    assert found == (1, 1, 1)


@pytest.mark.parametrize(
    ('span', 'is_elsewhere'), [((12, 16), True), ((11, 16), False)]
)
def test_a_span_that_begins_where_the_segment_ends_is_elsewhere(
    span, is_elsewhere
):
    truth = make_truth(2, 6, segment=(0, 12))
    guess = make_guess(*span, frames=range(12))
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        found = score_tubes({'q': truth}, {'q': guess})
    assert (found.elsewhere == ['q']) == is_elsewhere
