"""Batches of clips."""

import copy
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.dataset import DefaultSampler, InfiniteSampler
from torch.utils.data import DataLoader

from hero_mm.datasets import ClipBatchSampler, GroundingDataset
from hero_mm.registry import DATA_SAMPLERS


class Sized:
    """A data set that knows how large its items are."""

    def __init__(self, queries, seconds=None):
        self.queries = np.array(queries)
        self.seconds = np.array(
            [1.0] * len(queries) if seconds is None else seconds
        )

    def __len__(self):
        return len(self.queries)

    def clip_sizes(self):
        return self.seconds, self.queries


def _sampler(dataset, rank=0, world=1, shuffle=True, epoch=0):
    sampler = DefaultSampler(dataset, shuffle=shuffle, seed=3)
    sampler.rank, sampler.world_size = rank, world
    sampler.num_samples = -(-len(dataset) // world)
    sampler.total_size = sampler.num_samples * world
    sampler.set_epoch(epoch)
    return sampler


def test_without_bounds_it_is_an_ordinary_batch_sampler():
    sampler = _sampler(range(7), shuffle=False)
    batches = ClipBatchSampler(sampler, 3)
    assert list(batches) == [[0, 1, 2], [3, 4, 5], [6]] and len(batches) == 3
    batches = ClipBatchSampler(sampler, 3, drop_last=True)
    assert list(batches) == [[0, 1, 2], [3, 4, 5]] and len(batches) == 2


def test_sentences_are_bounded():
    dataset = Sized([2, 2, 3, 1, 9, 1, 1, 1])
    sampler = _sampler(dataset, shuffle=False)
    batches = ClipBatchSampler(sampler, 3, max_queries=5)
    assert list(batches) == [[0, 1], [2, 3], [4], [5, 6, 7]]
    assert len(batches) == 4


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=40),
    st.integers(1, 5),
    st.integers(1, 9),
    st.booleans(),
    st.integers(0, 3),
)
def test_each_clip_once_and_no_batch_too_large(
    queries, size, most, bucket, epoch
):
    dataset = Sized(queries, seconds=np.arange(len(queries)) % 7)
    batches = ClipBatchSampler(
        _sampler(dataset, epoch=epoch),
        size,
        max_queries=most,
        bucket=bucket,
        bucket_batches=3,
    )
    drawn = list(batches)
    assert len(drawn) == len(batches)
    assert sorted(sum(drawn, [])) == list(range(len(queries)))
    for batch in drawn:
        assert len(batch) <= size
        assert len(batch) == 1 or dataset.queries[batch].sum() <= most
    assert drawn == list(batches)


def test_an_epoch_has_its_own_order():
    dataset = Sized([1] * 20)
    sampler = _sampler(dataset)
    batches = ClipBatchSampler(sampler, 4, bucket=True, bucket_batches=2)
    first = list(batches)
    sampler.set_epoch(1)
    second = list(batches)
    sampler.set_epoch(0)
    assert first == list(batches) and first != second


def test_the_number_of_batches_follows_the_epoch():
    dataset = Sized(np.random.default_rng(0).integers(1, 9, 40))
    sampler = _sampler(dataset)
    batches = ClipBatchSampler(sampler, 4, max_queries=9)
    counts = set()
    for epoch in range(8):
        sampler.set_epoch(epoch)
        counts.add(len(batches))
        assert sorted(sum(batches, [])) == list(range(40))
    assert len(counts) > 1


def test_buckets_hold_clips_of_alike_length():
    seconds = np.random.default_rng(0).uniform(1, 100, 64)
    dataset = Sized([1] * 64, seconds)

    def spread(**options):
        batches = ClipBatchSampler(_sampler(dataset), 4, **options)
        return np.mean([np.ptp(seconds[batch]) for batch in batches])

    assert spread(bucket=True) < 0.2 * spread()
    one = ClipBatchSampler(_sampler(dataset), 4, bucket=True)
    means = [seconds[batch].mean() for batch in one]
    assert means != sorted(means)


@pytest.mark.parametrize('epoch', [0, 1, 2])
def test_processes_make_the_same_number_of_batches(epoch):
    queries = np.random.default_rng(1).integers(1, 9, 50)
    dataset = Sized(queries)
    counts, seen = [], set()
    for rank in range(3):
        sampler = _sampler(dataset, rank, 3, epoch=epoch)
        batches = ClipBatchSampler(sampler, 4, max_queries=10)
        drawn = list(batches)
        assert len(drawn) == len(batches)
        counts.append(len(drawn))
        seen |= set(sum(drawn, []))
    assert len(set(counts)) == 1
    assert len(seen) > 40


def test_nothing_is_dropped_in_testing():
    dataset = Sized(np.random.default_rng(1).integers(1, 9, 50))
    seen = []
    for rank in range(3):
        sampler = _sampler(dataset, rank, 3, shuffle=False)
        seen += sum(ClipBatchSampler(sampler, 4, max_queries=10), [])
    assert set(seen) == set(range(50))


def test_endless():
    dataset = Sized([2] * 6)
    sampler = InfiniteSampler(dataset, seed=0)
    batches = ClipBatchSampler(sampler, 4, max_queries=4)
    drawn = list(islice(iter(batches), 9))
    assert all(len(batch) == 2 for batch in drawn)
    assert sorted(sum(drawn[:3], [])) == list(range(6))
    assert len(batches) == 2


def test_bad_options():
    with pytest.raises(ValueError, match='batch_size must be >= 1, got 0'):
        ClipBatchSampler(_sampler(range(3)), 0)
    with pytest.raises(ValueError, match='max_queries must be >= 1, got -1'):
        ClipBatchSampler(_sampler(range(3)), 2, max_queries=-1)
    with pytest.raises(TypeError, match='needs a data set with clip_sizes'):
        ClipBatchSampler(_sampler(range(3)), 2, bucket=True)


def test_as_the_runner_builds_it(toy):
    dataset = GroundingDataset(
        str(toy / 'ann.json'), dict(video=str(toy / 'video'))
    )
    sampler = DefaultSampler(dataset, seed=0)
    batches = DATA_SAMPLERS.build(
        dict(type='ClipBatchSampler', max_queries=5, bucket=True),
        default_args=dict(sampler=sampler, batch_size=2),
    )
    loader = DataLoader(dataset, batch_sampler=batches, collate_fn=copy.copy)
    total = [sum(len(item['queries']) for item in batch) for batch in loader]
    assert sum(total) == 15 and max(total) <= 5
