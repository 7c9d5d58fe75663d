"""Stop a training whose loss is not finite, before anything is saved."""

from collections.abc import Sequence
from typing import Any, Optional

import torch
from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from mmengine.runner import Runner

from hero_mm.errors import NotFiniteError, UserError
from hero_mm.registry import HOOKS


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
        # The first iteration that was not finite; -1 for none.
        self._first: Optional[torch.Tensor] = None
        self._videos: dict[int, list[str]] = {}

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
        loss = loss.detach()
        if self._first is None:
            self._first = torch.full((), -1, device=loss.device)
        bad = ~loss.isfinite().all() & (self._first < 0)
        number = torch.full_like(self._first, runner.iter)
        self._first = torch.where(bad, number, self._first)
        self._videos[runner.iter] = _videos(data_batch)
        if self.every_n_train_iters(runner, self.interval):
            self._read()

    def after_train_epoch(self, runner: Runner) -> None:
        """Read what is left, before anything is saved."""
        self._read()

    def _read(self) -> None:
        if self._first is None:
            return
        worst = self._first.clone()
        all_reduce(worst, 'max')
        if int(worst) < 0:
            self._videos.clear()
            return
        first = int(self._first)
        videos = ', '.join(self._videos.get(first, [])) or 'unknown'
        where = (
            f'at iteration {first}, on the videos {videos}'
            if first >= 0
            else f'in another process, at iteration {int(worst)}'
        )
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
