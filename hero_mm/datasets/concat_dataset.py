"""Several annotation files as one data set, for training and for scores."""

from collections.abc import Sequence
from typing import Any, Union

from mmengine.dataset import BaseDataset, ConcatDataset

from hero_mm.registry import DATASETS

from .grounding_dataset import GroundingDataset, check_descriptors


@DATASETS.register_module(name='ConcatDataset')
class GroundingConcatDataset(ConcatDataset):
    """Data sets one after the other, ``dict(type='ConcatDataset', ...)``.

    What each file says of itself may differ. Ids of queries count from 0 in
    each file: here they get the number of their data set in front, ``'1/17'``,
    so that all of them are scored.

    Args:
        datasets (Sequence[dict | BaseDataset]): Their configs.
        lazy_init (bool): Load them later. Defaults to False.
        ignore_keys (str | list[str], optional): Taken for MMEngine's sake:
            nothing that differs is refused.
    """

    def __init__(
        self,
        datasets: Sequence[Union[BaseDataset, dict]],
        lazy_init: bool = False,
        ignore_keys: Any = None,
    ) -> None:
        built = [
            DATASETS.build(one) if isinstance(one, dict) else one
            for one in datasets
        ]
        for number, one in enumerate(built):
            if isinstance(one, GroundingDataset):
                one.id_prefix = f'{number}/'
        facts = [one.metainfo for one in built]
        keys = sorted({key for one in facts for key in one})
        super().__init__(built, lazy_init=True, ignore_keys=keys)
        if not lazy_init:
            self.full_init()

    def __getitems__(self, indices: list[int]) -> list[Any]:
        """The items of a batch; see :class:`GroundingDataset`."""
        check_descriptors(len(indices))
        return [self[idx] for idx in indices]

    @property
    def metainfo(self) -> dict[str, Any]:
        """dict: What all say alike; ``ann_file`` has the file of each."""
        facts = [one.metainfo for one in self.datasets]
        common = {
            key: value
            for key, value in facts[0].items()
            if all(key in one and one[key] == value for one in facts)
        }
        common['ann_file'] = [one.get('ann_file') for one in facts]
        common['served'] = [one.get('served') for one in facts]
        return common
