"""What the model gets."""

import numpy as np
import pytest
import torch

from hero_mm.datasets.transforms import PackGroundingInputs
from hero_mm.structures import GroundingDataSample


@pytest.fixture
def results():
    generator = np.random.default_rng(0)
    query = dict(type='declarative', predicate='run', category='dog')
    return dict(
        imgs=generator.integers(0, 255, (3, 5, 7, 3), np.uint8),
        video_id='v',
        video_path='v.mp4',
        frame_inds=np.arange(3),
        segment=(0, 9),
        fps=5.0,
        frame_count=20,
        ori_shape=(10, 14),
        img_shape=(5, 7),
        crop_box=(0.0, 0.0, 14.0, 10.0),
        flip=True,
        queries=[
            dict(query, text='dog 0', query_id='q0'),
            dict(query, text='dog 1', query_id='q1'),
        ],
        negative_texts=[['dog sits'], []],
        gt_spans=np.float32([[0, 4]] * 2),
        gt_bboxes=np.ones((2, 3, 4), np.float32),
        gt_valid=np.ones((2, 3), bool),
        track_bboxes=np.ones((4, 3, 4), np.float32),
        track_valid=np.zeros((4, 3), bool),
        track_predicates=[['run'], [], ['sit', 'watch'], []],
        track_categories=['cat', 'dog', 'dog', ''],
        track_index=np.array([2, 0]),
        tracks_complete=True,
        video_predicates=['run', 'sit', 'watch'],
    )


def _pack(results):
    return PackGroundingInputs().transform(results)


def test_pack(results):
    # As a flip leaves them.
    results['imgs'] = results['imgs'][:, :, ::-1]
    packed = _pack(dict(results))
    inputs, sample = packed['inputs'], packed['data_samples']
    assert inputs.dtype == torch.uint8 and inputs.shape == (3, 3, 5, 7)
    assert inputs.is_contiguous(memory_format=torch.channels_last)
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
    truth, tracks = sample.gt_queries, sample.gt_tracks
    assert truth.spans.dtype == truth.bboxes.dtype == torch.float32
    assert truth.valid.dtype == torch.bool
    assert truth.bboxes.shape == (2, 3, 4)
    assert len(tracks) == 4 and tracks.bboxes.shape == (4, 3, 4)
    assert not tracks.valid.any()
    assert tracks.predicates == [['run'], [], ['sit', 'watch'], []]
    assert tracks.categories == ['cat', 'dog', 'dog', '']
    # It stays with the host: no step waits for it.
    assert isinstance(truth.track_index, np.ndarray)
    assert truth.track_index.tolist() == [2, 0]
    assert sample.tracks_complete is True
    assert sample.video_predicates == ['run', 'sit', 'watch']


def test_truth_is_not_packed_without_the_tubes(results):
    del results['gt_spans']
    sample = _pack(results)['data_samples']
    assert 'gt_queries' not in sample and 'gt_tracks' not in sample
    assert 'video_predicates' not in sample
    assert 'tracks_complete' not in sample


def test_pack_for_inference(results):
    queries = [dict(text='a dog runs.'), dict(text='who runs? ')]
    results = dict(imgs=results['imgs'], frame_inds=np.arange(3))
    assert 'queries' not in _pack(dict(results))['data_samples']
    sample = _pack(dict(results, queries=queries))['data_samples']
    assert sample.queries.query_types == ['declarative', 'interrogative']
    assert sample.queries.query_ids == ['0', '1']
    assert sample.queries.predicates == ['', '']
    assert sample.queries.categories == ['', '']
    assert 'negative_texts' not in sample.queries
    assert sample.metainfo_keys() == ['frame_inds']
