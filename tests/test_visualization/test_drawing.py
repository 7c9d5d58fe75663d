"""Boxes, sentence and span bar on the picture."""

from dataclasses import replace

import numpy as np
import pytest

from hero_mm.visualization.drawing import (
    ACTION_COLOR,
    GT_COLOR,
    PANEL_COLOR,
    PRED_COLOR,
    TEXT_COLOR,
    Timeline,
    TubePainter,
    draw_box,
    draw_boxes,
    draw_tube_sheet,
    fit_size,
    font,
    frame_label,
    wrap_text,
)
from hero_mm.visualization.tube_view import TubeView

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
        ((64, 64), (384, 384)),
        ((48, 100), (192, 400)),
        ((400, 300), (400, 300)),
        ((720, 1280), (540, 960)),
        ((1920, 1080), (960, 540)),
    ],
)
def test_sizes(size, shown):
    assert fit_size(*size)[:2] == shown


def test_small_videos_grow_by_a_whole_factor():
    for side in (1, 7, 63, 129, 383):
        height, width, scale = fit_size(side, side)
        assert scale == int(scale) and width == side * scale >= 384
        assert height == width


def test_both_boxes_are_drawn_where_they_are():
    image = draw_boxes(grey(), make_view(), 5)
    pred = where(image, PRED_COLOR)
    # 16..48 of 64 pixels, at 6 times the size; the line is 3 wide.
    assert np.abs(pred.min(0) - 96).max() <= 2
    assert np.abs(pred.max(0) - 287).max() <= 2
    true = where(image, GT_COLOR)
    assert np.abs(true.min(0) - 48).max() <= 1
    assert 0 < len(true) < len(pred) / 2, 'the truth is thin and dashed'


def test_boxes_outside_their_span_are_not_drawn():
    first = draw_boxes(grey(), make_view(), 0)
    assert len(where(first, PRED_COLOR)) == len(where(first, GT_COLOR)) == 0
    last = draw_boxes(grey(), make_view(), 9)
    assert len(where(last, PRED_COLOR)) == 0 < len(where(last, GT_COLOR))


def test_the_frame_given_is_left_alone():
    frame = grey(400, 400)
    TubePainter(make_view(), (400, 400)).draw(frame, 5)
    assert (frame == 90).all()


@pytest.mark.parametrize(
    'box', [(-50, -50, 500, 500), (60, 60, 90, 90), (5, 5, 5.2, 5.2)]
)
def test_a_box_beyond_the_frame_is_cut(box):
    image = grey()
    draw_box(image, box, PRED_COLOR)
    assert image.shape == (64, 64, 3)


def test_a_box_outside_is_not_drawn():
    image = grey()
    draw_box(image, (100, 100, 120, 120), PRED_COLOR)
    assert (image == 90).all()


def test_wrapped_lines_fit_and_lose_no_word():
    text = 'the quick brown fox ' * 8 + 'x' * 90
    lines = wrap_text(text, 200, 16)
    assert all(font(16).getlength(line) <= 200 for line in lines)
    assert ''.join(lines).replace(' ', '') == text.replace(' ', '')
    assert wrap_text('', 200, 16) == ['']


def test_a_long_sentence_makes_the_caption_higher():
    short, long = (
        TubePainter(make_view(text=text), (64, 64)).draw(grey(), 0)
        for text in ('short', 'so many words ' * 20)
    )
    assert long.shape[0] > short.shape[0] + 60
    assert long.shape[1] == short.shape[1] == 384


def test_the_span_bar_has_the_spans():
    timeline = Timeline(make_view(), 500)
    bar = timeline.draw([0])
    inner = bar[:, timeline.left :]
    width = timeline.right - timeline.left
    for color, (start, end) in ((PRED_COLOR, (10, 40)), (GT_COLOR, (20, 50))):
        columns = where(inner, color)[:, 1]
        assert columns.min() == pytest.approx(start / 50 * width, abs=1)
        assert columns.max() == pytest.approx(end / 50 * width, abs=2)


def test_the_action_curve_rises():
    timeline = Timeline(make_view(), 500)
    bar = timeline.draw([])[:, timeline.left : timeline.right]
    heights = is_color(bar, ACTION_COLOR).sum(0)
    assert heights[5] < heights[200] < heights[-5]


def test_the_playhead_moves():
    timeline = Timeline(make_view(), 500)

    def place(index):
        bar = timeline.draw([index])[8 : timeline.bottom, timeline.left :]
        column = is_color(bar, TEXT_COLOR).sum(0)
        return column.argmax()

    places = [place(index) for index in range(T)]
    steps = np.diff(places)
    assert (steps > 30).all() and np.ptp(steps) <= 2


def test_rows_that_are_missing_take_no_room():
    everything = Timeline(make_view(), 500).height
    bare = make_view(gt_span=None, gt_bboxes=None, gt_valid=None, action=None)
    assert Timeline(bare, 500).height < everything - 30
    assert len(where(Timeline(bare, 500).draw([0]), GT_COLOR)) == 0


def test_a_clip_of_one_frame_can_be_drawn():
    view = TubeView('x', np.array([3]), (3, 4), 10.0, pred_span=(3, 4))
    image = draw_tube_sheet(grey()[None], view)
    assert image.shape[1] >= 384


def test_all_frames_of_a_painter_have_one_size():
    view = make_view()
    painter = TubePainter(view, (100, 40))
    shapes = {painter.draw(grey(100, 40), index).shape for index in range(T)}
    assert len(shapes) == 1 and shapes.pop()[1] == 384


def test_the_sheet_has_its_frames_in_rows():
    frames = np.stack(
        [np.full((64, 64, 3), 8 * i, np.uint8) for i in range(T)]
    )
    sheet = draw_tube_sheet(frames, make_view(), count=8)
    # Four tiles of 320 pixels and five gaps of 6.
    assert sheet.shape[1] == 4 * 320 + 5 * 6
    two_rows = 2 * (320 + 20)
    extra = sheet.shape[0] - two_rows
    assert 60 < extra < 200
    one_row = draw_tube_sheet(frames, make_view(), count=4)
    assert one_row.shape[0] < sheet.shape[0] - 300


def test_the_sheet_wants_the_frames_of_the_view():
    with pytest.raises(ValueError, match='10 frames.*got 3'):
        draw_tube_sheet(np.stack([grey()] * 3), make_view())


def bar_view(segment=(100, 200), **changes):
    frames = np.arange(segment[0], segment[1], 10)
    return TubeView('x', frames, segment, 25.0, **changes)


def test_time_and_number_of_a_frame():
    assert frame_label(bar_view(), 5) == '6.0 s, frame 150'


def test_a_segment_that_does_not_start_at_zero():
    timeline = Timeline(bar_view(pred_span=(150, 200)), 400)
    assert timeline.x_of(100) == timeline.left
    assert timeline.x_of(200) == timeline.right
    assert timeline.x_of(150) == pytest.approx(
        (timeline.left + timeline.right) / 2, abs=1
    )


def test_a_span_beyond_the_segment_is_cut():
    timeline = Timeline(bar_view(pred_span=(50, 400)), 400)
    bar = is_color(timeline.draw([]), PRED_COLOR)
    columns = np.flatnonzero(bar[:, timeline.left :].any(0)) + timeline.left
    assert columns.min() == timeline.left
    assert columns.max() <= timeline.right


def test_a_short_span_can_be_seen():
    timeline = Timeline(bar_view(gt_span=(150, 150.01)), 400)
    bar = is_color(timeline.draw([]), GT_COLOR)[:, timeline.left :]
    assert 1 <= bar.any(0).sum() <= 3


def test_every_chosen_frame_has_a_mark():
    timeline = Timeline(bar_view(pred_span=(100, 120)), 600)
    image = timeline.draw([1, 4, 8])
    marks = is_color(image, TEXT_COLOR)[10 : timeline.bottom]
    columns = np.flatnonzero(marks[:, timeline.left :].all(0))
    groups = 1 + int((np.diff(columns) > 1).sum())
    assert groups == 3


def test_the_time_is_written_for_a_single_frame():
    timeline = Timeline(bar_view(pred_span=(100, 120)), 600)
    below = slice(timeline.bottom + 1, None)
    middle = slice(timeline.left + 150, timeline.right - 150)
    one = timeline.draw([3])[below, middle]
    two = timeline.draw([3, 4])[below, middle]
    assert not is_color(one, PANEL_COLOR).all()
    assert is_color(two, PANEL_COLOR).all()


def test_drawing_does_not_change_the_background():
    timeline = Timeline(bar_view(pred_span=(100, 120)), 300)
    before = timeline.draw([2])
    timeline.draw([7])
    np.testing.assert_array_equal(before, timeline.draw([2]))


def test_labels_have_room():
    timeline = Timeline(bar_view(pred_span=(100, 120)), 300)
    assert timeline.left > font(12).getlength('prediction')
    image = timeline.draw([])
    label = is_color(image, PRED_COLOR)[:, : timeline.left - 2]
    assert label.any(), 'the name of the row has its colour'


@pytest.mark.parametrize('text', ['größer', 'где', 'où', 'ñandú'])
def test_letters_of_many_languages_are_drawn(text):
    missing = font(16).getmask('\uffff').getbbox()
    sizes = {font(16).getmask(letter).getbbox() for letter in text}
    assert None not in sizes and len(sizes - {missing}) > 1
