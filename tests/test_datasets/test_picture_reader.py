"""Videos that lie as pictures in a folder."""

import cv2
import numpy as np
import pytest

from hero_mm.datasets import open_video
from hero_mm.datasets.video_reader import VideoError


@pytest.fixture
def folder(tmp_path, toy_tools):
    """Twelve pictures, named as ILSVRC names them, and other files."""
    write(tmp_path / 'video', toy_tools, range(12))
    (tmp_path / 'video' / 'notes.txt').write_text('no picture')
    (tmp_path / 'video' / 'more').mkdir()
    return tmp_path / 'video'


def write(folder, toy_tools, numbers, first=0, name='{:06d}.JPEG'):
    folder.mkdir(parents=True)
    for number in numbers:
        image = toy_tools.draw_frame(number)[..., ::-1]
        path = str(folder / name.format(number + first))
        assert cv2.imwrite(path, image, [cv2.IMWRITE_JPEG_QUALITY, 98])


def read(path, indices=(0,), **options):
    with open_video(path, **options) as reader:
        return reader.get_frames(indices)


@pytest.mark.parametrize('backend_args', [None, dict(backend='local')])
def test_every_picture_is_the_frame_that_was_drawn(
    folder, toy_tools, backend_args
):
    with open_video(folder, backend_args=backend_args) as reader:
        assert reader.frame_count == 12 and reader.size == (64, 48)
        frames = reader.get_frames([11, 0, 3, 3])
        with pytest.raises(VideoError, match='has no frame rate'):
            _ = reader.fps
        with pytest.raises(VideoError, match='the file has 12 frames'):
            reader.get_frames([4, 12])
    assert frames.shape == (4, 48, 64, 3) and frames.dtype == np.uint8
    for image, number in zip(frames, [11, 0, 3, 3]):
        assert toy_tools.is_frame(image, number)
    with open_video(folder) as reader:
        assert reader.get_frames([5], 32).shape == (1, 24, 32, 3)
        assert reader.size == (64, 48)


def test_names_are_ordered_by_their_number(tmp_path, toy_tools):
    """Also from 1 on, without leading zeros and after other words."""
    path = tmp_path / 'a'
    write(path, toy_tools, range(12), first=1, name='img_2_{}.png')
    frames = read(path, [1, 8, 9, 11])
    for image, number in zip(frames, [1, 8, 9, 11]):
        assert toy_tools.is_frame(image, number)


def test_pictures_that_are_missing(folder, tmp_path, toy_tools):
    """They shift nothing."""
    (folder / '000005.JPEG').unlink()
    with pytest.raises(VideoError, match='picture 5 is .* before 000006.JPEG'):
        read(folder)
    write(tmp_path / 'a', toy_tools, range(3), first=2)
    with pytest.raises(VideoError, match='picture 1 is .* before 000002.JPEG'):
        read(tmp_path / 'a')
    (tmp_path / 'b').mkdir()
    with pytest.raises(VideoError, match='is a folder without pictures'):
        read(tmp_path / 'b')


@pytest.mark.parametrize('name', ['cover.jpg', '3.png'])
def test_pictures_that_are_no_frames(folder, name):
    (folder / name).touch()
    with pytest.raises(VideoError, match='has no number of its own'):
        read(folder)


@pytest.mark.parametrize('content', [b'', b'no picture', None])
def test_damaged_pictures_and_those_of_another_size(
    folder, toy_tools, content
):
    message = '000003.JPEG is damaged'
    if content is None:
        image = toy_tools.draw_frame(4, 32, 24)
        assert cv2.imwrite(str(folder / '000003.JPEG'), image)
        message = r'000003.JPEG is \(24, 32\)'
    else:
        (folder / '000003.JPEG').write_bytes(content)
    assert len(read(folder, [2, 4])) == 2
    with pytest.raises(VideoError, match=message):
        read(folder, [2, 3])
