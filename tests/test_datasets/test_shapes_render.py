"""Pixels of the benchmark: boxes fit what is drawn, files can be played."""

import io

import av
import numpy as np
import pytest
from test_datasets import shapes_things

from hero_mm.datasets.shapes.profiles import DEFAULT
from hero_mm.datasets.shapes.render import (
    OUTLINES,
    RGB,
    encode_mp4,
    outline,
    render,
    visible_boxes,
)
from hero_mm.datasets.shapes.scene import (
    COLOURS,
    SHAPES,
    Bar,
    World,
)
from hero_mm.datasets.shapes.video import draw_video

NUM_FRAMES, SIDE = DEFAULT.num_frames, DEFAULT.side


@pytest.fixture(scope='module')
def videos():
    return [draw_video('val', index, seed=4) for index in range(25)]


def still(tid, words, place, radius=7.0):
    return shapes_things.still(tid, words, place, radius=radius)


def make_world(*things, order=None, bar=None):
    return World(list(things), order or list(range(len(things))), bar, 11)


def decode(content):
    with av.open(io.BytesIO(content)) as container:
        frames = [
            frame.to_ndarray(format='rgb24')
            for frame in container.decode(video=0)
        ]
    return np.stack(frames)


def overlap(one, two):
    """IoU of two boxes."""
    low = np.maximum(one[:2], two[:2])
    high = np.minimum(one[2:], two[2:])
    common = np.prod(np.clip(high - low, 0, None))
    areas = [np.prod(np.subtract(box[2:], box[:2])) for box in (one, two)]
    return common / (sum(areas) - common)


def pixel_box(frame, empty, limit=30):
    """Box around the pixels that differ from the empty background."""
    change = np.abs(frame.astype(int) - empty).max(axis=2) > limit
    rows, columns = (
        np.flatnonzero(change.any(1)),
        np.flatnonzero(change.any(0)),
    )
    return [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]


@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize('radius', [3.6, 7.3, 12.4])
@pytest.mark.parametrize('place', [(20.2, 31.7), (40.5, 22.0)])
def test_boxes_fit_the_pixels(shape, radius, place):
    target = still(0, f'plain red {shape}', place, radius)
    target.angle[:] = np.linspace(0, 3, NUM_FRAMES)
    world = make_world(target)
    # The same background alone.
    gone = make_world(still(0, 'plain red circle', (-90, -90)))
    boxes, seen = visible_boxes(world)
    frames, empty = render(world), render(gone)
    assert (seen > 0.75).all()
    overlaps = [
        overlap(boxes[0, t], pixel_box(frames[t], empty[t]))
        for t in range(NUM_FRAMES)
    ]
    assert min(overlaps) > (0.6 if radius < 5 else 0.8)
    assert np.mean(overlaps) > (0.75 if radius < 5 else 0.87)


def test_boxes_are_where_the_motion_says():
    target = still(0, 'plain red circle', (20.0, 31.0), 7.0)
    target.centre[1] = (40.0, 50.0)
    boxes, _ = visible_boxes(make_world(target))
    for box, (x, y) in zip(boxes[0], target.centre):
        expected = [x - 7, y - 7, x + 7, y + 7]
        assert np.abs(box - expected).max() <= 1


def test_boxes_fit_the_pixels_of_the_file():
    """After h264 and half-size colours the box is still there."""
    target = still(0, 'plain red star', (30, 30), 8.0)
    target.centre[:, 0] += np.linspace(0, 20, NUM_FRAMES)
    frames = decode(encode_mp4(render(make_world(target))))
    boxes, _ = visible_boxes(make_world(target))
    for frame, box in zip(frames, boxes[0]):
        red = frame[..., 0].astype(int) - frame[..., 1:].max(axis=2) > 40
        rows, columns = np.flatnonzero(red.any(1)), np.flatnonzero(red.any(0))
        found = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
        assert overlap(box, found) > 0.75


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
    for radius in (4.0, 7.0):
        target = still(0, f'tiny {colour} square', (31.5, 31.5), radius)
        frames = decode(encode_mp4(render(make_world(target))))
        # Below the stripe, in the middle of the body.
        pixel = frames[10, 33, 31].astype(int)
        distance = {
            name: np.abs(pixel - rgb).sum() for name, rgb in RGB.items()
        }
        assert min(distance, key=distance.get) == colour


def test_a_blink_is_white_in_the_file():
    target = still(0, 'plain blue circle', (31.5, 31.5))
    target.white[8:10] = True
    frames = decode(encode_mp4(render(make_world(target)))).astype(int)
    assert (frames[8:10, 34, 31] > 200).all()
    assert (frames[[7, 10], 34, 31, 0] < 120).all()


def test_spin_of_a_circle_is_seen():
    target = still(0, 'plain green circle', (31.5, 31.5))
    quiet = render(make_world(target))
    target.angle[:] = np.arange(NUM_FRAMES) * np.deg2rad(60)
    spun = render(make_world(target))
    change = np.abs(spun.astype(int) - quiet).max(axis=(1, 2, 3))
    assert (change[[1, 2, 3, 4, 5]] > 80).all()
    assert change[6] < 5


def test_front_objects_cut_boxes_of_those_behind():
    back = still(0, 'plain red square', (30, 30), 8.0)
    front = still(1, 'plain blue square', (38, 30), 8.0)
    both, seen = visible_boxes(make_world(back, front))
    alone, _ = visible_boxes(make_world(back))
    turned, _ = visible_boxes(make_world(back, front, order=[1, 0]))
    assert both[0, 0, 2] < alone[0, 0, 2]
    assert both[0, 0, 0] == alone[0, 0, 0]
    assert (turned[0] == alone[0]).all()
    assert 0.3 < seen[0, 0] < 0.7
    assert seen[1, 0] > 0.95


def test_a_hidden_object_has_no_box():
    back = still(0, 'tiny red circle', (30, 30), 4.0)
    front = still(1, 'huge blue square', (30, 30), 13.0)
    boxes, seen = visible_boxes(make_world(back, front))
    assert not seen[0].any()
    assert not boxes[0].any()
    away = still(0, 'tiny red circle', (-20, 30), 4.0)
    _, seen = visible_boxes(make_world(away))
    assert not seen.any()


@pytest.mark.parametrize('depth, hidden', [(0, False), (1, True)])
def test_a_bar_hides_what_is_behind_it(depth, hidden):
    target = still(0, 'plain red square', (30, 30), 7.0)
    other = still(1, 'plain blue square', (30, 55), 5.0)
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


def test_boxes_are_valid_as_in_vidor(videos):
    for video in videos:
        there = video.boxes[video.seen > 0]
        x1, y1, x2, y2 = there.T
        assert (x1 >= 0).all() and (y1 >= 0).all()
        assert (x2 - x1 >= 2).all() and (y2 - y1 >= 2).all()
        assert (x2 <= SIDE - 1).all() and (y2 <= SIDE - 1).all()
        assert ((video.seen >= 0) & (video.seen <= 1)).all()
        assert not video.boxes[video.seen == 0].any()


def test_targets_are_seen_while_they_act(videos):
    for video in videos:
        for entry in video.entries:
            event = entry.event
            share = video.seen[event.tid, event.begin : event.end]
            assert (share > 0).all()
            assert share.mean() >= 0.5


def test_there_is_some_occlusion():
    seen = np.concatenate(
        [draw_video('train', i, seed=8).seen.ravel() for i in range(60)]
    )
    # The outline of a tiny object is up to a tenth off its drawn area.
    assert 0.03 < (seen < 0.85).mean() < 0.3
    assert (seen < 0.3).mean() < 0.05


def test_size_words_are_sizes_in_pixels(videos):
    heights = {'tiny': [], 'plain': [], 'huge': []}
    for video in videos:
        for thing in video.world.things:
            idle = np.ones(NUM_FRAMES, dtype=bool)
            for event in thing.events:
                idle[event.begin : event.end] = False
            idle &= video.seen[thing.tid] > 0.95
            box = video.boxes[thing.tid, idle]
            heights[thing.look.size] += (box[:, 3] - box[:, 1]).tolist()
    tiny, plain, huge = (np.median(heights[size]) for size in heights)
    assert 6 <= tiny <= 11 < plain <= 19 < huge <= 36


def test_outlines_have_like_areas():
    areas = []
    for corners in OUTLINES.values():
        x, y = corners.T
        areas.append(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)
    assert max(areas) < 1.6 * min(areas)


def test_outline_follows_the_motion():
    target = still(0, 'plain red square', (10, 20), 2.0)
    target.angle[1] = np.pi / 2
    target.radius[2] = 4.0
    corners = outline(target)
    assert corners.shape == (NUM_FRAMES, 4, 2)
    assert corners[0].mean(axis=0) == pytest.approx([10, 20])
    # A quarter turn maps a square to itself, corner by corner.
    assert corners[1] == pytest.approx(np.roll(corners[0], -1, axis=0))
    assert np.ptp(corners[2]) - 10 == pytest.approx(2 * 4 * 0.88)


def test_the_background_moves_and_is_pale(videos):
    quiet = render(make_world(still(0, 'plain red circle', (-90, -90))))
    assert quiet.shape == (NUM_FRAMES, SIDE, SIDE, 3)
    assert quiet.dtype == np.uint8
    assert np.abs(quiet[8].astype(int) - quiet[0]).mean() > 1
    saturation = np.ptp(quiet.astype(int), axis=3)
    assert saturation.max() < 60
    assert quiet.std(axis=(1, 2)).max() < 40


def test_rendering_and_encoding_repeat(videos):
    for video in videos[:5]:
        frames = render(video.world)
        assert (frames == render(video.world)).all()
        assert encode_mp4(frames) == encode_mp4(frames)


def test_the_file_is_what_browsers_play(videos):
    frames = render(videos[0].world)
    content = encode_mp4(frames)
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
    off = np.abs(decode(content).astype(int) - frames).mean()
    assert off < 8
    assert len(content) < 60_000
