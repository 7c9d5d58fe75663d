"""Which frames of a segment are taken."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hero_mm.datasets.tracks import frames_of_span
from hero_mm.datasets.transforms import SampleClipFrames
from hero_mm.datasets.transforms.sampling import (
    fps_grid,
    uniform_grid,
)


def _results(start=10, end=42, spans=((15, 20), (18, 30)), fps=8.0):
    return dict(
        segment=(start, end),
        fps=fps,
        queries=[dict(span=list(span)) for span in spans],
    )


def _greedy(start, end, native, fps, most):
    """TubeDETR's rule, as it is published."""
    rate = fps / native
    frames = [start]
    for frame in range(start, end):
        if int(frames[-1] * rate) < int(frame * rate):
            frames.append(frame)
    if len(frames) > most:
        frames = [frames[(j * len(frames)) // most] for j in range(most)]
    return frames


def test_uniform_takes_the_middles():
    assert uniform_grid(0, 8, 4).tolist() == [1, 3, 5, 7]
    assert uniform_grid(10, 19, 3).tolist() == [11, 14, 17]
    assert uniform_grid(10, 15, 1).tolist() == [12]


@given(st.integers(0, 500), st.integers(1, 900), st.integers(1, 130))
def test_uniform_never_repeats_a_frame(start, length, count):
    grid = uniform_grid(start, start + length, count)
    assert len(grid) == min(length, count)
    assert (np.diff(grid) > 0).all()
    assert start <= grid[0] and grid[-1] < start + length
    assert grid.dtype == np.int64


@settings(max_examples=60)
@given(
    st.integers(0, 300),
    st.integers(1, 1200),
    st.sampled_from([10.0, 14.99, 24.0, 25.0, 29.97, 30.0]),
    st.sampled_from([2.0, 3.2, 5.0, 6.4]),
    st.integers(1, 210),
)
def test_fps_is_the_greedy_rule(start, length, native, fps, most):
    end = start + length
    grid = fps_grid(start, end, native, fps, most).tolist()
    assert grid == _greedy(start, end, native, fps, most)


def test_transform_uniform_and_fps():
    results = SampleClipFrames(num_frames=4).transform(_results(0, 8, ()))
    assert results['frame_inds'].tolist() == [1, 3, 5, 7]
    assert results['segment'] == (0, 8)
    step = SampleClipFrames(fps=4, max_frames=3, mode='fps')
    results = step.transform(_results(0, 8, ()))
    assert results['frame_inds'].tolist() == [0, 2, 4]
    assert fps_grid(3, 9, 10.0, 50.0).tolist() == [3, 4, 5, 6, 7, 8]


def test_jitter_stays_in_its_part_and_follows_the_seed():
    step = SampleClipFrames(num_frames=5, jitter=True)
    seen = set()
    for seed in range(30):
        np.random.seed(seed)
        grid = step.transform(_results())['frame_inds']
        np.random.seed(seed)
        again = step.transform(_results())['frame_inds']
        assert (grid == again).all()
        edges = 10 + np.arange(6) * 32 / 5
        assert (grid >= np.floor(edges[:-1])).all()
        assert (grid < edges[1:]).all()
        # Equal steps: what moves keeps its speed.
        assert set(np.diff(grid)) <= {6, 7}
        seen.add(tuple(grid))
    assert len(seen) > 10
    short = step.transform(_results(3, 6, ()))
    assert short['frame_inds'].tolist() == [3, 4, 5]


@pytest.mark.parametrize('min_frames', [1, 25, 100])
def test_crop_keeps_the_span_of_every_query(min_frames):
    step = SampleClipFrames(num_frames=4, crop_prob=1.0, min_frames=min_frames)
    starts, ends = set(), set()
    for seed in range(200):
        np.random.seed(seed)
        start, end = step.transform(_results())['segment']
        assert 10 <= start <= 15 and 30 <= end <= 42
        assert end - start >= min(min_frames, 32)
        starts.add(start)
        ends.add(end)
    if min_frames == 1:
        assert starts == set(range(10, 16)) and ends == set(range(30, 43))
    if min_frames == 100:
        assert starts == {10} and ends == {42}


def test_crop_has_its_chance_and_needs_spans():
    step = SampleClipFrames(num_frames=4, crop_prob=0.5)
    np.random.seed(0)
    whole = sum(
        step.transform(_results(0, 500))['segment'] == (0, 500)
        for _ in range(200)
    )
    assert 70 < whole < 130
    results = dict(segment=(0, 9), fps=5.0, queries=[dict(text='a dog')])
    assert step.transform(results)['segment'] == (0, 9)


@pytest.mark.parametrize(
    ('span', 'frames'),
    [
        ((10, 13), [10, 11, 12]),
        ((10.5, 12.5), [11, 12]),
        ((8, 99), list(range(10, 20))),
        ((10.2, 10.8), [10]),
        ((12, 12), [12]),
        ((20, 20), [19]),
        ((3, 5), [10]),
    ],
)
def test_a_span_has_frames(span, frames):
    assert frames_of_span(span, (10, 20)).tolist() == frames


@pytest.mark.parametrize(
    'options', [dict(num_frames=4), dict(mode='fps', fps=2)]
)
def test_a_segment_of_one_frame_and_of_none(options):
    step = SampleClipFrames(**options)
    results = step.transform(_results(7, 8, spans=((7, 8),)))
    assert results['frame_inds'].tolist() == [7]
    for start, end in ((7, 7), (-1, 4), (0, 10**9)):
        with pytest.raises(ValueError, match='the segment .* must have 1 to'):
            step.transform(_results(start, end))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(), 'needs num_frames >= 1, got None'),
        (dict(num_frames=0), 'num_frames >= 1, got 0'),
        (dict(mode='any', num_frames=3), "got 'any'"),
        (dict(mode='fps'), 'needs fps > 0'),
        (dict(mode='fps', fps=5, jitter=True), 'jitter=False'),
    ],
)
def test_what_cannot_be_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SampleClipFrames(**options)
