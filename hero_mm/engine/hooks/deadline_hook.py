"""Stop a training between two epochs before time is up."""

import os
import time
from typing import Any, Optional

from mmengine.dist import broadcast_object_list
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner

from hero_mm.registry import HOOKS

STOP_AT = 'HERO_MM_STOP_AT'


@HOOKS.register_module()
class DeadlineHook(Hook):
    """End a training after the last epoch that can be done in time.

    A training that is killed loses the epoch that it is in. Here it ends
    where its checkpoint is, when one more epoch and its validation would take
    too long; ``tools/train.py --resume`` goes on.

    Args:
        stop_at (float, optional): Seconds since 1970. Defaults to the
            environment variable ``HERO_MM_STOP_AT``, or to no limit.
    """

    def __init__(self, stop_at: Optional[float] = None) -> None:
        limit = os.environ.get(STOP_AT)
        self.stop_at = float(limit) if stop_at is None and limit else stop_at
        self._epoch_start = self._val_start = 0.0
        self._epoch = self._val = 0.0

    def before_train_epoch(self, runner: Runner) -> None:
        """Note when the epoch starts."""
        self._epoch_start = time.time()

    def before_val(self, runner: Runner) -> None:
        """Note when the validation starts."""
        self._val_start = time.time()

    def after_val(self, runner: Runner) -> None:
        """Note how long the validation took."""
        self._val = time.time() - self._val_start

    def after_train_epoch(self, runner: Runner) -> None:
        """End the training where the next epoch would take too long."""
        now = time.time()
        self._epoch = now - self._epoch_start
        if runner.epoch + 1 >= runner.max_epochs:
            return
        # The validation of this epoch is still to come.
        end = now + self._val + self._epoch + self._val
        late: list[Any] = [self.stop_at is not None and end > self.stop_at]
        # Clocks of processes differ by a little.
        broadcast_object_list(late)
        if late[0]:
            runner.train_loop.stop_training = True
            print_log(
                'The training stops here: one more epoch would end after the '
                'limit; --resume goes on',
                logger='current',
            )
