"""Say at the end of a run which videos could not be read."""

import logging
from typing import Any

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner

from hero_mm.registry import HOOKS


@HOOKS.register_module()
class BrokenVideoHook(Hook):
    """Log the number and the names of broken videos after a run.

    Each is logged when it is met; this is the count at the end, over all
    worker processes.

    Args:
        most (int): Videos that are told by name. Defaults to 50.
    """

    def __init__(self, most: int = 50) -> None:
        self.most = most

    def after_train(self, runner: Runner) -> None:
        """Report the training data.

        Args:
            runner (Runner): The runner.
        """
        self._report(runner.train_dataloader)

    def after_test(self, runner: Runner) -> None:
        """Report the test data.

        Args:
            runner (Runner): The runner.
        """
        self._report(runner.test_dataloader)

    def _report(self, dataloader: Any) -> None:
        dataset: Any = getattr(dataloader, 'dataset', None)
        names = getattr(dataset, 'broken_videos', [])
        if not names:
            return
        rest = len(names) - self.most
        print_log(
            f'{len(names)} broken videos of {dataset.ann_file} were left out: '
            f'{", ".join(names[: self.most])}'
            f'{f" and {rest} more" if rest > 0 else ""}',
            logger='current',
            level=logging.WARNING,
        )
