"""LoadProposals: boxes of files become boxes of the frames."""

import numpy as np
import pytest

from hero_mm.datasets.proposal_files import save_proposals
from hero_mm.registry import TRANSFORMS

WIDTH, HEIGHT = 64, 48


@pytest.fixture
def folder(tmp_path):
    """Frame f has one box more than half of it, moved by f pixels."""
    frames = [0, 2, 4, 6]
    boxes = [
        np.array(
            [[8 + f, 4, 24 + f, 20]] + [[0, 0, 60 - k, 40] for k in range(f)]
        )
        for f in frames
    ]
    scores = [np.linspace(0.9, 0.1, len(box)) for box in boxes]
    save_proposals(tmp_path, 'v0', frames, boxes, scores, (WIDTH, HEIGHT))
    return tmp_path


@pytest.fixture
def results():
    def make(frames=(0, 4), **changes):
        usual = dict(
            video_id='v0',
            frame_inds=np.array(frames),
            ori_shape=(HEIGHT, WIDTH),
            img_shape=(HEIGHT, WIDTH),
            crop_box=(0.0, 0.0, float(WIDTH), float(HEIGHT)),
            flip=False,
        )
        return {**usual, **changes}

    return make


def load(folder, results, **options):
    step = TRANSFORMS.build(
        dict(type='LoadProposals', folder=str(folder), **options)
    )
    return step(results)


def test_proposals_of_the_sampled_frames(folder, results):
    out = load(folder, results(), max_per_frame=6)
    assert out['proposal_bboxes'].shape == (2, 6, 4)
    assert out['proposal_bboxes'].dtype == np.float32
    assert out['proposal_valid'].sum(1).tolist() == [1, 5]
    assert out['proposal_bboxes'][0, 0].tolist() == [8, 4, 24, 20]
    assert out['proposal_bboxes'][1, 0].tolist() == [12, 4, 28, 20]
    assert not out['proposal_bboxes'][0, 1:].any()
    np.testing.assert_allclose(
        out['proposal_scores'][1, :5], np.linspace(0.9, 0.1, 5)
    )
    # The best of many are taken.
    out = load(folder, results(), max_per_frame=2)
    assert out['proposal_valid'].sum(1).tolist() == [1, 2]
    assert out['proposal_scores'][1].min() > 0.6


def test_what_lies_outside_is_dropped(folder, results):
    out = load(
        folder,
        results((0,), crop_box=(23.5, 0.0, 64.0, 48.0), img_shape=(48, 40)),
        max_per_frame=2,
    )
    assert not out['proposal_valid'].any() and not out['proposal_bboxes'].any()


def test_frames_between_need_a_gap(folder, results):
    with pytest.raises(
        ValueError, match="'v0' has no proposals of frame 3.*2"
    ):
        load(folder, results((0, 3)))
    out = load(folder, results((0, 3)), max_gap=1)
    assert out['proposal_bboxes'][1, 0].tolist() == [10, 4, 26, 20]
    with pytest.raises(ValueError, match='frame 9, the nearest are of 6'):
        load(folder, results((9,)), max_gap=2)


def test_files_of_another_size_or_none(folder, results):
    with pytest.raises(ValueError, match='at 64x48, but .* with 32x24'):
        load(folder, results(ori_shape=(24, 32)))
    with pytest.raises(FileNotFoundError, match="'v9'"):
        load(folder, results(video_id='v9'))


@pytest.mark.parametrize(
    'step',
    [
        dict(type='ResizeClip', scale=(32, 24)),
        dict(type='RandomFlipClip', prob=1.0),
        dict(type='RandomTubeCrop', prob=1.0, min_scale=0.4),
    ],
    ids=lambda step: step['type'],
)
def test_loaded_before_the_pixels_change_or_after(step, folder, results):
    """Proposals go along with the frames that they were found in."""

    def clip():
        return results(
            imgs=np.zeros((2, HEIGHT, WIDTH, 3), np.uint8),
            gt_bboxes=np.full((1, 2, 4), [30, 20, 40, 30], np.float32),
            gt_valid=np.ones((1, 2), bool),
            queries=[],
        )

    change = TRANSFORMS.build(step)
    np.random.seed(0)
    before = change(load(folder, clip(), max_per_frame=5))
    np.random.seed(0)
    after = load(folder, change(clip()), max_per_frame=5)
    assert after['img_shape'] == before['img_shape']
    assert np.array_equal(before['proposal_valid'], after['proposal_valid'])
    np.testing.assert_allclose(
        before['proposal_bboxes'], after['proposal_bboxes'], atol=1e-4
    )
