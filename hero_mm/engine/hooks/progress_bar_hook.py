"""A progress bar for training, validation and testing.

On a terminal a bar stands below the log and the log lines of single
iterations are kept from the screen (they go on into the log file). Without a
terminal the hook does nothing, and the lines of ``LoggerHook`` are all there
is.
"""

import functools
import logging
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Optional

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
)
from rich.text import Text

from hero_mm.registry import HOOKS

ITERATION_LINE = re.compile(r'(Epoch|Iter)\((train|val|test)\).*\beta: ')
"""Lines of ``LoggerHook`` that the bar replaces."""


def make_console() -> Console:
    """The console on standard output."""
    return Console()


def _is_shown(record: logging.LogRecord) -> bool:
    return not ITERATION_LINE.search(record.getMessage())


class _Display:
    """The bars on the screen, and above them what a logger writes there."""

    def __init__(self, console: Console, logger: logging.Logger) -> None:
        self.progress = Progress(
            TextColumn('[bold]{task.description}'),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn('{task.fields[info]}'),
            console=console,
            refresh_per_second=4,
            expand=True,
        )
        self._console, self._stream = console, console.file
        self._handlers = [
            handler
            for handler in logger.handlers
            if isinstance(handler, logging.StreamHandler)
            and handler.stream is console.file
        ]
        self.progress.start()
        for handler in self._handlers:
            handler.setStream(self)
            handler.addFilter(_is_shown)

    def stop(self) -> None:
        """Give the screen back as it was."""
        for handler in self._handlers:
            handler.setStream(self._stream)
            handler.removeFilter(_is_shown)
        self.progress.stop()

    def write(self, text: str) -> None:
        """Print a whole line as it is: no markup, no wrapping."""
        line = Text.from_ansi(text.removesuffix('\n'))
        self._console.print(line, crop=False, overflow='ignore', no_wrap=True)

    def flush(self) -> None:
        """Nothing is held back."""


@HOOKS.register_module()
class ProgressBarHook(Hook):
    """Show how far a run is: epoch, iteration, loss, learning rate, ETA.

    Works with epoch and iteration based loops, on the main process only, where
    standard output is a terminal, which it leaves clean however the run ends.
    """

    priority = 'LOW'

    def __init__(self) -> None:
        self._console: Optional[Console] = None
        self._display: Optional[_Display] = None
        self._tasks: dict[str, TaskID] = {}
        self._depth = 0

    def before_run(self, runner: Runner) -> None:
        """Get ready, where there is a terminal."""
        console = make_console()
        is_fit = console.is_terminal and not console.is_dumb_terminal
        self._console = console if is_fit and is_main_process() else None
        for loop in (runner._train_loop, runner._val_loop, runner._test_loop):
            if hasattr(loop, 'run') and not hasattr(loop.run, 'guarded'):
                loop.run = self._guard(loop.run)

    def _guard(self, run: Callable) -> Callable:
        """Stop the display when the outermost loop ends, also by an error.

        MMEngine calls no hook when a loop is left by an exception or by
        Ctrl-C, and a bar that is not stopped hides the cursor for good.
        """

        @functools.wraps(run)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            self._depth += 1
            try:
                return run(*args, **kwargs)
            finally:
                self._depth -= 1
                if self._depth == 0 and self._display is not None:
                    self._display.stop()
                    self._display, self._tasks = None, {}

        guarded.guarded = True  # type: ignore[attr-defined]
        return guarded

    def _before_epoch(self, runner: Any, mode: str = 'train') -> None:
        """Show a bar; that of the training is one for all epochs."""
        if self._console is None or mode in self._tasks:
            return
        if self._display is None:
            self._display = _Display(self._console, runner.logger)
        total, done = runner.max_iters, runner.iter
        if mode != 'train':
            total, done = len(getattr(runner, f'{mode}_dataloader')), 0
        self._tasks[mode] = self._display.progress.add_task(
            mode, total=total, completed=done, info=''
        )

    def _after_iter(
        self,
        runner: Any,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Any = None,
        mode: str = 'train',
    ) -> None:
        """Move a bar."""
        if self._display is None:
            return
        scalars = runner.message_hub.log_scalars
        done, title, info = batch_idx + 1, mode, ''
        if mode == 'train':
            done = runner.iter + 1
            if runner.max_epochs > 1:
                title = f'train epoch {runner.epoch + 1}/{runner.max_epochs}'
            if 'train/loss' in scalars:
                info += f'loss {float(scalars["train/loss"].mean(20)):.4g} '
            if 'train/lr' in scalars:
                info += f'lr {float(scalars["train/lr"].current()):.1e} '
        progress, task = self._display.progress, self._tasks[mode]
        total = progress.tasks[progress.task_ids.index(task)].total or done
        if f'{mode}/time' in scalars:
            seconds = float(scalars[f'{mode}/time'].mean(20)) * (total - done)
            info += f'eta {timedelta(seconds=round(max(seconds, 0)))}'
        progress.update(task, completed=done, description=title, info=info)

    def _after_epoch(self, runner: Any, mode: str = 'train') -> None:
        """Take the bar of a validation or test away."""
        if mode != 'train' and self._display is not None:
            self._display.progress.refresh()
            self._display.progress.remove_task(self._tasks.pop(mode))
