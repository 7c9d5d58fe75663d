"""A progress bar for training, validation and testing."""

import atexit
import logging
import sys
from collections.abc import Sequence
from typing import Any, Optional, Union

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from rich.console import Console
from rich.file_proxy import FileProxy
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from hero_mm.registry import HOOKS


@HOOKS.register_module()
class ProgressBarHook(Hook):
    """Show below the log how far a run is: epoch, iteration, loss, time left.

    Works with epoch and iteration based loops, on the main process only, where
    standard output is a terminal, which it leaves clean however the run ends.
    """

    priority = 'LOW'

    def __init__(self) -> None:
        # Lines of the log stay whole.
        self._console = Console(soft_wrap=True)
        self._bar: Optional[Progress] = None
        self._tasks: dict[str, TaskID] = {}

    def before_run(self, runner: Runner) -> None:
        """Get ready, where there is a terminal."""
        self.after_run(runner)
        console = self._console
        fits = console.is_terminal and not console.is_dumb_terminal
        if not fits or not is_main_process():
            return
        self._tasks = {}
        self._bar = Progress(
            TextColumn('[bold]{task.description}'),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn('{task.fields[info]}'),
            TimeRemainingColumn(),
            console=console,
            refresh_per_second=4,
            transient=True,
            # Elsewhere errors of the run go where they are sent.
            redirect_stderr=sys.stderr.isatty(),
        )
        self._bar.start()
        # Where a run is left by an error no hook is called.
        atexit.register(self._bar.stop)
        for handler in runner.logger.handlers:
            if (
                isinstance(handler, logging.StreamHandler)
                and handler.stream is console.file
            ):
                # Above the bar, also after it.
                handler.setStream(FileProxy(console, console.file))

    def after_run(self, runner: Runner) -> None:
        """Give the screen back."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _before_epoch(self, runner: Any, mode: str = 'train') -> None:
        """Show a bar; that of the training is one for all epochs."""
        if self._bar is None or mode in self._tasks:
            return
        total, done = runner.max_iters, runner.iter
        if mode != 'train':
            total, done = len(getattr(runner, f'{mode}_dataloader')), 0
        self._tasks[mode] = self._bar.add_task(
            mode, total=total, completed=done, info=''
        )

    def _after_iter(
        self,
        runner: Any,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Optional[Union[dict, Sequence]] = None,
        mode: str = 'train',
    ) -> None:
        """Move a bar."""
        if self._bar is None:
            return
        title, info = mode, ''
        if mode == 'train':
            title = f'train epoch {runner.epoch + 1}/{runner.max_epochs}'
            scalars = runner.message_hub.log_scalars
            if 'train/loss' in scalars:
                info = f'loss {float(scalars["train/loss"].mean(20)):.4g}'
        self._bar.update(
            self._tasks[mode], advance=1, description=title, info=info
        )

    def _after_epoch(self, runner: Any, mode: str = 'train') -> None:
        """Take the bar of a validation or test away."""
        if self._bar is not None and mode != 'train':
            self._bar.remove_task(self._tasks.pop(mode))
