"""Pixels and boxes change together."""

import numpy as np
import pytest

from hero_mm.datasets.sides import swap_sides
from hero_mm.datasets.transforms import (
    LoadTubes,
    RandomFlipClip,
    RandomTubeCrop,
    ResizeClip,
    SampleClipFrames,
)
from hero_mm.datasets.transforms.loading import boxes_to_frame

WIDTH, HEIGHT = 60, 40
TRUE = [20, 10, 30, 22]
OTHERS = [[0, 0, 9, 9], [22, 12, 50, 30], [50, 30, 60, 40]]


def _clip(frames=3, width=WIDTH, height=HEIGHT):
    """A black clip; the target is white, so that pixels tell its place."""
    imgs = np.zeros((frames, height, width, 3), np.uint8)
    x1, y1, x2, y2 = TRUE
    imgs[:, y1:y2, x1:x2] = 255
    valid = np.array([[True, True, False]])
    gt = np.tile(np.float32(TRUE), (1, frames, 1))
    gt[~valid] = 0
    tracks = np.float32([TRUE, *OTHERS])[:, None].repeat(frames, 1)
    return dict(
        imgs=imgs,
        ori_shape=(height, width),
        img_shape=(height, width),
        crop_box=(0.0, 0.0, float(width), float(height)),
        flip=False,
        gt_bboxes=gt,
        gt_valid=valid,
        track_bboxes=tracks,
        track_valid=np.ones((4, frames), bool),
        queries=[
            dict(text='the dog on the left moves Left.', predicate='move_left')
        ],
        negative_texts=[['the dog on the left moves RIGHT.']],
        video_predicates=['left_of', 'move_left', 'watch'],
        track_predicates=[['move_left', 'run'], []],
    )


def _white(image):
    """Where the target is, xyxy."""
    rows, columns = np.nonzero(image[..., 0] > 127)
    return [
        columns.min(),
        rows.min(),
        columns.max() + 1,
        rows.max() + 1,
    ]


def _check(results):
    """Boxes lie on the target; the way back to the original is known."""
    height, width = results['img_shape']
    assert results['imgs'].shape[1:3] == (height, width)
    for frame in (0, 1):
        box = results['gt_bboxes'][0, frame]
        np.testing.assert_allclose(box, _white(results['imgs'][frame]), atol=1)
        np.testing.assert_allclose(results['track_bboxes'][0, frame], box)
    assert not results['gt_bboxes'][~results['gt_valid']].any()
    moved = boxes_to_frame(np.float32(TRUE), results)
    np.testing.assert_allclose(moved, results['gt_bboxes'][0, 0], atol=1e-3)


@pytest.mark.parametrize(
    ('options', 'shape'),
    [
        (dict(scale=(30, 30)), (20, 30)),
        (dict(scale=(120, 60)), (60, 90)),
        (dict(scale=(33, 44), keep_ratio=False), (44, 33)),
        (dict(short_side=20), (20, 30)),
        (dict(short_side=60, max_long=75), (50, 75)),
    ],
)
def test_resize(options, shape):
    results = ResizeClip(**options).transform(_clip())
    assert results['img_shape'] == shape
    assert results['ori_shape'] == (HEIGHT, WIDTH)
    _check(results)


def test_resize_leaves_what_fits():
    imgs = _clip()['imgs']
    results = ResizeClip(scale=(60, 99)).transform(_clip() | dict(imgs=imgs))
    assert results['imgs'] is imgs
    for options in (dict(), dict(scale=(3, 3), short_side=4)):
        with pytest.raises(ValueError, match='give either scale'):
            ResizeClip(**options)


def test_flip():
    clip = _clip()
    queries = clip['queries']
    results = RandomFlipClip(prob=1.0).transform(clip)
    assert results['flip'] is True
    assert results['gt_bboxes'][0, 0].tolist() == [30, 10, 40, 22]
    _check(results)
    assert results['queries'] == [
        dict(text='the dog on the right moves Right.', predicate='move_right')
    ]
    assert results['negative_texts'] == [['the dog on the right moves LEFT.']]
    assert results['video_predicates'] == ['move_right', 'right_of', 'watch']
    assert results['track_predicates'] == [['move_right', 'run'], []]
    # The sentences of the data set itself stay as they are.
    assert queries[0]['predicate'] == 'move_left'
    back = RandomFlipClip(prob=1.0).transform(dict(results))
    assert back['flip'] is False and back['queries'] == queries
    _check(back)
    # Tubes that are loaded after the flip would say the opposite.
    with pytest.raises(ValueError, match='before RandomFlipClip'):
        LoadTubes().transform(results)


def test_flip_has_its_chance_and_follows_the_seed():
    step = RandomFlipClip(prob=0.3)
    np.random.seed(3)
    first = [step.transform(_clip())['flip'] for _ in range(200)]
    np.random.seed(3)
    assert first == [step.transform(_clip())['flip'] for _ in range(200)]
    assert 40 < sum(first) < 80
    # Without sentences.
    clip = {k: v for k, v in _clip().items() if k in ('imgs', 'img_shape')}
    assert RandomFlipClip(prob=1.0).transform(clip)['flip'] is True


@pytest.mark.parametrize(
    ('text', 'swapped'),
    [
        ('the LEFT dog, Right cat', 'the RIGHT dog, Left cat'),
        ('who is leftmost?', 'who is rightmost?'),
        ('turns clockwise', 'turns counterclockwise'),
        ('turns counter-clockwise', 'turns clockwise'),
        ('turns clock-wise', 'turns counterclockwise'),
        ('turns anti clock wise', 'turns clockwise'),
        ('spins Anticlockwise', 'spins Clockwise'),
        ('turn_counter_clockwise', 'turn_clockwise'),
        ('a left-handed man', 'a right-handed man'),
        ('something left of it moves', 'something right of it moves'),
        ('the man on the right next to me', 'the man on the left next to me'),
        ('turns right before the door', 'turns left before the door'),
        ('moves left a bit', 'moves right a bit'),
        ('looks left and right after that', 'looks right and left after that'),
        ('the right away from a car', 'the left away from a car'),
    ],
)
def test_words_that_change_sides(text, swapped):
    assert swap_sides(text) == swapped


@pytest.mark.parametrize(
    'text',
    [
        'bright lefty, left2',
        'the cat sits right next to the dog',
        'it falls right in front of her',
        'the man says all right',
        'he holds a cup, right?',
        'the wheel turns the right way',
        'the man who left the room',
        'a bag was left behind',
        'the child has left',
    ],
)
def test_words_that_are_no_sides(text):
    assert swap_sides(text) == text


def test_crop_keeps_the_tube():
    np.random.seed(0)
    step = RandomTubeCrop(prob=1.0, min_scale=0.4)
    sizes = set()
    for _ in range(100):
        results = step.transform(_clip())
        _check(results)
        height, width = results['img_shape']
        assert height >= 16 and width >= 24
        sizes.add((height, width))
        box = results['gt_bboxes'][0, 0]
        assert box[2] - box[0] == 10 and box[3] - box[1] == 12
        tracks, valid = results['track_bboxes'], results['track_valid']
        assert (tracks[..., 2:] <= [width, height]).all()
        assert (tracks >= 0).all()
        assert (tracks[valid][:, 2:] > tracks[valid][:, :2]).all()
        assert not tracks[~valid].any()
        x1, y1, x2, y2 = results['crop_box']
        assert valid[1, 0] == (x1 < 9 and y1 < 9)
        assert valid[3, 0] == (x2 > 50 and y2 > 30)
    assert len(sizes) > 60


@pytest.mark.parametrize('order', ['crop flip', 'flip crop'])
def test_crop_box_is_in_original_pixels(order):
    steps = dict(
        crop=RandomTubeCrop(prob=1.0, min_scale=0.4),
        flip=RandomFlipClip(prob=1.0),
    )
    for seed in range(20):
        np.random.seed(seed)
        results = ResizeClip(scale=(120, 80)).transform(_clip())
        for name in order.split():
            results = steps[name].transform(results)
        _check(results)


def test_crop_of_nothing_and_of_a_tube_that_fills_the_frame():
    step = RandomTubeCrop(prob=1.0, min_scale=0.2)
    clip = _clip()
    clip['gt_valid'][:] = False
    np.random.seed(1)
    results = step.transform(clip)
    assert results['img_shape'] != (HEIGHT, WIDTH)
    assert not results['gt_bboxes'].any()
    clip = _clip()
    clip['gt_bboxes'][0, :2] = [0, 0, WIDTH, HEIGHT]
    assert step.transform(clip)['img_shape'] == (HEIGHT, WIDTH)


@pytest.mark.parametrize(
    ('kind', 'options'),
    [
        (RandomFlipClip, dict(prob=50)),
        (RandomTubeCrop, dict(prob=50)),
        (RandomTubeCrop, dict(min_scale=2)),
        (SampleClipFrames, dict(num_frames=4, crop_prob=5)),
        (ResizeClip, dict(scale=(0, 224))),
    ],
)
def test_percent_is_no_share_and_nothing_no_size(kind, options):
    with pytest.raises(ValueError, match=r'must be (in \[0, 1\]|\(width)'):
        kind(**options)
