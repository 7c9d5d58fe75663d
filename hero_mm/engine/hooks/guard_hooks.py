"""Small hooks that watch a run: seeds, losses, norms, videos."""

import logging
import random
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_gather_object, all_reduce, get_rank
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch.nn.modules.batchnorm import _BatchNorm

from hero_mm.errors import NotFiniteError, UserError
from hero_mm.registry import HOOKS
from hero_mm.texts import name_some


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


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Looks at every loss on its device, and reads what was seen now and then.

    So no step waits for the device. All processes stop together.

    Args:
        interval (int): Iterations between two readings. Defaults to 20.
    """

    priority = 'VERY_HIGH'

    def __init__(self, interval: int = 20) -> None:
        if interval < 1:
            raise UserError(f'interval must be at least 1, got {interval}')
        self.interval = interval
        # Iteration, loss and videos of the steps since the last reading.
        self._seen: list[tuple[int, torch.Tensor, list[str]]] = []

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Any = None,
    ) -> None:
        """Look at the loss of a step.

        Raises:
            FloatingPointError: A loss since the last reading is not finite;
                names the iteration and the videos.
        """
        loss = (outputs or {}).get('loss')
        if not isinstance(loss, torch.Tensor):
            return
        videos = _videos(data_batch)
        self._seen.append((runner.iter, loss.detach(), videos))
        if self.every_n_train_iters(runner, self.interval):
            self._read()

    def after_train_epoch(self, runner: Runner) -> None:
        """Read what is left, before anything is saved."""
        self._read()

    def _read(self) -> None:
        if not self._seen:
            return
        losses = torch.stack([loss for _, loss, _ in self._seen])
        bad = ~losses.isfinite()
        worst = bad.any().int()
        all_reduce(worst, 'max')
        if not worst:
            self._seen.clear()
            return
        where = f'in another process, up to iteration {self._seen[-1][0]}'
        if bad.any():
            number, _, videos = self._seen[int(bad.int().argmax())]
            named = ', '.join(videos) or 'unknown'
            where = f'at iteration {number}, on the videos {named}'
        raise NotFiniteError(
            f'the loss is not finite {where}. Nothing was saved since: go on '
            'from the last checkpoint (--resume) with a lower learning rate, '
            'or train without mixed precision'
        )


def _videos(batch: Any) -> list[str]:
    """Ids of the videos of a batch, as far as they are known."""
    samples = batch.get('data_samples') if isinstance(batch, dict) else None
    if not isinstance(samples, Sequence):
        return []
    return [str(one.get('video_id')) for one in samples if hasattr(one, 'get')]


@HOOKS.register_module()
class FrozenNormHook(Hook):
    """Looks, before a training, for batch norms that normalise nothing.

    One that is frozen (``norm_eval``, ``frozen_stages``) keeps its statistics;
    where no checkpoint brought any, it keeps those of its start, and what is
    frozen around it stays random.
    """

    def before_train(self, runner: Runner) -> None:
        """Warn, in one line, where there are such norms."""
        model: Any = runner.model
        model = model.module if is_model_wrapper(model) else model
        was_training = model.training
        model.train()
        names = [
            name
            for name, module in model.named_modules()
            if isinstance(module, _BatchNorm)
            and not module.training
            and module.running_mean is not None
            and module.running_var is not None
            and not module.running_mean.any()
            and (module.running_var == 1).all()
        ]
        model.train(was_training)
        if names:
            runner.logger.warning(
                f'{len(names)} frozen batch norms have the statistics of '
                f'their start ({name_some(names)}): no checkpoint filled '
                'them, and they will not learn. Load pretrained weights '
                '(init_cfg, load_from), or train them: norm_eval=False, '
                'frozen_stages=-1'
            )


@HOOKS.register_module()
class BrokenVideoHook(Hook):
    """Log the number and the names of broken videos after a run.

    Each is logged when it is met; this is the count at the end, over all
    processes and their workers. Data sets may lie in wrappers.
    """

    def after_train(self, runner: Runner) -> None:
        """Report the training data."""
        self._report(runner.train_dataloader, 'were left out')

    def after_val(self, runner: Runner) -> None:
        """Report the validation data."""
        self._report(runner.val_dataloader, 'were left out and scored 0')

    def after_test(self, runner: Runner) -> None:
        """Report the test data."""
        self._report(runner.test_dataloader, 'were left out and scored 0')

    def _report(self, dataloader: Any, what: str) -> None:
        """Log what all processes met; warnings are shown by the first."""
        met: dict[str, set[str]] = {}
        own = list(_broken_videos(getattr(dataloader, 'dataset', None)))
        for ann_file, names in chain(*all_gather_object(own)):
            met.setdefault(ann_file, set()).update(names)
        for ann_file, found in met.items():
            print_log(
                f'{len(found)} broken videos of {ann_file} {what}: '
                f'{name_some(sorted(found), 50)}',
                logger='current',
                level=logging.WARNING,
            )


def _broken_videos(dataset: Any) -> Iterator[tuple[str, list[str]]]:
    """Annotation file and broken videos of each data set in wrappers."""
    if hasattr(dataset, 'broken_videos'):
        if dataset.broken_videos:
            yield dataset.ann_file, dataset.broken_videos
        return
    inner = [getattr(dataset, 'dataset', None)]
    for part in [*getattr(dataset, 'datasets', []), *inner]:
        if part is not None:
            yield from _broken_videos(part)
