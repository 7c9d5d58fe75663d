"""Pixels that are not square: stored for boxes, drawn as displayed."""

import struct
import threading
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from hero_mm.datasets.video_reader import open_video
from hero_mm.visualization import TubeView, VideoWriter
from hero_mm.visualization.render import draw_from_video


@pytest.fixture()
def wide(tmp_path):
    """A black video of 64 x 48 stored pixels, each twice as wide as high.

    A white square stands where the box is.
    """
    path = tmp_path / 'wide.mp4'
    image = np.zeros((48, 64, 3), np.uint8)
    image[8:40, 40:56] = 255
    write_wide(path, image)
    return path


def write_wide(path, image):
    with av.open(str(path), 'w') as output:
        stream = output.add_stream('libx264', rate=8)
        stream.height, stream.width = image.shape[:2]
        stream.codec_context.sample_aspect_ratio = Fraction(2, 1)
        for number in range(8):
            frame = av.VideoFrame.from_ndarray(image, format='rgb24')
            frame.pts, frame.time_base = number, Fraction(1, 8)
            output.mux(stream.encode(frame))
        output.mux(stream.encode())


def test_boxes_are_in_stored_pixels_and_drawings_as_displayed(wide, tmp_path):
    with open_video(wide) as reader:
        assert reader.pixel_aspect == 2 and reader.size == (64, 48)
        assert reader.get_frames([0]).shape == (1, 48, 64, 3)
    boxes = np.tile([40.0, 8, 56, 40], (8, 1))
    view = TubeView(
        'x',
        np.arange(8),
        (0, 8),
        8.0,
        pred_span=(0, 8),
        pred_bboxes=boxes,
        score=1.0,
    )
    sheet, video = draw_from_video(wide, [view], tmp_path / 'out', ['a'])
    with open_video(video) as reader:
        drawn = reader.get_frames([3])[0]
    assert square_of(drawn) == pytest.approx(1, abs=0.15)
    assert square_of(cv2.imread(sheet)) == pytest.approx(1, abs=0.15)


def test_a_square_picture_that_is_turned(tmp_path):
    path = tmp_path / 'turned.mp4'
    write_wide(path, np.zeros((64, 64, 3), np.uint8))
    data = bytearray(path.read_bytes())
    start, one = data.index(b'tkhd') + 4 + 40, 1 << 16
    data[start : start + 24] = struct.pack('>6i', 0, one, 0, -one, 0, 0)
    path.write_bytes(data)
    with open_video(path) as reader:
        assert reader.pixel_aspect == 1 / 2


def square_of(image) -> float:
    """Width of the largest white patch, in its heights."""
    white = (image.min(-1) > 180).astype(np.uint8)
    _, _, stats, _ = cv2.connectedComponentsWithStats(white)
    best = stats[1:][stats[1:, cv2.CC_STAT_AREA].argmax()]
    return best[cv2.CC_STAT_WIDTH] / best[cv2.CC_STAT_HEIGHT]


def test_square_pixels_are_left_alone(tmp_path):
    with VideoWriter(tmp_path / 'a.mp4', fps=8) as writer:
        writer.write(np.zeros((48, 64, 3), np.uint8))
    with open_video(tmp_path / 'a.mp4') as reader:
        assert reader.pixel_aspect == 1


def test_two_writers_of_one_file_do_not_mix(tmp_path):
    """The last to finish is there, whole."""
    path = tmp_path / 'same.mp4'

    def write(value: int) -> None:
        with VideoWriter(path, fps=8) as writer:
            for _ in range(30):
                writer.write(np.full((48, 64, 3), value, np.uint8))

    threads = [threading.Thread(target=write, args=(v,)) for v in (0, 255)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with open_video(path) as reader:
        assert reader.check_whole() == 30
        values = reader.get_frames(range(30)).reshape(30, -1).mean(1)
    assert np.ptp(values) < 3
    assert [p.name for p in tmp_path.iterdir()] == ['same.mp4']
