"""The data sample of a clip."""

import copy
import pickle
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from hero_mm.structures import GroundingDataSample


def test_fields_are_instance_data_and_nothing_else():
    sample = GroundingDataSample()
    with pytest.raises(AssertionError, match='InstanceData'):
        sample.queries = dict(texts=['one'])
    sample.queries = value = InstanceData(texts=['one'])
    assert sample.keys() == ['queries'] and sample.queries is value
    del sample.queries
    assert 'queries' not in sample


def test_moves_and_copies():
    meta = dict(video_id='a/b', frame_inds=np.array([3, 8]), segment=(0, 10))
    sample = GroundingDataSample(metainfo=meta)
    sample.queries = InstanceData(texts=['one', 'two'], query_ids=['0', '1'])
    sample.gt_queries = InstanceData(
        spans=torch.tensor([[1.0, 5], [2, 9]]),
        valid=torch.ones(2, 2, dtype=torch.bool),
    )
    for other in (copy.deepcopy(sample), pickle.loads(pickle.dumps(sample))):
        other.gt_queries.spans += 1
        assert sample.gt_queries.spans[0, 0] == 1
        assert other.queries.texts == ['one', 'two']
        assert np.array_equal(other.frame_inds, sample.frame_inds)


def test_a_sample_costs_a_data_loader_no_file_descriptor():
    sample = GroundingDataSample()
    sample.gt_queries = InstanceData(spans=torch.tensor([[1.0, 5]]))
    sent = bytes(ForkingPickler.dumps(sample))
    assert b'rebuild_tensor' not in sent
    spans = pickle.loads(sent).gt_queries.spans
    assert torch.equal(spans, sample.gt_queries.spans)
