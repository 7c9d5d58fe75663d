"""Say at the end of a run which videos could not be read."""

import logging
from collections.abc import Iterator
from typing import Any

from mmengine.dist import all_gather_object
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner

from hero_mm.registry import HOOKS

MOST = 50
"""Videos that are named."""


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
        for part in all_gather_object(own):
            for ann_file, names in part:
                met.setdefault(ann_file, set()).update(names)
        for ann_file, found in met.items():
            if not found:
                continue
            names, rest = sorted(found), len(found) - MOST
            print_log(
                f'{len(names)} broken videos of {ann_file} {what}: '
                f'{", ".join(names[:MOST])}'
                f'{f" and {rest} more" if rest > 0 else ""}',
                logger='current',
                level=logging.WARNING,
            )


def _broken_videos(dataset: Any) -> Iterator[tuple[str, list[str]]]:
    """Annotation file and broken videos of each data set in wrappers."""
    if hasattr(dataset, 'broken_videos'):
        yield dataset.ann_file, dataset.broken_videos
        return
    inner = [getattr(dataset, 'dataset', None)]
    for part in [*getattr(dataset, 'datasets', []), *inner]:
        if part is not None:
            yield from _broken_videos(part)
