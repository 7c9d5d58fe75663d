"""The bar below the picture, and the type it is set in."""

import numpy as np
import pytest

from hero_mm.visualization.style import (
    GT_COLOR,
    PANEL_COLOR,
    PRED_COLOR,
    TEXT_COLOR,
    font,
)
from hero_mm.visualization.timeline import Timeline, frame_label
from hero_mm.visualization.tube_view import TubeView


def make_view(segment=(100, 200), **changes):
    frames = np.arange(segment[0], segment[1], 10)
    return TubeView('x', frames, segment, 25.0, **changes)


def is_color(image, color):
    return (image == np.array(color, np.uint8)).all(-1)


def test_time_and_number_of_a_frame():
    assert frame_label(make_view(), 5) == '6.0 s, frame 150'


def test_a_segment_that_does_not_start_at_zero():
    timeline = Timeline(make_view(pred_span=(150, 200)), 400)
    assert timeline.x_of(100) == timeline.left
    assert timeline.x_of(200) == timeline.right
    assert timeline.x_of(150) == pytest.approx(
        (timeline.left + timeline.right) / 2, abs=1
    )


def test_a_span_beyond_the_segment_is_cut():
    timeline = Timeline(make_view(pred_span=(50, 400)), 400)
    bar = is_color(timeline.draw([]), PRED_COLOR)
    columns = np.flatnonzero(bar[:, timeline.left :].any(0)) + timeline.left
    assert columns.min() == timeline.left
    assert columns.max() <= timeline.right


def test_a_short_span_can_be_seen():
    timeline = Timeline(make_view(gt_span=(150, 150.01)), 400)
    bar = is_color(timeline.draw([]), GT_COLOR)[:, timeline.left :]
    assert 1 <= bar.any(0).sum() <= 3


def test_every_chosen_frame_has_a_mark():
    timeline = Timeline(make_view(pred_span=(100, 120)), 600)
    image = timeline.draw([1, 4, 8])
    marks = is_color(image, TEXT_COLOR)[10 : timeline.bottom]
    columns = np.flatnonzero(marks[:, timeline.left :].all(0))
    groups = 1 + int((np.diff(columns) > 1).sum())
    assert groups == 3


def test_the_time_is_written_for_a_single_frame():
    timeline = Timeline(make_view(pred_span=(100, 120)), 600)
    below = slice(timeline.bottom + 1, None)
    middle = slice(timeline.left + 150, timeline.right - 150)
    one = timeline.draw([3])[below, middle]
    two = timeline.draw([3, 4])[below, middle]
    assert not is_color(one, PANEL_COLOR).all()
    assert is_color(two, PANEL_COLOR).all()


def test_drawing_does_not_change_the_background():
    timeline = Timeline(make_view(pred_span=(100, 120)), 300)
    before = timeline.draw([2])
    timeline.draw([7])
    np.testing.assert_array_equal(before, timeline.draw([2]))


def test_labels_have_room():
    timeline = Timeline(make_view(pred_span=(100, 120)), 300)
    assert timeline.left > font(12).getlength('prediction')
    image = timeline.draw([])
    label = is_color(image, PRED_COLOR)[:, : timeline.left - 2]
    assert label.any(), 'the name of the row has its colour'


@pytest.mark.parametrize('text', ['größer', 'где', 'où', 'ñandú'])
def test_letters_of_many_languages_are_drawn(text):
    missing = font(16).getmask('\uffff').getbbox()
    sizes = {font(16).getmask(letter).getbbox() for letter in text}
    assert None not in sizes and len(sizes - {missing}) > 1
