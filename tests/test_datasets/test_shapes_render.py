"""Pixels of the benchmark: boxes fit what is drawn, files can be played."""

import io

import av
import numpy as np
import pytest
from test_datasets.shapes_things import draw_scenes, make_world, still

from hero_mm.datasets.shapes.profiles import DEFAULT
from hero_mm.datasets.shapes.render import (
    RGB,
    encode_mp4,
    render,
    visible_boxes,
)
from hero_mm.datasets.shapes.world import COLOURS, SHAPES, Bar

NUM_FRAMES, SIDE = DEFAULT.num_frames, DEFAULT.side


def decode(content):
    with av.open(io.BytesIO(content)) as container:
        frames = [
            frame.to_ndarray(format='rgb24')
            for frame in container.decode(video=0)
        ]
    return np.stack(frames)


def overlap(box, shown):
    """IoU of a box with that of the pixels that are shown."""
    rows, columns = np.flatnonzero(shown.any(1)), np.flatnonzero(shown.any(0))
    other = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
    sides = np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2])
    common = np.prod(sides.clip(0))
    areas = np.prod(box[2:] - box[:2]) + np.prod(other[2:] - other[:2])
    return common / (areas - common)


@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize('radius', [3.6, 7.3, 12.4])
def test_boxes_fit_the_pixels(shape, radius):
    words = f'plain red {shape}'
    target = still(0, words, (20.2, 31.7), radius=radius)
    target.angle[:] = np.linspace(0, 3, NUM_FRAMES)
    boxes, seen = visible_boxes(make_world(target))
    frames = render(make_world(target)).astype(int)
    # The same background alone.
    empty = render(make_world(still(0, words, (-90, -90))))
    assert (seen > 0.75).all()
    change = np.abs(frames - empty).max(axis=3) > 30
    overlaps = [overlap(box, shown) for box, shown in zip(boxes[0], change)]
    assert min(overlaps) > (0.6 if radius < 5 else 0.8)
    assert np.mean(overlaps) > (0.75 if radius < 5 else 0.87)


def test_boxes_fit_the_pixels_of_the_file():
    """After h264 and half-size colours the box is still there."""
    target = still(0, 'plain red star', (30, 30), radius=8.0)
    target.centre[:, 0] += np.linspace(0, 20, NUM_FRAMES)
    frames = decode(encode_mp4(render(make_world(target)))).astype(int)
    boxes, _ = visible_boxes(make_world(target))
    red = frames[..., 0] - frames[..., 1:].max(axis=3) > 40
    for shown, box in zip(red, boxes[0]):
        assert overlap(box, shown) > 0.75


@pytest.mark.parametrize('axis', [0, 1])
def test_colours_stay_in_place(axis):
    """Half-size colours are read back where they were drawn."""
    pictures = np.full((NUM_FRAMES, 64, 64, 3), 110, np.uint8)
    places = 20 + np.arange(NUM_FRAMES) % 24
    for picture, place in zip(pictures, places):
        view = picture.swapaxes(0, 1) if axis else picture
        view[24:40, place : place + 9] = RGB['red']
    seen = decode(encode_mp4(pictures)).astype(int)
    weight = np.abs(seen - 110).sum(axis=(3, 2 if axis else 1)).astype(float)
    weight[weight < weight.max() / 10] = 0
    middle = weight @ (np.arange(64) + 0.5) / weight.sum(1)
    assert abs((middle - places - 4.5).mean()) < 0.1


@pytest.mark.parametrize('colour', COLOURS)
def test_colours_survive_the_file(colour):
    target = still(0, f'tiny {colour} square', (31.5, 31.5), radius=4.0)
    target.white[8:10] = True
    frames = decode(encode_mp4(render(make_world(target)))).astype(int)
    # Below the stripe, in the middle of the body.
    pixel = frames[14, 33, 31]
    distance = {name: np.abs(pixel - rgb).sum() for name, rgb in RGB.items()}
    assert min(distance, key=distance.get) == colour
    # A blink.
    assert (frames[8:10, 33, 31] > 190).all()


def test_spin_of_a_circle_is_seen():
    target = still(0, 'plain green circle', (31.5, 31.5))
    quiet = render(make_world(target))
    target.angle[:] = np.arange(NUM_FRAMES) * np.deg2rad(60)
    spun = render(make_world(target))
    change = np.abs(spun.astype(int) - quiet).max(axis=(1, 2, 3))
    assert (change[1:6] > 80).all() and change[6] < 5


def test_objects_hide_each_other():
    back = still(0, 'plain red square', (30, 30), radius=8.0)
    front = still(1, 'plain blue square', (38, 30), radius=8.0)
    both, seen = visible_boxes(make_world(back, front))
    alone, _ = visible_boxes(make_world(back))
    turned, _ = visible_boxes(make_world(back, front, order=[1, 0]))
    assert both[0, 0, 2] < alone[0, 0, 2]
    assert both[0, 0, 0] == alone[0, 0, 0]
    assert (turned[0] == alone[0]).all()
    assert 0.3 < seen[0, 0] < 0.7 and seen[1, 0] > 0.95
    # Behind another one, or outside, there is no box.
    tiny = still(0, 'tiny red circle', (38, 30), radius=4.0)
    away = still(0, 'tiny red circle', (-20, 30), radius=4.0)
    for world in (make_world(tiny, front), make_world(away)):
        boxes, seen = visible_boxes(world)
        assert not seen[0].any() and not boxes[0].any()


@pytest.mark.parametrize('depth, hidden', [(0, False), (1, True)])
def test_a_bar_hides_what_is_behind_it(depth, hidden):
    target = still(0, 'plain red square', (30, 30))
    other = still(1, 'plain blue square', (30, 55), radius=5.0)
    bar = Bar(upright=True, start=30.0, width=8.0, depth=depth)
    world = make_world(target, other, bar=bar)
    boxes, _ = visible_boxes(world)
    alone, _ = visible_boxes(make_world(target, other))
    assert bool(boxes[0, 0, 2] <= 31) is hidden
    assert (boxes[1] == alone[1]).all()
    frame = render(world)[0].astype(int)
    assert bool(frame[30, 33, 0] < 120) is hidden
    # The other object is always in front of the bar.
    assert frame[57, 31, 2] > 150


def test_the_file_is_what_browsers_play():
    (scene,) = draw_scenes('val', 1, seed=4)
    frames = render(scene.world)
    assert (frames == render(scene.world)).all()
    content = encode_mp4(frames)
    assert content == encode_mp4(frames) and len(content) < 60_000
    with av.open(io.BytesIO(content)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == 'h264'
        assert stream.codec_context.pix_fmt == 'yuv420p'
        assert (stream.width, stream.height) == (SIDE, SIDE)
        assert stream.average_rate == 8
        decoded = list(container.decode(stream))
    assert len(decoded) == NUM_FRAMES
    keys = [i for i, frame in enumerate(decoded) if frame.key_frame]
    assert max(np.diff([*keys, NUM_FRAMES])) <= 16
    assert np.abs(decode(content).astype(int) - frames).mean() < 8


def test_the_background_pans_and_is_pale():
    quiet = render(make_world(still(0, 'plain red circle', (-90, -90))))
    quiet = quiet.astype(int)
    assert np.abs(quiet[8] - quiet[0]).mean() > 1
    assert np.ptp(quiet, axis=3).max() < 60
    assert quiet.std(axis=(1, 2)).max() < 40
