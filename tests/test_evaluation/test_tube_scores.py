"""Scores of tubes: by hand, and by official evaluators."""

import json
import warnings

import numpy as np
import pytest

from hero_mm.evaluation.functional import (
    PROTOCOLS,
    evaluate_tubes,
    format_scores,
    get_protocol,
    sampled_grid,
    score_tubes,
)

BOX = [10.0, 10.0, 30.0, 30.0]
LEFT_HALF = [10.0, 10.0, 20.0, 30.0]
AWAY = [50.0, 50.0, 60.0, 60.0]
SMALL = [0.0, 0.0, 0.5, 0.5]
TUBEDETR = dict(protocol='tubedetr')
STCAT = dict(protocol='stcat')
STCAT_HC = dict(protocol='stcat', dataset='HC-STVG_v2')
HCSTVG = dict(protocol='hcstvg')


def truth(start, end, frames=range(20), box=BOX, but=(), **more):
    """A true tube that stands still; at 5 fps every frame is graded."""
    boxes = dict.fromkeys(frames, box) | dict(but)
    found = dict(span=[start, end], boxes=boxes, segment=[0, 20], fps=5)
    return found | more


def guess(start, end, frames=range(20), box=BOX, but=()):
    boxes = dict.fromkeys(frames, box) | dict(but)
    return dict(span=[start, end], boxes=boxes)


def score_one(true, given, **how):
    scores = evaluate_tubes({'q': true}, {'q': given}, **how)
    return scores['m_tIoU'], scores['m_vIoU'], scores['gt_m_vIoU']


# Protocol, truth, prediction, the three scores.
BY_HAND = [
    # Frames 4 to 7 and 6 to 9: 2 common of 6.
    (TUBEDETR, truth(4, 8), guess(6, 10), (2 / 6, 2 / 6, 1)),
    # Empty.
    (TUBEDETR, truth(4, 8), guess(4, 4), (0, 0, 1)),
    # Frames without a predicted box count zero.
    (TUBEDETR, truth(4, 8), guess(4, 8, [4, 5, 6]), (1, 0.75, 0.75)),
    # Boxes turned over, smaller than a pixel.
    (TUBEDETR, truth(4, 8), guess(4, 8, box=[30, 30, 10, 10]), (1, 0, 0)),
    (TUBEDETR, truth(4, 8, box=SMALL), guess(4, 8, box=SMALL), (1, 1, 1)),
    # Frames 4, 5, 6 lie in [3.5, 6.5); the hull is [3.5, 8).
    (TUBEDETR, truth(4, 8), guess(3.5, 6.5), (2.5 / 4.5, 3 / 4, 1)),
    # The grid of the published code ends before the last frame.
    (TUBEDETR, truth(18, 20), guess(18, 20, [18]), (1, 1, 1)),
    (TUBEDETR, truth(18, 20), guess(18, 20, [19]), (1, 0, 0)),
    # At a frame a second it sees all.
    (TUBEDETR, truth(4, 8, fps=1), guess(4, 8), (1, 1, 1)),
    # A frame without a true box is not graded.
    (TUBEDETR, truth(4, 8, [4, 6, 7]), guess(4, 8), (1, 1, 1)),
    # The true span ends behind its segment: 10 to 17 are graded.
    (TUBEDETR, truth(10, 20, segment=[0, 19]), guess(10, 19), (0.9, 1, 1)),
    # Frame 8 must be found, too, but adds no length.
    (STCAT, truth(4, 8), guess(4, 8, but={5: AWAY}), (1, 0.75, 0.8)),
    (STCAT, truth(10, 20), guess(10, 19), (1, 1, 1)),
    (STCAT, truth(4, 8, [4, 6, 7, 8]), guess(4, 8), (1, 1, 1)),
    # The true last frame is read as the end.
    (STCAT_HC, truth(4, 8), guess(4, 8, but={7: AWAY}), (0.75, 0.75, 0.75)),
    (STCAT_HC, truth(4, 8, range(4, 7)), guess(4, 7), (1, 1, 1)),
    # A last frame without a box has that of the frame before, here a half:
    # behind the span, where the segment ends, and that of HC-STVG.
    (
        STCAT,
        truth(4, 8, range(4, 8), but={7: LEFT_HALF}),
        guess(4, 8),
        (1, 3.5 / 4, 4 / 5),
    ),
    (
        STCAT,
        truth(4, 8, range(4, 7), but={6: LEFT_HALF}, segment=[0, 8]),
        guess(4, 7),
        (1, 2.5 / 3, 3 / 4),
    ),
    (
        STCAT_HC,
        truth(4, 8, range(4, 7), but={6: LEFT_HALF}),
        guess(4, 7),
        (1, 2.5 / 3, 3 / 4),
    ),
    # Only the last one, and only where the end is not read as it is meant.
    (STCAT, truth(4, 8, [4, 5, 7, 8]), guess(4, 8, but={6: AWAY}), (1, 1, 1)),
    (TUBEDETR, truth(4, 8, [4, 5, 6]), guess(4, 8, but={7: AWAY}), (1, 1, 1)),
    # Frame 6 is shifted by 2, IoU 18/22; 7 and the held 8 by 4: 16/24.
    (
        STCAT,
        truth(4, 8),
        guess(4, 8, [5], but={7: [14, 10, 34, 30]}),
        (1, (2 + 18 / 22 + 16 / 24) / 4, (2 + 18 / 22 + 32 / 24) / 5),
    ),
    (
        STCAT | dict(interpolate=False),
        truth(4, 8),
        guess(4, 8, [5], but={7: [14, 10, 34, 30]}),
        (1, (1 + 16 / 24) / 4, (1 + 16 / 24) / 5),
    ),
    # Frames with both boxes over the hull; a span holds whole frames.
    (HCSTVG, truth(4, 8), guess(6, 10), (2 / 6, 2 / 6, 1)),
    (HCSTVG, truth(4, 8), guess(3.2, 6.5), (0.75, 0.75, 1)),
    (HCSTVG, truth(4, 8), guess(10, 12), (0, 0, 1)),
    (HCSTVG, truth(4, 8), guess(4, 10, [4, 9]), (1 / 6, 1 / 6, 1 / 4)),
    (HCSTVG, truth(4, 8, [4, 5, 6]), guess(2, 8), (3 / 6, 3 / 6, 1)),
    (
        HCSTVG,
        truth(4, 8),
        guess(5, 8, but={4: LEFT_HALF, 6: LEFT_HALF}),
        (0.75, 2.5 / 4, 0.75),
    ),
    (HCSTVG | dict(interpolate=True), truth(4, 8), guess(4, 8, [4]), (1,) * 3),
]


@pytest.mark.parametrize(('how', 'true', 'given', 'wanted'), BY_HAND)
def test_by_hand(how, true, given, wanted):
    assert score_one(true, given, **how) == pytest.approx(wanted)


@pytest.mark.parametrize('how', [TUBEDETR, STCAT, HCSTVG])
def test_a_span_of_any_length_costs_nothing(how):
    """Its frames are never listed: no memory would hold them."""
    tiou, _, gt_viou = score_one(truth(4, 8), guess(0, 10**15), **how)
    assert 0 < tiou < 1e-12 and gt_viou == 1


@pytest.mark.parametrize(('right', 'passes'), [(20, 0), (20.0001, 1)])
def test_half_is_not_more_than_half(right, passes):
    given = guess(4, 8, box=[10, 10, right, 30])
    result = evaluate_tubes({'q': truth(4, 8)}, {'q': given})
    assert result['vIoU@0.5'] == result['gt_vIoU@0.5'] == passes
    assert result['vIoU@0.3'] == 1


def test_sum_is_that_of_the_published_code():
    # 29 times 0.3 added one by one give a mean of 0.3; in pairs, more.
    true = truth(4, 33, range(40), [0, 0, 10, 10], segment=(0, 40))
    given = guess(4, 33, range(40), [0, 0, 3, 10])
    result = evaluate_tubes({'q': true}, {'q': given})
    assert result['m_vIoU'] == result['gt_m_vIoU'] == 0.3
    assert result['vIoU@0.3'] == result['gt_vIoU@0.3'] == 0


@pytest.mark.parametrize('value', [0.4, 0.5, 0.6])
@pytest.mark.parametrize('count', [6, 10, 19])
def test_a_tube_at_the_threshold_of_vid_sentence_passes(value, count):
    # Sums of 0.4 and 0.6 fall below what they should be.
    for less, passes in ((0, 1), (1e-6, 0)):
        box = [10, 10, 10 + 20 * value - less, 30]
        result = evaluate_tubes(
            {'q': truth(0, count)},
            {'q': guess(0, count, box=box)},
            'vid_sentence',
        )
        assert result[f'acc@{value}'] == passes


def test_means_and_table():
    truths = {
        'a': truth(4, 8, query_type='declarative'),
        'b': truth(4, 8, query_type='declarative'),
        'c': truth(4, 8, query_type='interrogative'),
    }
    guesses = {
        'a': guess(4, 8),
        'b': guess(12, 14),
        'c': guess(4, 6, box=LEFT_HALF),
    }
    result = evaluate_tubes(truths, guesses, per_query=True)
    assert result['m_tIoU'] == pytest.approx((1 + 0 + 0.5) / 3)
    assert result['declarative/m_vIoU'] == 0.5
    assert result['declarative/vIoU@0.5'] == 0.5
    assert result['interrogative/vIoU@0.3'] == 0
    assert result['interrogative/gt_m_vIoU'] == 0.5
    assert result['per_query']['c'] == dict(tiou=0.5, viou=0.25, gt_viou=0.5)
    accuracy = evaluate_tubes(truths, guesses, 'vid_sentence')
    assert list(accuracy)[:4] == ['acc@0.4', 'acc@0.5', 'acc@0.6', 'acc_avg']
    assert accuracy['acc_avg'] == pytest.approx((1 + 1 + 2 / 3) / 3)
    del truths['c'], guesses['b']
    with pytest.warns(UserWarning, match="1 of 2 .*'b'|1 pred.*'c'"):
        scores = score_tubes(truths, guesses)
    assert not any(key.startswith('interr') for key in scores.summary())
    lines = format_scores(scores).split('\n')
    assert lines[0].startswith('Protocol tubedetr: ')
    assert '2 queries, 1 without a prediction' in lines[1]
    rows = {line.split()[0]: line.split() for line in lines}
    assert rows['all'][1:4] == ['2', '50.00', '50.00']
    assert rows['declarative'][1:4] == ['2', '50.00', '50.00']


def test_the_label_tells_what_was_chosen():
    labels = [
        get_protocol(name, interpolate=choice).label
        for name, choice in [('stcat', None), ('stcat', False)]
    ]
    assert labels == ['stcat', 'stcat without interpolation']
    assert get_protocol('hcstvg', 'hcstvg') is PROTOCOLS['hcstvg']


def test_missing_and_unknown_queries():
    truths = {name: truth(4, 8) for name in 'abcdef'}
    guesses = {'a': guess(4, 8), 'z': guess(4, 8)}
    with pytest.warns(UserWarning, match="5 of 6 |1 pred.*'z'") as told:
        scores = score_tubes(truths, guesses)
    assert len(told) == 2
    assert (scores.missing, scores.unknown) == (list('bcdef'), ['z'])
    assert scores.summary()['m_tIoU'] == pytest.approx(1 / 6)
    five = r"5 of 6.*\('b', 'c', 'd', 'e', 'f'\)"
    with pytest.raises(ValueError, match=five):
        score_tubes(truths, guesses, strict=True)
    with pytest.raises(ValueError, match=r"6 of 6.*'e' and 1 more\)"):
        score_tubes(truths, {}, strict=True)
    with pytest.raises(ValueError, match="1 predictions belong.*'z'"):
        score_tubes({'a': truths['a']}, guesses, strict=True)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        evaluate_tubes({'a': truth(4, 8)}, {'a': guess(4, 8)}, strict=True)


def test_a_span_that_begins_where_the_segment_ends_is_elsewhere():
    true = truth(2, 6, segment=(0, 12))
    for span, is_elsewhere in ((12, 16), True), ((11, 16), False):
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            found = score_tubes({'q': true}, {'q': guess(*span, range(12))})
        assert (found.elsewhere == ['q']) == is_elsewhere


def test_forms_of_boxes():
    """Text, arrays, and numbers of numpy."""
    given = guess(4, 8, box=LEFT_HALF)
    frames, boxes = list(given['boxes']), list(given['boxes'].values())
    for form in (
        {str(frame): box for frame, box in given['boxes'].items()},
        {np.int32(f): np.array(LEFT_HALF, np.float32) for f in frames},
        (np.array(frames)[::-1], np.array(boxes)),
        (frames, np.array(boxes, dtype=object)),
    ):
        changed = dict(span=np.array([4, 8], np.float32), boxes=form)
        assert score_one(truth(4, 8), changed) == (1, 0.5, 0.5)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(span=[4, float('nan')]), 'span must be finite.*found nan'),
        (dict(span=['4', 8]), "span must be finite.*found '4'"),
        (dict(span=[4, 10**400]), 'span must be finite.*found 1000'),
        (dict(span=[4, 6, 8]), 'span must be two numbers'),
        (dict(span=[8, 4]), 'ends before it starts'),
        (dict(boxes={4: [0, 0, 1, float('inf')]}), 'box on frame 4'),
        (dict(boxes={4: BOX, 5: [0]}), r'frame 5 .*found \[0\]'),
        (dict(boxes={4: BOX, 5: list('1234')}), "frame 5 .*found .'1'"),
        (dict(boxes={4: BOX, 5: [True, 0, 2, 2]}), 'frame 5 .*found .Tr'),
        (dict(boxes={'x': BOX}), "whole numbers.*'x'"),
        (dict(boxes={4: BOX, 5.0: BOX}), 'whole numbers.*5.0'),
        (dict(boxes={4: BOX, True: BOX}), 'whole numbers.*True'),
        (dict(boxes={str(10**25): BOX}), 'whole numbers.*too large'),
        (dict(boxes={4: BOX, '4': BOX}), 'frame 4 has two boxes'),
        (dict(boxes=([4, 5], [BOX])), '2 frames have 1 boxes'),
        (dict(boxes=([4], np.zeros((0, 4)))), '1 frames have 0 boxes'),
        (dict(boxes=([4], np.ones((1, 4), bool))), 'frame 4 must be four'),
        (dict(boxes=[BOX]), 'mapping.*or a pair.*found list'),
    ],
)
def test_malformed_prediction_names_the_query(change, message):
    given = guess(4, 8) | change
    with pytest.raises(ValueError, match=message) as error:
        evaluate_tubes({'q7': truth(4, 8)}, {'q7': given})
    assert "prediction of query 'q7'" in str(error.value)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(span=[4, 4]), r'span \[4, 4\) must have .* at least one'),
        (dict(segment=[0, 10**9]), 'segment .* at most'),
        (dict(span=[4.5, 6]), 'span .* whole frames'),
        (dict(boxes={3: BOX, 8: BOX}), r'no box in the span \[4.0, 8.0\]'),
        (dict(segment=[0, 4]), r'\[4.0, 8.0\] lies outside .* \[0, 4\)'),
        (dict(fps=0), 'positive fps'),
        (dict(fps=None), 'positive fps'),
        (dict(fps='abc'), "fps must be finite.*found 'abc'"),
        (dict(query_type='question'), 'unknown query_type'),
    ],
)
def test_malformed_truth_names_the_query(change, message):
    with pytest.raises(ValueError, match=message) as error:
        evaluate_tubes({'q7': truth(4, 8) | change}, {'q7': guess(4, 8)})
    assert "ground truth of query 'q7'" in str(error.value)


def test_what_cannot_be_scored():
    one = {'a': truth(4, 8)}
    with pytest.raises(ValueError, match='no ground truth'):
        evaluate_tubes({}, {})
    with pytest.raises(ValueError, match="'x'.*tubedetr"):
        evaluate_tubes(one, {}, 'x')
    with pytest.raises(TypeError, match='predictions.*found list'):
        evaluate_tubes(one, ['a'])
    with pytest.raises(ValueError, match="'a': no 'span'"):
        evaluate_tubes(one, {'a': dict(boxes={})})


@pytest.mark.parametrize(
    ('segment', 'fps', 'wanted'),
    [
        ((0, 31), 30, [0, 6, 12, 18, 24]),
        ((7, 20), 25, [7, 10, 15]),
        # All but the last.
        ((3, 8), 4, [3, 4, 5, 6]),
        ((3, 4), 30, [3]),
    ],
)
def test_grid(segment, fps, wanted):
    assert sampled_grid(segment, fps).tolist() == wanted


@pytest.fixture(scope='module')
def eval_case(shared_data):
    """Truths, predictions, official answers and items of a file of cases."""

    def load(name, run):
        path = shared_data / 'eval_cases' / f'{name}.json'
        if not path.is_file():
            pytest.skip(f'no {path}')
        content = json.loads(path.read_text())
        truths, guesses = {}, {}
        for item in content['items']:
            # Raw begin and end numbers, read as docs/metrics.md says.
            first, last = item['segment']
            truths[str(item['id'])] = dict(
                span=item['gt_segment'],
                boxes=item['gt_boxes'],
                segment=[first, last + 1],
                fps=item['fps'],
            )
            guesses[str(item['id'])] = dict(
                span=item['pred_segment'], boxes=item['pred_boxes']
            )
        expected = content['expected'][run]['per_item']
        return truths, guesses, expected, content['items']

    return load


@pytest.mark.parametrize(
    ('name', 'run', 'protocol', 'interpolate'),
    [
        ('vidstg_dense', 'tubedetr_5fps', 'tubedetr', None),
        ('vidstg_sparse', 'tubedetr_5fps', 'tubedetr', None),
        ('hcstvg_dense', 'tubedetr', 'tubedetr', None),
        ('vidstg_sparse', 'stcat_faithful_interp', 'stcat', None),
        ('vidstg_dense', 'stcat_faithful', 'stcat', False),
        ('vidstg_dense', 'cgstvg_faithful', 'stcat', False),
        ('hcstvg_dense', 'stcat_faithful', 'stcat', False),
        ('hcstvg_dense', 'cgstvg_faithful', 'stcat', False),
        ('hcstvg_dense', 'cgstvg_missing_native', 'stcat', False),
    ],
)
def test_official_answers(eval_case, name, run, protocol, interpolate):
    truths, guesses, expected, items = eval_case(name, run)
    scores = score_tubes(
        truths,
        guesses,
        protocol,
        dataset=name.partition('_')[0],
        interpolate=interpolate,
    )
    for query_id, record in scores.records().items():
        answer = expected[query_id]
        for key, value in record.items():
            assert value == pytest.approx(answer[key], abs=1e-9), query_id
        for key in ('viou', 'gt_viou'):
            # Bit by bit: some items sit on the threshold.
            for limit in (0.3, 0.5):
                passed = float(record[key] > limit)
                assert passed == answer[f'{key}@{limit}'], query_id
    if run == 'tubedetr_5fps':
        for item in items:
            first, last = item['segment']
            grid = sampled_grid((first, last + 1), item['fps'])
            assert grid.tolist() == item['frame_ids']


# A second reading of docs/metrics.md, frame by frame and pixel by pixel.


def pixels(box):
    x1, y1, x2, y2 = box
    return {(x, y) for x in range(x1, x2) for y in range(y1, y2)}


def grid_again(segment, fps):
    ratio, chosen = 5 / fps, [segment[0]]
    for frame in range(segment[0], segment[1] - 1):
        if int(chosen[-1] * ratio) < int(frame * ratio):
            chosen.append(frame)
    number = min(200, len(chosen))
    return [chosen[place * len(chosen) // number] for place in range(number)]


def scored_again(how, true, given):
    (start, end), (first, last) = true['span'], given['span']
    held = how['protocol'] == 'stcat'
    if held:
        end = end - 1 if 'dataset' in how else min(end, true['segment'][1] - 1)
    frames = range(50)
    if how['protocol'] == 'tubedetr':
        frames = grid_again(true['segment'], true['fps'])
    graded = [f for f in frames if start <= f < end + held]
    iou = {}
    for frame in set(graded) & set(given['boxes']):
        one, two = (pixels(tube['boxes'][frame]) for tube in (true, given))
        iou[frame] = len(one & two) / len(one | two)
    hull = [f for f in frames if min(start, first) <= f < max(end, last)]
    both = set(range(max(start, first), min(end, last)))
    inside = [iou[frame] for frame in sorted(both & set(iou))]
    tiou = len(both) / (end - start + last - first - len(both))
    if how['protocol'] == 'hcstvg':
        tiou = len(inside) / len(hull)
    viou = sum(inside) / max(len(hull), 1)
    return tiou, viou, sum(iou.values()) / max(len(graded), 1)


@pytest.mark.parametrize('how', [TUBEDETR, STCAT, STCAT_HC, HCSTVG])
@pytest.mark.filterwarnings('ignore:.* have no box')
def test_as_a_second_reading(how):
    rng = np.random.default_rng(0)
    for _ in range(60):
        start = int(rng.integers(30))
        frames = range(start, start + int(rng.integers(4, 20)))
        tubes = []
        for _ in range(2):
            first, last = np.sort(rng.choice(len(frames) - 1, 2, False))
            low = rng.integers(0, 9, (50, 2))
            boxes = np.hstack([low, low + rng.integers(1, 9, (50, 2))])
            span = [start + int(first), start + int(last) + 1]
            boxes = {frame: boxes[frame].tolist() for frame in frames}
            tubes.append(dict(span=span, boxes=boxes))
        true, given = tubes
        true.update(segment=[start, frames[-1] + 1], fps=rng.choice([5, 9.7]))
        if how['protocol'] != 'stcat':
            for frame in rng.choice(frames, len(frames) // 3, False).tolist():
                del given['boxes'][frame]
        wanted = scored_again(how, true, given)
        assert score_one(true, given, **how) == pytest.approx(wanted)


@pytest.mark.parametrize('fps', [4.0, 5, 10, 23.976, 25, 25.8, 29.97, 60])
def test_grid_as_a_second_reading(fps):
    # HC-STVG has rates such as 25.8, where rounding decides on frame 129.
    for segment in ((0, 2), (3, 400), (250, 1750), (7, 3007)):
        wanted = grid_again(segment, fps)
        assert sampled_grid(segment, fps).tolist() == wanted
