"""The data sample of a clip."""

import copy
import pickle

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from hero_mm.structures import GroundingDataSample

FIELDS = ('queries', 'gt_queries', 'gt_tracks', 'pred_queries')


@pytest.fixture()
def sample():
    sample = GroundingDataSample(
        metainfo=dict(
            video_id='a/b', frame_inds=np.array([3, 8]), segment=(0, 10)
        )
    )
    sample.queries = InstanceData(texts=['one', 'two'], query_ids=['0', '1'])
    sample.gt_queries = InstanceData(
        spans=torch.tensor([[1.0, 5], [2, 9]]),
        bboxes=torch.zeros(2, 2, 4),
        valid=torch.ones(2, 2, dtype=torch.bool),
    )
    return sample


def test_meta_information(sample):
    assert sample.video_id == 'a/b'
    assert sample.segment == (0, 10)
    assert sample.get('flip', False) is False


@pytest.mark.parametrize('name', FIELDS)
def test_fields_are_instance_data_and_nothing_else(name):
    sample = GroundingDataSample()
    assert name not in sample
    with pytest.raises(AssertionError, match='InstanceData'):
        setattr(sample, name, dict(texts=['one']))
    value = InstanceData(texts=['one'])
    setattr(sample, name, value)
    assert name in sample
    assert getattr(sample, name) is value
    delattr(sample, name)
    assert name not in sample
    with pytest.raises(AttributeError):
        getattr(sample, name)


def test_queries_are_taken_by_place(sample):
    second = sample.gt_queries[1]
    assert second.spans.tolist() == [[2, 9]]
    assert second.bboxes.shape == (1, 2, 4)
    assert sample.queries[[1]].texts == ['two']


def test_instances_are_as_many_as_queries(sample):
    with pytest.raises(AssertionError, match='length'):
        sample.gt_queries.spans = torch.zeros(3, 2)


def test_moves_and_copies(sample):
    assert sample.to(torch.float64).gt_queries.spans.dtype == torch.float64
    assert sample.gt_queries.spans.dtype == torch.float32
    for other in (copy.deepcopy(sample), pickle.loads(pickle.dumps(sample))):
        other.gt_queries.spans += 1
        assert sample.gt_queries.spans[0, 0] == 1
        assert other.queries.texts == ['one', 'two']
        assert np.array_equal(other.frame_inds, sample.frame_inds)


def test_metainfo_is_that_of_a_whole_clip(sample):
    """A sample without truth is a sample for inference."""
    blind = GroundingDataSample(metainfo=sample.metainfo)
    blind.queries = sample.queries
    assert set(blind.all_keys()) >= {'queries', 'video_id'}
    assert not [key for key in blind.all_keys() if 'gt' in key]
