"""Loops that MMEngine lacks."""

from collections import deque
from typing import Any, Optional

import torch
from mmengine.runner import EpochBasedTrainLoop, Runner, TestLoop
from mmengine.runner.amp import autocast

from hero_mm.datasets.video_reader import VideoError, open_video
from hero_mm.errors import UserError
from hero_mm.structures import GroundingDataSample

from ..registry import LOOPS


@LOOPS.register_module()
class BudgetTrainLoop(EpochBasedTrainLoop):
    """Epochs until a number of iterations is done; the last one is cut off.

    MMEngine's loop by iterations has no epochs: :class:`EpochSeedHook` and
    the samplers cannot fix what is drawn in one, and to resume it decodes all
    that was trained before. A schedule that shall cool to the end must count
    iterations: ``by_epoch=False, total_steps=max_iters``.

    Args:
        runner (Runner): The runner.
        dataloader (DataLoader | dict): Of the training.
        max_iters (int): Iterations of the whole training, at least 1.
        **kwargs: Of MMEngine's loop by epochs.
    """

    def __init__(
        self, runner: Runner, dataloader: Any, max_iters: int, **kwargs: Any
    ) -> None:
        if max_iters < 1:
            raise UserError(f'max_iters must be at least 1, got {max_iters}')
        super().__init__(runner, dataloader, max_epochs=1, **kwargs)
        self._max_iters = int(max_iters)
        self._max_epochs = -(-self._max_iters // len(self.dataloader))

    def run_epoch(self) -> None:
        """Iterate one epoch, or what is left of the iterations."""
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        for idx, data_batch in enumerate(self.dataloader):
            self.run_iter(idx, data_batch)
            if self._iter >= self._max_iters:
                break
        if self._iter < self._max_iters:
            # Samplers may give fewer batches in one epoch than in another.
            self._max_epochs = max(self._max_epochs, self._epoch + 2)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1


@LOOPS.register_module()
class WindowTestLoop(TestLoop):
    """Test on long segments, searched in windows as an inferencer does it.

    A segment that is no longer than a window goes through the pipeline of the
    data set, as in MMEngine's loop; then its answer is the same.

    Args:
        runner (Runner): The runner.
        dataloader (DataLoader | dict): Of one :class:`GroundingDataset`.
        evaluator (Evaluator | dict | list): Scores the tubes.
        window (float): Seconds of a window, above 0.
        **kwargs: ``fp16`` of MMEngine's loop.
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: Any,
        evaluator: Any,
        window: float,
        **kwargs: Any,
    ) -> None:
        super().__init__(runner, dataloader, evaluator, **kwargs)
        if not window > 0:
            raise UserError(f'window must be above 0 seconds, got {window}')
        self.window = float(window)
        if not hasattr(self.dataloader.dataset, 'pipeline'):
            raise UserError('WindowTestLoop tests on one data set at a time')

    def run(self) -> dict:
        """Test each item of the data set by itself; gives the scores."""
        self.runner.call_hook('before_test')
        self.runner.call_hook('before_test_epoch')
        self.runner.model.eval()
        for place, index in enumerate(self.dataloader.sampler):
            self._run_item(place, index)
        metrics = self.evaluator.evaluate(len(self.dataloader.dataset))
        self.runner.call_hook('after_test_epoch', metrics=metrics)
        self.runner.call_hook('after_test')
        return metrics

    @torch.no_grad()
    def _run_item(self, place: int, index: int) -> None:
        dataset: Any = self.dataloader.dataset
        info = dataset.get_data_info(index)
        start, end = info['segment']
        batch = None
        self.runner.call_hook(
            'before_test_iter', batch_idx=place, data_batch=batch
        )
        with autocast(enabled=self.fp16):
            if (end - start) / info['fps'] <= self.window:
                batch = self._collate(dataset[index])
                outputs = self.runner.model.test_step(batch)
            else:
                outputs = self._search(dataset, info)
        self.evaluator.process(data_samples=outputs, data_batch=batch)
        self.runner.call_hook(
            'after_test_iter',
            batch_idx=place,
            data_batch=batch,
            outputs=outputs,
        )

    def _collate(self, item: dict) -> Any:
        collate: Any = self.dataloader.collate_fn
        return collate([item])

    def _search(self, dataset: Any, info: dict) -> list[GroundingDataSample]:
        """The best tube of each sentence; nothing of a broken video."""
        # Not at the top: it imports what an inferencer needs.
        from hero_mm.apis.windows import as_sample, search

        asked: Optional[GroundingDataSample] = None

        def answer(item: dict) -> GroundingDataSample:
            nonlocal asked
            batch = self._collate(item)
            (asked,) = self.runner.model.test_step(batch)
            return asked

        asked_of = dataset.pipeline, info, self.window, len(info['queries'])
        try:
            with open_video(info['video_path']) as reader:
                (last,) = deque(search(reader, answer, *asked_of), maxlen=1)
        except VideoError as error:
            dataset.leave_out(info['video_place'], error)
            return []
        best = [tubes.best()[0] for tubes in last.best]
        assert asked is not None
        sample = as_sample(asked.queries.texts, best, last.facts)
        sample.queries = asked.queries
        return [sample]
