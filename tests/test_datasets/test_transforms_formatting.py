"""What the model gets."""

import numpy as np
import torch

from hero_mm.datasets.transforms import PackGroundingInputs
from hero_mm.structures import GroundingDataSample


def _results(queries=2, frames=3, tracks=4):
    generator = np.random.default_rng(0)
    return dict(
        imgs=generator.integers(0, 255, (frames, 5, 7, 3), np.uint8),
        video_id='v',
        video_path='v.mp4',
        frame_inds=np.arange(frames),
        segment=(0, 9),
        fps=5.0,
        frame_count=20,
        ori_shape=(10, 14),
        img_shape=(5, 7),
        crop_box=(0.0, 0.0, 14.0, 10.0),
        flip=True,
        queries=[
            dict(
                text=f'dog {number}',
                query_id=f'q{number}',
                type='declarative',
                predicate='run',
                category='dog',
            )
            for number in range(queries)
        ],
        negative_texts=[['dog sits'], []],
        gt_spans=np.float32([[0, 4]] * queries),
        gt_bboxes=np.ones((queries, frames, 4), np.float32),
        gt_valid=np.ones((queries, frames), bool),
        track_bboxes=np.ones((tracks, frames, 4), np.float32),
        track_valid=np.zeros((tracks, frames), bool),
        track_predicates=[['run'], [], ['sit', 'watch'], []][:tracks],
        track_categories=['cat', 'dog', 'dog', ''][:tracks],
        track_index=np.array([2, 0]),
        tracks_complete=True,
        video_predicates=['run', 'sit', 'watch'],
    )


def test_pack():
    results = _results()
    packed = PackGroundingInputs().transform(dict(results))
    inputs, sample = packed['inputs'], packed['data_samples']
    assert inputs.dtype == torch.uint8 and inputs.shape == (3, 3, 5, 7)
    np.testing.assert_array_equal(
        inputs.permute(0, 2, 3, 1).numpy(), results['imgs']
    )
    assert isinstance(sample, GroundingDataSample)
    assert sample.video_id == 'v' and sample.flip is True
    assert sample.segment == (0, 9) and sample.img_shape == (5, 7)
    assert sample.frame_inds.tolist() == [0, 1, 2]
    assert len(sample.queries) == len(sample.gt_queries) == 2
    assert sample.queries.texts == ['dog 0', 'dog 1']
    assert sample.queries.query_ids == ['q0', 'q1']
    assert sample.queries.query_types == ['declarative'] * 2
    assert sample.queries.predicates == ['run'] * 2
    assert sample.queries.categories == ['dog'] * 2
    assert sample.queries.negative_texts == [['dog sits'], []]
    truth = sample.gt_queries
    assert truth.spans.dtype == truth.bboxes.dtype == torch.float32
    assert truth.valid.dtype == torch.bool
    assert truth.bboxes.shape == (2, 3, 4)
    assert len(sample.gt_tracks) == 4
    assert sample.gt_tracks.bboxes.shape == (4, 3, 4)
    assert not sample.gt_tracks.valid.any()
    assert sample.gt_tracks.predicates == [['run'], [], ['sit', 'watch'], []]
    assert sample.gt_tracks.categories == ['cat', 'dog', 'dog', '']
    # It stays with the host: no step waits for it.
    assert isinstance(truth.track_index, np.ndarray)
    assert truth.track_index.tolist() == [2, 0]
    assert sample.tracks_complete is True
    assert sample.video_predicates == ['run', 'sit', 'watch']


def test_pack_what_an_older_pipeline_gives():
    results = _results()
    for key in (
        'track_predicates',
        'track_categories',
        'track_index',
        'tracks_complete',
    ):
        del results[key]
    sample = PackGroundingInputs().transform(results)['data_samples']
    assert sample.gt_queries.track_index.tolist() == [-1, -1]
    assert sample.gt_tracks.predicates == [[]] * 4
    assert sample.gt_tracks.categories == [''] * 4
    assert 'tracks_complete' not in sample


def test_truth_is_not_packed_without_the_tubes():
    results = _results()
    for key in ('gt_spans', 'track_bboxes'):
        del results[key]
    sample = PackGroundingInputs().transform(results)['data_samples']
    assert 'gt_queries' not in sample and 'gt_tracks' not in sample
    assert 'video_predicates' not in sample
    assert 'tracks_complete' not in sample


def test_pack_flipped_frames():
    results = _results()
    results['imgs'] = results['imgs'][:, :, ::-1]
    inputs = PackGroundingInputs().transform(results)['inputs']
    assert inputs.is_contiguous(memory_format=torch.channels_last)


def test_pack_for_inference():
    results = dict(
        imgs=_results()['imgs'],
        frame_inds=np.arange(3),
        queries=[dict(text='a dog runs.'), dict(text='who runs? ')],
    )
    sample = PackGroundingInputs().transform(results)['data_samples']
    assert sample.queries.query_types == ['declarative', 'interrogative']
    assert sample.queries.query_ids == ['0', '1']
    assert sample.queries.predicates == ['', '']
    assert sample.queries.categories == ['', '']
    assert 'negative_texts' not in sample.queries
    assert 'gt_queries' not in sample and 'gt_tracks' not in sample
    assert sample.metainfo_keys() == ['frame_inds']


def test_pack_pixels_alone_and_without_tracks():
    sample = PackGroundingInputs().transform(dict(imgs=_results()['imgs']))
    assert 'queries' not in sample['data_samples']
    results = _results(tracks=0)
    sample = PackGroundingInputs().transform(results)['data_samples']
    assert len(sample.gt_tracks) == 0
