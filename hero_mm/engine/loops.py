"""Training loops that MMEngine lacks."""

from typing import Any

from mmengine.runner import EpochBasedTrainLoop, Runner

from hero_mm.errors import UserError

from ..registry import LOOPS


@LOOPS.register_module()
class BudgetTrainLoop(EpochBasedTrainLoop):
    """Epochs until a number of iterations is done; the last one is cut off.

    MMEngine's loop by iterations has no epochs: :class:`EpochSeedHook` and
    the samplers cannot fix what is drawn in one, and to resume it decodes all
    that was trained before. Here an epoch is an epoch, and any number of
    clips can be trained. A schedule that shall cool to the end must count
    iterations: ``by_epoch=False, total_steps=max_iters``.

    Args:
        runner (Runner): The runner.
        dataloader (DataLoader | dict): Of the training.
        max_iters (int): Iterations of the whole training.
        **kwargs: ``val_begin``, ``val_interval`` (epochs) and
            ``dynamic_intervals`` of MMEngine's loop by epochs.

    Raises:
        ValueError: If ``max_iters`` is not at least 1.
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
