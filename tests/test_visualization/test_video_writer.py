"""The files a browser plays."""

import av
import cv2
import numpy as np
import pytest

from hero_mm.visualization.video_writer import VideoWriter, write_png


def read(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        facts = dict(
            codec=stream.codec_context.name,
            pix_fmt=stream.codec_context.pix_fmt,
            rate=stream.average_rate,
            size=(stream.width, stream.height),
        )
        frames = [
            frame.to_ndarray(format='rgb24')
            for frame in container.decode(video=0)
        ]
    return facts, frames


def shade(value, height=48, width=64):
    return np.full((height, width, 3), value, np.uint8)


def test_the_file_is_what_browsers_play(tmp_path):
    path = tmp_path / 'new' / 'x.mp4'
    with VideoWriter(path, fps=12.5) as writer:
        for value in (0, 60, 120, 180, 240):
            writer.write(shade(value))
    facts, frames = read(path)
    assert facts['codec'] == 'h264' and facts['pix_fmt'] == 'yuv420p'
    assert float(facts['rate']) == pytest.approx(12.5)
    assert facts['size'] == (64, 48)
    means = [frame.mean() for frame in frames]
    np.testing.assert_allclose(means, [0, 60, 120, 180, 240], atol=4)


def test_the_index_stands_before_the_pictures(tmp_path):
    with VideoWriter(tmp_path / 'x.mp4', fps=5) as writer:
        writer.write(shade(9))
    data = (tmp_path / 'x.mp4').read_bytes()
    assert data.index(b'moov') < data.index(b'mdat')


def test_odd_sides_become_even(tmp_path):
    with VideoWriter(tmp_path / 'x.mp4', fps=5) as writer:
        writer.write(shade(200, height=33, width=47))
    facts, frames = read(tmp_path / 'x.mp4')
    assert facts['size'] == (48, 34)
    assert frames[0][-1, -1].min() > 180


def test_a_writing_that_fails_leaves_nothing(tmp_path):
    with (
        pytest.raises(ValueError, match=r'x\.mp4.*shape.*resize'),
        VideoWriter(tmp_path / 'x.mp4', fps=5) as writer,
    ):
        writer.write(shade(1))
        writer.write(shade(1, height=50))
    assert list(tmp_path.iterdir()) == []


def test_no_frame_no_file(tmp_path):
    with VideoWriter(tmp_path / 'x.mp4', fps=5):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    'name,fps,message', [('x.avi', 5, 'mp4'), ('x.mp4', 0, 'above 0')]
)
def test_bad_arguments_are_named(tmp_path, name, fps, message):
    with pytest.raises(ValueError, match=message):
        VideoWriter(tmp_path / name, fps)


@pytest.mark.parametrize(
    'image,error',
    [
        (np.zeros((4, 4, 3)), TypeError),
        ([[1]], TypeError),
        (np.zeros((4, 4), np.uint8), ValueError),
        (np.zeros((0, 4, 3), np.uint8), ValueError),
    ],
)
def test_only_rgb_bytes_are_taken(tmp_path, image, error):
    with pytest.raises(error, match='picture'):
        VideoWriter(tmp_path / 'x.mp4', fps=5).write(image)
    with pytest.raises(error, match='picture'):
        write_png(tmp_path / 'x.png', image)


def test_png_keeps_the_pixels(tmp_path):
    image = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
    write_png(tmp_path / 'a' / 'x.png', image)
    back = cv2.imread(str(tmp_path / 'a' / 'x.png'))[..., ::-1]
    np.testing.assert_array_equal(back, image)
