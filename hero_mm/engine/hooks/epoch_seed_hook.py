"""Seed each epoch, so that a resumed training goes on as if never stopped."""

import random
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner

from hero_mm.registry import HOOKS


@HOOKS.register_module()
class EpochSeedHook(Hook):
    """Let all that is random in an epoch depend on seed and epoch alone.

    MMEngine seeds processes once, at the start of a run: after a resume other
    frames, flips and negatives would be drawn than without. Here the random
    states of the training process are set at the start of each epoch, and
    data sets with a method ``set_epoch(epoch, seed)`` get both (also inside a
    ``ConcatDataset``; a ``RepeatDataset`` gives an item several times an
    epoch and is left alone). A loop that counts iterations has no epochs and
    is left alone too.
    """

    def before_train_epoch(self, runner: Runner) -> None:
        """Tell the data sets."""
        if not isinstance(runner.train_loop, EpochBasedTrainLoop):
            return
        dataset: Any = runner.train_dataloader.dataset
        for part in getattr(dataset, 'datasets', [dataset]):
            if hasattr(part, 'set_epoch'):
                part.set_epoch(runner.epoch, runner.seed)

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None
    ) -> None:
        """Seed the process of the training.

        Not sooner: a data loader that starts its workers draws a number too,
        and only the first epoch of a process starts them.
        """
        if batch_idx or not isinstance(runner.train_loop, EpochBasedTrainLoop):
            return
        source = [runner.seed, runner.epoch, get_rank()]
        state = np.random.SeedSequence(source).generate_state(3)
        random.seed(int(state[0]))
        np.random.seed(state[1])
        torch.manual_seed(int(state[2]))
