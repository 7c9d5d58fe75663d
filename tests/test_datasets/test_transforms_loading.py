"""Pixels and tubes from disk."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from hero_mm.datasets.annotation import load_annotation
from hero_mm.datasets.transforms import (
    DecodeFrames,
    LoadTubes,
    loading,
)
from hero_mm.datasets.transforms.loading import ClipCache, boxes_to_frame
from hero_mm.datasets.video_reader import VideoError, open_video


@pytest.fixture
def results(toy, toy_tools):
    video = load_annotation(toy / 'ann.json').videos['v0']
    video.tracks_complete = True
    video.tracks['1'].predicates = ('roll', 'watch')
    return dict(
        video_path=str(toy / 'video' / 'v0.mp4'),
        frame_inds=np.array([2, 5, 8, 11, 14]),
        height=48,
        width=64,
        video_info=video,
        queries=[
            toy_tools.make_query('0', (5, 12)),
            toy_tools.make_query('1', (2, 14), '1'),
        ],
    )


def test_decode(results, toy_tools):
    out = DecodeFrames(num_threads=2).transform(results)
    assert out['imgs'].shape == (5, 48, 64, 3)
    for image, number in zip(out['imgs'], (2, 5, 8, 11, 14)):
        assert toy_tools.is_frame(image, number)
    assert out['ori_shape'] == out['img_shape'] == (48, 64)
    assert out['crop_box'] == (0.0, 0.0, 64.0, 48.0)
    assert out['flip'] is False


@pytest.mark.parametrize('annotated', [True, False])
def test_reduced_frames_are_those_of_the_whole_video(results, annotated):
    """Boxes and the size of the video stay what they are."""
    if not annotated:
        del results['height'], results['width']
    out = DecodeFrames(max_side=32).transform(results)
    assert out['imgs'].shape == (5, 24, 32, 3)
    assert out['img_shape'] == (24, 32) and out['ori_shape'] == (48, 64)
    assert out['crop_box'] == (0.0, 0.0, 64.0, 48.0)
    box = boxes_to_frame(np.array([[20.0, 10, 30, 40]]), out)
    assert box.tolist() == [[10, 5, 15, 20]]


def test_another_size_of_the_same_ratio_is_a_resized_video(results):
    results.update(height=96, width=128)
    out = LoadTubes().transform(DecodeFrames().transform(results))
    assert out['ori_shape'] == (96, 128) and out['img_shape'] == (48, 64)
    # The box at frame 5, [9, 5, 19, 25] in annotated pixels, halved.
    assert out['gt_bboxes'][0, 1].tolist() == [4.5, 2.5, 9.5, 12.5]


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(height=64, width=48), 'are 64x48, the annotation says 48x64'),
        (dict(video_path='/nowhere/v.mp4'), '/nowhere/v.mp4: does not exist'),
        (dict(frame_inds=np.array([3, 26])), 'frame 26 was asked for.*24 fr'),
    ],
)
def test_decode_errors_name_the_video(results, change, message):
    with pytest.raises(VideoError, match=message):
        DecodeFrames().transform({**results, **change})


def test_tubes(results):
    out = LoadTubes().transform(results)
    assert out['gt_spans'].tolist() == [[5, 12], [2, 14]]
    # Frames 2 5 8 11 14: the second object has no box on 9, 10 and 11, and
    # the end of a span is not inside.
    assert out['gt_valid'].tolist() == [
        [False, True, True, True, False],
        [True, True, True, False, False],
    ]
    boxes = out['gt_bboxes']
    assert boxes.dtype == np.float32 and boxes.shape == (2, 5, 4)
    assert boxes[0, 1].tolist() == [9, 5, 19, 25]
    assert boxes[1, 2].tolist() == [20, 5, 30, 25]
    assert not boxes[~out['gt_valid']].any()
    assert out['track_valid'].tolist() == [
        [True] * 5,
        [True, True, True, False, True],
    ]
    assert out['track_bboxes'][1, 4].tolist() == [32, 5, 42, 25]
    assert out['track_bboxes'].dtype == np.float32
    assert out['track_predicates'] == [[], ['roll', 'watch']]
    assert out['track_categories'] == ['child', 'ball']
    assert out['tracks_complete'] is True
    assert out['track_index'].dtype == np.int64
    assert out['track_index'].tolist() == [0, 1]
    out = LoadTubes().transform(
        dict(results, queries=results['queries'][::-1])
    )
    assert out['track_index'].tolist() == [1, 0]
    np.testing.assert_array_equal(out['gt_bboxes'], boxes[::-1])


class TestCache:
    @pytest.fixture
    def copy(self, results, tmp_path):
        """The same of a video of its own."""
        path = tmp_path / 'mine.mp4'
        path.write_bytes(Path(results['video_path']).read_bytes())
        return dict(results, video_path=str(path))

    @pytest.fixture
    def step(self, tmp_path):
        return DecodeFrames(max_side=32, cache=dict(folder=tmp_path / 'kept'))

    @pytest.fixture
    def decoded(self, monkeypatch):
        """The paths of videos that were opened."""
        opened = []

        def opens(path, *args):
            opened.append(path)
            return open_video(path, *args)

        monkeypatch.setattr(loading, 'open_video', opens)
        return opened

    def test_what_is_kept_is_what_was_decoded(self, copy, step, decoded):
        plain = DecodeFrames(max_side=32).transform(dict(copy))
        decoded.clear()
        for _ in range(3):
            out = step.transform(dict(copy))
            np.testing.assert_array_equal(out['imgs'], plain['imgs'])
            for key in ('ori_shape', 'img_shape', 'crop_box'):
                assert out[key] == plain[key]
            out['imgs'][:] = 0
        assert len(decoded) == 1

    @pytest.mark.parametrize('what', ['frames', 'side', 'time', 'half'])
    def test_something_else_is_decoded(self, copy, step, decoded, what):
        step.transform(dict(copy))
        if what == 'frames':
            copy['frame_inds'] = copy['frame_inds'] + 1
        elif what == 'side':
            step.max_side = 48
        elif what == 'time':
            os.utime(copy['video_path'], (1, 1))
        else:
            (kept,) = step.cache.folder.glob('*.npz')
            kept.write_bytes(kept.read_bytes()[:100])
        step.transform(dict(copy))
        assert len(decoded) == 2

    def test_the_folder_does_not_grow(self, tmp_path):
        cache = ClipCache(tmp_path / 'kept', max_gb=3e-6)
        clip = dict(imgs=np.zeros(900, np.uint8))
        video = tmp_path / 'v.mp4'
        video.write_text('v')
        paths = [cache.path_of(str(video), number) for number in range(6)]
        assert len(set(paths)) == 6
        for time, path in enumerate(paths[:2]):
            cache.write(path, clip)
            os.utime(path, (time, time))
        # What was used last stays.
        for path in paths[2:4]:
            assert cache.read(paths[0]) is not None
            cache.write(path, clip)
        assert cache.read(paths[0]) is not None
        assert cache.read(paths[1]) is None
        kept = list((tmp_path / 'kept').iterdir())
        assert sum(path.stat().st_size for path in kept) <= 3500
        cache.write(paths[5], dict(imgs=np.zeros(4000, np.uint8)))
        assert cache.read(paths[5]) is None
        assert cache.path_of('s3://bucket/v.mp4') is None

    def test_several_workers(self, copy, step):
        """They read, write and remove the same clips."""
        step.cache.limit = 12_000
        jobs = [
            dict(copy, frame_inds=np.arange(start, start + 3))
            for start in (0, 4, 8)
        ] * 6
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(step.transform, map(dict, jobs)))
        for job, out in zip(jobs, found):
            plain = DecodeFrames(max_side=32).transform(dict(job))
            np.testing.assert_array_equal(out['imgs'], plain['imgs'])
