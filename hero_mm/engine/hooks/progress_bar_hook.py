"""A progress bar for training, validation and testing.

On a terminal a bar stands below the log and the log lines of single
iterations are kept from the screen (they go on into the log file). Without a
terminal the hook does nothing, and the lines of ``LoggerHook`` are all there
is.
"""

import functools
import logging
import re
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Optional, Union

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

DataBatch = Optional[Union[dict, tuple, list]]

ITERATION_LINE = re.compile(r'(Epoch|Iter)\((train|val|test)\).*\beta: ')
"""Lines of ``LoggerHook`` that the bar replaces."""


def make_console() -> Console:
    """The console on standard output."""
    return Console()


def is_terminal(console: Console) -> bool:
    """Whether a bar can be drawn and redrawn there."""
    return console.is_terminal and not console.is_dumb_terminal


class _HideIterations(logging.Filter):
    """Keep lines of single iterations from the screen."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not ITERATION_LINE.search(record.getMessage())


class _Display:
    """The bars on the screen, with the log above them.

    Args:
        console (Console): Where to draw.
        logger (logging.Logger): Its handlers on the screen write above the
            bars while they are shown.
    """

    def __init__(self, console: Console, logger: logging.Logger) -> None:
        self.progress = Progress(
            TextColumn('{task.description}'),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn('{task.fields[info]}'),
            TextColumn('eta {task.fields[eta]}'),
            console=console,
            refresh_per_second=4,
            expand=True,
        )
        self._filter = _HideIterations()
        self._handlers = [
            handler
            for handler in logger.handlers
            if isinstance(handler, logging.StreamHandler)
            and handler.stream is console.file
        ]
        self._streams = [handler.stream for handler in self._handlers]
        self.progress.start()
        for handler in self._handlers:
            # Rich replaced sys.stdout; MMEngine's handler holds the old one.
            handler.setStream(_Above(self.progress.console))
            handler.addFilter(self._filter)

    def stop(self) -> None:
        """Give the screen back as it was."""
        for handler, stream in zip(self._handlers, self._streams):
            handler.setStream(stream)
            handler.removeFilter(self._filter)
        self.progress.stop()


class _Above:
    """A stream that prints above the bars.

    Args:
        console (Console): The console of the bars.
    """

    def __init__(self, console: Console) -> None:
        self._console = console

    def write(self, text: str) -> int:
        """Print a whole line as it is: no markup, no wrapping."""
        line = Text.from_ansi(text.removesuffix('\n'))
        self._console.print(line, crop=False, overflow='ignore', no_wrap=True)
        return len(text)

    def flush(self) -> None:
        """Nothing is held back."""


def _short(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


@HOOKS.register_module()
class ProgressBarHook(Hook):
    """Show how far a run is: epoch, iteration, loss, learning rate, ETA.

    Works with epoch and iteration based loops, on the main process only, and
    leaves the terminal clean however the run ends.

    Args:
        enabled (bool, optional): Draw the bar. Defaults to None: where
            standard output is a terminal.
    """

    priority = 'LOW'

    def __init__(self, enabled: Optional[bool] = None) -> None:
        self.enabled = enabled
        self._display: Optional[_Display] = None
        self._console: Optional[Console] = None
        self._tasks: dict[str, TaskID] = {}
        self._depth = 0

    def before_run(self, runner: Runner) -> None:
        """Get ready, where there is a terminal.

        Args:
            runner (Runner): The runner.
        """
        console = make_console()
        wanted = is_terminal(console) if self.enabled is None else self.enabled
        self._console = console if wanted and is_main_process() else None
        if self._console is None:
            return
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
                if self._depth == 0:
                    self._stop()

        guarded.guarded = True  # type: ignore[attr-defined]
        return guarded

    def _start(self, runner: Runner, mode: str, total: int, done: int) -> None:
        if self._console is None:
            return
        if self._display is None:
            self._display = _Display(self._console, runner.logger)
        self._tasks[mode] = self._display.progress.add_task(
            f'[bold]{mode}', total=total, completed=done, info='', eta='-'
        )

    def _stop(self) -> None:
        if self._display is not None:
            self._display.stop()
        self._display = None
        self._tasks = {}

    def _advance(self, runner: Runner, mode: str, done: int) -> None:
        if self._display is None or mode not in self._tasks:
            return
        tasks = self._display.progress.tasks
        total = next(t.total for t in tasks if t.id == self._tasks[mode])
        scalars = runner.message_hub.log_scalars
        eta = '-'
        if f'{mode}/time' in scalars and total is not None:
            seconds = scalars[f'{mode}/time'].mean(20)
            eta = _short(max(total - done, 0) * float(seconds))
        self._display.progress.update(
            self._tasks[mode],
            completed=done,
            eta=eta,
            info=self._info(runner) if mode == 'train' else '',
            description=self._title(runner, mode),
        )

    @staticmethod
    def _title(runner: Runner, mode: str) -> str:
        if mode == 'train' and runner.max_epochs > 1:
            epoch = f'epoch {runner.epoch + 1}/{runner.max_epochs}'
            return f'[bold]train[/] {epoch}'
        return f'[bold]{mode}[/]'

    @staticmethod
    def _info(runner: Runner) -> str:
        scalars = runner.message_hub.log_scalars
        parts = []
        if 'train/loss' in scalars:
            loss = float(scalars['train/loss'].mean(20))
            parts.append(f'loss {loss:.4g}')
        if 'train/lr' in scalars:
            rate = float(scalars['train/lr'].current())
            parts.append(f'lr {rate:.1e}')
        return ' '.join(parts)

    def before_train(self, runner: Runner) -> None:
        """Show the bar of the training.

        Args:
            runner (Runner): The runner.
        """
        self._start(runner, 'train', runner.max_iters, runner.iter)

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: DataBatch = None,
        outputs: Optional[dict] = None,
    ) -> None:
        """Move the bar of the training.

        Args:
            runner (Runner): The runner.
            batch_idx (int): Of the batch in its epoch.
            data_batch (dict or tuple or list, optional): Not used.
            outputs (dict, optional): Not used.
        """
        self._advance(runner, 'train', runner.iter + 1)

    def before_val(self, runner: Runner) -> None:
        """Show the bar of a validation.

        Args:
            runner (Runner): The runner.
        """
        self._start(runner, 'val', len(runner.val_dataloader), 0)

    def after_val_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: DataBatch = None,
        outputs: Optional[Sequence] = None,
    ) -> None:
        """Move the bar of the validation.

        Args:
            runner (Runner): The runner.
            batch_idx (int): Of the batch.
            data_batch (dict or tuple or list, optional): Not used.
            outputs (Sequence, optional): Not used.
        """
        self._advance(runner, 'val', batch_idx + 1)

    def after_val(self, runner: Runner) -> None:
        """Take the bar of the validation away.

        Args:
            runner (Runner): The runner.
        """
        if self._display is not None and 'val' in self._tasks:
            self._display.progress.refresh()
            self._display.progress.remove_task(self._tasks.pop('val'))

    def before_test(self, runner: Runner) -> None:
        """Show the bar of a test.

        Args:
            runner (Runner): The runner.
        """
        self._start(runner, 'test', len(runner.test_dataloader), 0)

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: DataBatch = None,
        outputs: Optional[Sequence] = None,
    ) -> None:
        """Move the bar of the test.

        Args:
            runner (Runner): The runner.
            batch_idx (int): Of the batch.
            data_batch (dict or tuple or list, optional): Not used.
            outputs (Sequence, optional): Not used.
        """
        self._advance(runner, 'test', batch_idx + 1)

    def after_run(self, runner: Runner) -> None:
        """Give the screen back.

        Args:
            runner (Runner): The runner.
        """
        self._stop()
