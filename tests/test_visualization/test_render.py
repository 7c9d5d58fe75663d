"""Files that a browser plays, drawn from a video."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hero_mm.datasets.video_reader import open_video
from hero_mm.visualization import (
    TubeView,
    VideoWriter,
    draw_from_video,
    write_png,
)
from hero_mm.visualization.drawing import PRED_COLOR
from hero_mm.visualization.render import (
    PLAYED_FRAMES,
    draw_in_colors,
    playback_fps,
    played_frames,
    safe_name,
)


def write(path, images, fps=5):
    with VideoWriter(path, fps) as writer:
        for image in images:
            writer.write(image)


def shade(value, height=48, width=64):
    return np.full((height, width, 3), value, np.uint8)


def read(path):
    with open_video(str(path)) as reader:
        return reader.get_frames(np.arange(reader.check_whole()))


def near(image, color):
    return np.abs(image.astype(int) - np.array(color)).sum(-1) < 80


def test_the_file_is_what_browsers_play(tmp_path):
    path = tmp_path / 'new' / 'x.mp4'
    write(path, map(shade, (0, 60, 120, 180, 240)), fps=12.5)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == 'h264'
        assert stream.codec_context.pix_fmt == 'yuv420p'
        assert float(stream.average_rate) == pytest.approx(12.5)
    means = read(path).reshape(5, -1).mean(1)
    np.testing.assert_allclose(means, [0, 60, 120, 180, 240], atol=4)
    data = path.read_bytes()
    assert data.index(b'moov') < data.index(b'mdat'), 'the index comes first'
    # Odd sides become even.
    write(path, [shade(200, height=33, width=47)])
    (frame,) = read(path)
    assert frame.shape == (34, 48, 3) and frame[-1, -1].min() > 180


def test_what_is_not_complete_leaves_nothing(tmp_path):
    write(tmp_path / 'x.mp4', [])
    for images, error in (
        ([shade(1), shade(1, height=50)], r'x\.mp4.*shape.*resize'),
        ([np.zeros((4, 4, 3))], 'uint8'),
    ):
        with pytest.raises(ValueError, match=error):
            write(tmp_path / 'x.mp4', images)
    assert list(tmp_path.iterdir()) == []


def test_bad_arguments_are_named(tmp_path):
    for name, fps in ('x.avi', 5), ('x.mp4', 0):
        with pytest.raises(ValueError, match=rf'{name}, {fps} frames'):
            VideoWriter(tmp_path / name, fps)


def test_png_keeps_the_pixels(tmp_path):
    image = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
    write_png(tmp_path / 'a' / 'x.png', image)
    back = cv2.imread(str(tmp_path / 'a' / 'x.png'))[..., ::-1]
    np.testing.assert_array_equal(back, image)


@pytest.fixture(scope='module')
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp('video') / 'v.mp4'
    write(path, [shade(4 * n, 400, 400) for n in range(60)], fps=30)
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
    views = [make_view(), make_view(text='y', pred_span=(10, 50))]
    paths = draw_from_video(video, views, tmp_path, ['a b', 'b'])
    names = [Path(path).name for path in paths]
    stem = safe_name('a b')
    assert names == [f'{stem}.png', f'{stem}.mp4', 'b.png', 'b.mp4']
    one, two = (cv2.imread(paths[i]) for i in (0, 2))
    assert one.shape == two.shape and (one != two).any()
    with open_video(paths[1]) as reader:
        assert float(reader.fps) == 15
    frames = read(paths[1])
    assert len(frames) == 20
    greys = [frame[5:40, 5:40].mean() for frame in frames]
    np.testing.assert_allclose(greys, np.arange(10, 50, 2) * 4, atol=5)
    # The box stands still until frame 30, then moves right: frame 38 is 4/10
    # of the way.
    columns = np.flatnonzero(near(frames[14], PRED_COLOR)[:400].any(0))
    assert columns.min() == pytest.approx(140, abs=4)
    assert columns.max() == pytest.approx(240, abs=4)


def test_tubes_in_their_colours(tmp_path):
    write(tmp_path / 'in.mp4', [shade(90, 100, 100)] * 4, fps=10)
    boxes = np.array([[10, 10, 40, 40], [60, 60, 90, 90]], float)
    clip = dict(frame_inds=np.arange(4), segment=(0, 4), fps=10.0)
    views = [
        make_view(**clip, pred_span=(0, end), pred_bboxes=np.tile(box, (4, 1)))
        for end, box in zip((2, 4), boxes)
    ]
    colors = (240, 150, 20), (86, 180, 233)
    target = tmp_path / 'o.mp4'
    assert draw_in_colors(tmp_path / 'in.mp4', views, colors, target) == 10
    frames = read(target)
    assert frames.shape == (4, 400, 400, 3)
    # The lower edges of the boxes, enlarged four times.
    seen = near(frames[:, [158, 358], [120, 300]], colors)
    assert seen.tolist() == [[True, True]] * 2 + [[False, True]] * 2


def test_pixels_that_are_not_square_are_drawn_as_displayed(tmp_path):
    """64 x 48 stored pixels, each twice as wide as high; boxes count them."""
    path = tmp_path / 'wide.mp4'
    image = shade(0)
    image[8:40, 40:56] = 255
    with av.open(str(path), 'w') as output:
        stream = output.add_stream('libx264', rate=8)
        stream.height, stream.width = image.shape[:2]
        stream.codec_context.sample_aspect_ratio = Fraction(2, 1)
        frame = av.VideoFrame.from_ndarray(image, format='rgb24')
        for packet in [*stream.encode(frame), *stream.encode()]:
            output.mux(packet)
    box = np.array([[40.0, 8, 56, 40]])
    view = TubeView(
        'x', np.arange(1), (0, 1), 8.0, pred_span=(0, 1), pred_bboxes=box
    )
    (sheet,) = draw_from_video(path, [view], tmp_path, ['a'], form='sheet')
    drawn = cv2.imread(sheet)[..., ::-1][50:-60]
    for shown in (drawn.min(-1) > 180, near(drawn, PRED_COLOR)):
        rows, columns = np.nonzero(shown)
        assert np.ptp(columns) == pytest.approx(np.ptp(rows), rel=0.15)


@pytest.mark.parametrize('fps', [5.0, 24.0, 29.97, 30.0, 120.0])
def test_played_frames_stay_inside_and_near_the_rate(fps):
    frames = played_frames((100, 400), fps)
    assert frames[0] == 100 and frames[-1] < 400
    assert 5 <= fps / np.diff(frames)[0] <= 20
    # They last as long as in life, but one frame and no more is a second.
    for frames, rate in (([0, 3, 6], 10), ([4], 1), ([0, 90], 1)):
        view = TubeView('x', np.array(frames), (0, 99), 30.0)
        assert playback_fps(view) == pytest.approx(rate)
    # Long videos are thinned out.
    count = len(played_frames((0, 3600 * fps), fps))
    assert PLAYED_FRAMES / 2 < count <= PLAYED_FRAMES


def test_nothing_of_the_user_is_replaced(video, tmp_path):
    """Nor an earlier drawing, but the same one."""
    own = {name: name.encode() for name in ('a.mp4', 'a-2.png', 'b.png')}
    for name, content in own.items():
        (tmp_path / name).write_bytes(content)

    def draw(text, name='a', **how):
        view = make_view(text=text)
        paths = draw_from_video(video, [view], tmp_path, [name], **how)
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


def test_two_that_draw_at_once_have_names_of_their_own(video, tmp_path):
    def draw(text):
        view = make_view(text=text)
        return draw_from_video(video, [view], tmp_path, ['a'])

    with ThreadPoolExecutor() as pool:
        files = [*pool.map(draw, map(str, range(4)))]
    assert len({name for pair in files for name in pair}) == 8
    assert len([*tmp_path.iterdir()]) == 8
