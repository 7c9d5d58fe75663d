"""Batches of clips that are bounded in sentences and alike in length."""

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Optional

import numpy as np
from mmengine.dataset import InfiniteSampler
from torch.utils.data import Sampler

from hero_mm.errors import UserError, UserTypeError
from hero_mm.registry import DATA_SAMPLERS


@DATA_SAMPLERS.register_module()
@dataclass(eq=False)
class ClipBatchSampler(Sampler):
    """Group the clips that a sampler gives into batches.

    All is fixed by the order of the sampler, which depends on seed and epoch.
    In distributed training every process makes the same number of batches:
    that of the process with the fewest.

    Args:
        sampler (Sampler): Gives indices of clips; MMEngine's
            ``DefaultSampler`` or ``InfiniteSampler``.
        batch_size (int): Most clips a batch.
        drop_last (bool): Whether to drop a last batch that is not full of
            clips.
        max_queries (int, optional): Most sentences a batch. A clip that has
            more is a batch of its own.
        bucket (bool): Whether to put clips of alike length together, which
            saves padding.
        bucket_batches (int): Batches that are drawn at a time, sorted by
            length and given in random order, with ``bucket``.
    """

    sampler: Sampler
    batch_size: int
    drop_last: bool = False
    max_queries: Optional[int] = None
    bucket: bool = False
    bucket_batches: int = 16

    def __post_init__(self) -> None:
        for name in ('batch_size', 'max_queries', 'bucket_batches'):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f'{name} must be >= 1, got {value}')
        self._lengths, self._queries = self._sizes()
        self._counted: tuple[Any, int] = (None, 0)

    def _sizes(self) -> tuple[np.ndarray, np.ndarray]:
        """Seconds and sentences of the clips, where they are needed."""
        if self.max_queries is None and not self.bucket:
            return np.zeros(0), np.zeros(0)
        dataset: Any = getattr(self.sampler, 'dataset', None)
        if not hasattr(dataset, 'clip_sizes'):
            raise UserTypeError(
                'ClipBatchSampler with max_queries or bucket needs a data set '
                f'with clip_sizes(), got {type(dataset).__name__}; use '
                'GroundingDataset without a wrapper'
            )
        return dataset.clip_sizes()

    def __iter__(self) -> Iterator[list[int]]:
        batches = self._batches(self.sampler)
        if isinstance(self.sampler, InfiniteSampler):
            return batches
        return islice(batches, len(self))

    def __len__(self) -> int:
        if isinstance(self.sampler, InfiniteSampler):
            return -(-len(self.sampler) // self.batch_size)
        epoch = getattr(self.sampler, 'epoch', 0)
        if self._counted[0] != epoch:
            counts = [
                sum(1 for _ in self._batches(order))
                for order in self._orders()
            ]
            self._counted = (epoch, min(counts))
        return self._counted[1]

    def _orders(self) -> list[Iterable[int]]:
        """The indices that each process gets.

        In testing nothing may be dropped, so that each process counts alone.
        """
        world = getattr(self.sampler, 'world_size', 1)
        if world == 1 or not getattr(self.sampler, 'shuffle', False):
            return [self.sampler]
        orders: list[Iterable[int]] = []
        for rank in range(world):
            other: Any = copy.copy(self.sampler)
            other.rank = rank
            orders.append(other)
        return orders

    def _batches(self, order: Iterable[int]) -> Iterator[list[int]]:
        """Batches of an order of indices, which may be endless."""
        indices = iter(order)
        if not self.bucket:
            yield from self._packed(indices)
            return
        seed = getattr(self.sampler, 'seed', None) or 0
        rng = np.random.default_rng([seed, getattr(self.sampler, 'epoch', 0)])
        size = self.batch_size * self.bucket_batches
        while pool := list(islice(indices, size)):
            pool.sort(key=lambda index: self._lengths[index])
            batches = list(self._packed(iter(pool)))
            for place in rng.permutation(len(batches)):
                yield batches[place]

    def _packed(self, indices: Iterator[int]) -> Iterator[list[int]]:
        """Fill one batch after the other."""
        batch: list[int] = []
        for index in indices:
            if batch and self._is_full(batch, index):
                yield batch
                batch = []
            batch.append(index)
        if batch and not (self.drop_last and len(batch) < self.batch_size):
            yield batch

    def _is_full(self, batch: Sequence[int], index: int) -> bool:
        if len(batch) >= self.batch_size:
            return True
        if self.max_queries is None:
            return False
        total = self._queries[list(batch)].sum() + self._queries[index]
        return bool(total > self.max_queries)
