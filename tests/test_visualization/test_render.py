"""Files drawn from a video."""

from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hero_mm.visualization import TubeView, VideoWriter, draw_from_video
from hero_mm.visualization.drawing import PRED_COLOR
from hero_mm.visualization.render import (
    PLAYED_FRAMES,
    played_frames,
    safe_name,
    write_drawings,
)


@pytest.fixture(scope='module')
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp('video') / 'v.mp4'
    with VideoWriter(path, fps=30, crf=5) as writer:
        for value in range(60):
            writer.write(np.full((400, 400, 3), 4 * value, np.uint8))
    return path


def make_view(**changes):
    box = np.array([100.0, 100, 200, 200])
    view = TubeView(
        'x',
        np.array([10, 30, 50]),
        (10, 50),
        30.0,
        pred_span=(20, 40),
        pred_bboxes=np.stack([box, box, box + 100]),
    )
    return replace(view, **changes)


def test_the_segment_is_played(video, tmp_path):
    paths = draw_from_video(video, [make_view()], tmp_path, ['a b'])
    names = [Path(path).name for path in paths]
    assert names == [f'{safe_name("a b")}{end}' for end in ('.png', '.mp4')]
    with av.open(paths[1]) as container:
        assert float(container.streams.video[0].average_rate) == 15
        frames = [
            frame.to_ndarray(format='rgb24')
            for frame in container.decode(video=0)
        ]
    assert len(frames) == 20
    greys = [frame[5:40, 5:40].mean() for frame in frames]
    np.testing.assert_allclose(greys, np.arange(10, 50, 2) * 4, atol=5)
    # The box stands still until frame 30, then moves right: frame 38 is 4/10
    # of the way.
    near = np.abs(frames[14].astype(int) - np.array(PRED_COLOR)).sum(-1) < 80
    columns = np.flatnonzero(near[:400].any(0))
    assert columns.min() == pytest.approx(140, abs=4)
    assert columns.max() == pytest.approx(240, abs=4)


def test_two_sentences_in_one_pass(video, tmp_path):
    views = [make_view(), make_view(text='y', pred_span=(10, 50))]
    paths = draw_from_video(video, views, tmp_path, ['a', 'b'], num_frames=2)
    names = [Path(path).name for path in paths]
    assert names == ['a.png', 'a.mp4', 'b.png', 'b.mp4']
    one, two = (cv2.imread(paths[i]) for i in (0, 2))
    assert one.shape == two.shape and (one != two).any()


def test_sheets_alone(video, tmp_path):
    paths = draw_from_video(
        video, [make_view()], tmp_path, ['a'], form='sheet'
    )
    assert [Path(path).suffix for path in paths] == ['.png']
    assert not list(tmp_path.glob('*.mp4'))


def test_an_error_leaves_no_half_of_a_file(tmp_path):
    views = [make_view(), make_view()]
    good = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(TypeError):
        write_drawings(
            lambda places: [good, np.zeros(3)],
            views,
            tmp_path,
            ['a', 'b'],
            'video',
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('fps', [5.0, 24.0, 29.97, 30.0, 120.0])
def test_played_frames_stay_inside_and_near_the_rate(fps):
    frames = played_frames((100, 400), fps)
    assert frames[0] == 100 and frames[-1] < 400
    rate = fps / np.diff(frames)[0]
    assert 5 <= rate <= 20


def test_long_videos_are_thinned_out():
    frames = played_frames((0, 30 * 3600), 30.0)
    assert PLAYED_FRAMES / 2 < len(frames) <= PLAYED_FRAMES


def test_nothing_of_the_user_is_replaced(video, tmp_path):
    """Nor an earlier drawing, but the same one."""
    own = {name: name.encode() for name in ('a.mp4', 'a-2.png', 'b.png')}
    for name, content in own.items():
        (tmp_path / name).write_bytes(content)

    def draw(text, name='a', **how):
        view = make_view(text=text)
        paths = draw_from_video(video, [view], tmp_path, [name], 2, **how)
        return [Path(path).name for path in paths]

    assert draw('x') == ['a-3.png', 'a-3.mp4']
    assert draw('other') == ['a-4.png', 'a-4.mp4']
    before = (tmp_path / 'a-4.png').read_bytes()
    assert draw('x') == ['a-3.png', 'a-3.mp4']
    assert (tmp_path / 'a-4.png').read_bytes() == before
    assert draw('x', keep=True) == ['a-5.png', 'a-5.mp4']
    assert draw('x', 'b', form='video') == ['b.mp4']
    assert draw('x', 'b') == ['b-2.png', 'b-2.mp4']
    for name, content in own.items():
        assert (tmp_path / name).read_bytes() == content
    assert not list(tmp_path.glob('.*'))


IDS = st.text(max_size=120) | st.text('aA./~_-', max_size=6)


@settings(max_examples=300)
@given(IDS, IDS)
def test_different_ids_get_different_files(one, two):
    """Also where the file system takes A for a."""
    names = [safe_name(one), safe_name(two)]
    assert (names[0].casefold() == names[1].casefold()) == (one == two)
    for name in names:
        assert 0 < len(name.encode()) <= 120
        assert not set(name) & set('/\\:*?"<>|\0') and name[0] != '.'


@pytest.mark.parametrize(
    'name', ['a', 'v12_0.5', 'clip-1_0', '0000_2401075277', 'best_3_17']
)
def test_plain_names_stay_as_they_are(name):
    assert safe_name(name) == name
