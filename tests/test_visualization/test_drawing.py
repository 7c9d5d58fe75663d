"""Boxes, sentence and span bar on the picture."""

from dataclasses import replace

import numpy as np
import pytest

from hero_mm.visualization import TubeView, draw_tube, draw_tube_sheet
from hero_mm.visualization.drawing import (
    ACTION_COLOR,
    BAR_LEFT,
    GT_COLOR,
    MARGIN,
    PANEL_COLOR,
    PRED_COLOR,
    TEXT_COLOR,
    draw_boxes,
    draw_timeline,
    fit_size,
    font,
    wrap_text,
)

T = 10


def make_view(**changes) -> TubeView:
    boxes = np.tile(np.array([[16.0, 16, 48, 48]]), (T, 1))
    view = TubeView(
        'What does the red square do?',
        np.arange(0, 50, 5),
        (0, 50),
        10.0,
        pred_span=(10, 40),
        pred_bboxes=boxes,
        score=0.5,
        gt_span=(20, 50),
        gt_bboxes=boxes - 8,
        gt_valid=np.arange(T) >= 4,
        action=np.linspace(0, 1, T),
    )
    return replace(view, **changes)


def grey(height=64, width=64):
    return np.full((height, width, 3), 90, np.uint8)


def is_color(image, color):
    return (image == np.array(color, np.uint8)).all(-1)


def where(image, color):
    return np.argwhere(is_color(image, color))


@pytest.mark.parametrize(
    'size,shown',
    [
        ((7, 7), (385, 385)),
        ((48, 100), (192, 400)),
        ((400, 300), (400, 300)),
        ((1920, 1080), (960, 540)),
        # Narrow, not gone.
        ((4000, 2), (960, 1)),
    ],
)
def test_sizes(size, shown):
    """Small videos grow by a whole factor, large ones shrink."""
    assert fit_size(*size) == shown


def test_both_boxes_are_drawn_where_they_are():
    image = draw_tube(grey(), make_view(), 5)[:384]
    pred, true = where(image, PRED_COLOR), where(image, GT_COLOR)
    # 16..48 and 8..40 of 64 pixels, at 6 times the size.
    assert np.abs(pred.min(0) - 96).max() <= 2
    assert np.abs(pred.max(0) - 287).max() <= 2
    assert np.abs(true.min(0) - 48).max() <= 2
    # The truth is dashed: its line has gaps.
    full = np.unique(pred[:, 0], return_counts=True)[1].max()
    dashed = np.unique(true[:, 0], return_counts=True)[1].max()
    assert dashed < 0.75 * full
    # Outside the spans there is no box.
    image = draw_tube(grey(), make_view(), 0)[:384]
    assert not len(where(image, PRED_COLOR)) + len(where(image, GT_COLOR))


@pytest.mark.parametrize(
    'box,drawn',
    [
        ((-50, -50, 500, 500), True),
        ((60, 60, 90, 90), True),
        ((5, 5, 5.2, 5.2), True),
        ((100, 100, 120, 120), False),
    ],
)
def test_a_box_beyond_the_frame_is_cut(box, drawn):
    image = draw_boxes(grey(), [(np.array(box), PRED_COLOR, False)])
    assert bool(len(where(image, PRED_COLOR))) is drawn


def test_wrapped_lines_fit_and_lose_no_word():
    text = 'the quick brown fox ' * 8 + 'x' * 90
    lines = wrap_text(text, 200, 16)
    assert all(font(16).getlength(line) <= 220 for line in lines)
    assert ''.join(lines).replace(' ', '') == text.replace(' ', '')
    assert wrap_text('', 200, 16) == []
    short, long = (
        draw_tube(grey(), make_view(text=some), 0) for some in ('x', text)
    )
    assert long.shape[0] > short.shape[0] + 60


def test_the_sheet_has_its_frames_in_rows():
    frames = np.stack(
        [np.full((64, 64, 3), 8 * i, np.uint8) for i in range(T)]
    )
    two_rows, one_row = (
        draw_tube_sheet(frames.__getitem__, make_view(), count)
        for count in (8, 4)
    )
    # Four tiles of 320 pixels and five gaps of 6.
    assert two_rows.shape[1] == one_row.shape[1] == 4 * 320 + 5 * 6
    assert two_rows.shape[0] - one_row.shape[0] == 320 + 20
    single = TubeView('x', np.array([3]), (3, 4), 10.0, pred_span=(3, 4))
    assert draw_tube_sheet(frames.__getitem__, single).shape[1] >= 384


def bar_view(segment=(100, 200), **changes):
    frames = np.arange(segment[0], segment[1], 10)
    return TubeView('x', frames, segment, 25.0, **changes)


@pytest.mark.parametrize(
    'span,shown', [((120, 180), (0.2, 0.8)), ((50, 400), (0, 1))]
)
def test_spans_stand_where_they_are(span, shown):
    """Also in a segment that begins later; what is beyond it is cut."""
    bar = is_color(
        draw_timeline(bar_view(pred_span=span), 500, []), PRED_COLOR
    )
    columns = np.flatnonzero(bar[:, BAR_LEFT:].any(0))
    width = 500 - MARGIN - BAR_LEFT
    assert columns.min() == pytest.approx(shown[0] * width, abs=1)
    assert columns.max() == pytest.approx(shown[1] * width, abs=2)
    # The label has the colour of its span, and room.
    assert bar[:, MARGIN : BAR_LEFT - 2].any()


def test_a_short_span_can_be_seen_and_the_action_curve_rises():
    bar = draw_timeline(bar_view(gt_span=(150, 150.01)), 400, [])
    assert 1 <= is_color(bar, GT_COLOR)[:, BAR_LEFT:].any(0).sum() <= 3
    bar = draw_timeline(make_view(), 500, [])[:, BAR_LEFT:-MARGIN]
    heights = is_color(bar, ACTION_COLOR).sum(0)
    assert heights[5] < heights[200] < heights[-5]


def test_rows_that_are_missing_take_no_room():
    bare = make_view(gt_span=None, gt_bboxes=None, gt_valid=None, action=None)
    bars = [draw_timeline(view, 500, [0]) for view in (make_view(), bare)]
    assert len(bars[1]) < len(bars[0]) - 30
    assert not len(where(bars[1], GT_COLOR))


def test_every_chosen_frame_has_a_mark():
    view = bar_view(pred_span=(100, 120))
    bars = [draw_timeline(view, 600, chosen) for chosen in ([3], [1, 4, 8])]
    for bar, count in zip(bars, (1, 3)):
        marks = is_color(bar, TEXT_COLOR)[10:20, BAR_LEFT:].all(0)
        assert 1 + int((np.diff(np.flatnonzero(marks)) > 1).sum()) == count
    # Of a single one the time is written, between those of the ends.
    below = [bar[-18:, BAR_LEFT + 100 : -100] for bar in bars]
    assert not is_color(below[0], PANEL_COLOR).all()
    assert is_color(below[1], PANEL_COLOR).all()
