"""Count what a training costs, and stop it before time is up."""

import json
import multiprocessing
import os
import time
from pathlib import Path
from typing import Any, Optional

import torch
from mmengine.dist import (
    all_reduce,
    broadcast_object_list,
    is_main_process,
)
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import BaseLoop, Runner

from hero_mm.files import write_text
from hero_mm.registry import HOOKS

COST_FILE = 'training_cost.json'
STOP_AT = 'HERO_MM_STOP_AT'
_KEY = 'training_cost'


def cpu_seconds() -> float:
    """CPU-seconds of this process and of its children until now.

    Data workers live as long as the training, and the system counts children
    only when they have ended. Those that live are read from ``/proc``; where
    there is none (not Linux) they are missing.
    """
    # Ended children are waited for here, and so move to the second part.
    children = multiprocessing.active_children()
    living = sum(_seconds_of(child.pid) for child in children)
    times = os.times()
    ended = times.children_user + times.children_system
    return time.process_time() + ended + living


def _seconds_of(pid: Optional[int]) -> float:
    try:
        text = Path(f'/proc/{pid}/stat').read_text()
    except OSError:
        return 0.0
    # The name in brackets may hold spaces.
    fields = text.rpartition(')')[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


@HOOKS.register_module()
class TrainingCostHook(Hook):
    """Write what a training cost, and its scores along the way.

    Counted is the loop of the training with its data workers; imports,
    validation and the writing of checkpoints are not. A resumed training goes
    on from the cost at its checkpoint, so that work that a kill has undone is
    not counted. ``training_cost.json`` in the work dir holds ``iterations``,
    ``max_iters``, ``clips``, ``cpu_seconds``, ``wall_seconds``, ``device``
    and ``points``: the cost and the ``scores`` at each validation.

    Args:
        warmup (int): Iterations at the start that are not counted, for a
            short run that measures the cost of a clip. Defaults to 0.
    """

    # Before the checkpoint is written, which keeps the cost.
    priority = 'BELOW_NORMAL'

    def __init__(self, warmup: int = 0) -> None:
        self.warmup = warmup
        self._cost = dict(
            iterations=0, clips=0, cpu_seconds=0.0, wall_seconds=0.0
        )
        self._points: list[dict[str, Any]] = []
        self._start = (0.0, 0.0)
        self._clips = 0

    def before_train(self, runner: Runner) -> None:
        """Take up what was spent before the training was interrupted."""
        hub = runner.message_hub
        if _KEY in hub.runtime_info:
            self._cost = dict(hub.get_info(_KEY))
        path = Path(runner.work_dir) / COST_FILE
        if runner.iter and path.is_file():
            points = json.loads(path.read_text(encoding='utf-8'))['points']
            self._points = [p for p in points if p['step'] <= runner.iter]

    def before_train_epoch(self, runner: Runner) -> None:
        """Start the clocks."""
        self._start = _clocks()

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Optional[dict] = None,
    ) -> None:
        """Count the clips of a batch."""
        if runner.iter + 1 == self.warmup:
            self._start = _clocks()
        elif runner.iter + 1 > self.warmup:
            self._clips += len(data_batch['inputs'])
            self._cost['iterations'] += 1

    def after_train_epoch(self, runner: Runner) -> None:
        """Stop the clocks and add up."""
        if runner.iter <= self.warmup:
            return
        cpu, wall = (end - start for start, end in zip(self._start, _clocks()))
        spent = torch.tensor([self._clips, cpu], dtype=torch.float64)
        all_reduce(spent)
        self._cost['clips'] += int(spent[0])
        self._cost['cpu_seconds'] += float(spent[1])
        self._cost['wall_seconds'] += wall
        self._clips = 0
        runner.message_hub.update_info(_KEY, dict(self._cost))

    def after_val_epoch(
        self, runner: Runner, metrics: Optional[dict[str, float]] = None
    ) -> None:
        """Keep the scores beside the cost until now."""
        # Without a training there is nothing to put the scores beside.
        if not isinstance(runner._train_loop, BaseLoop):
            return
        scores = {k: float(v) for k, v in (metrics or {}).items()}
        point = dict(self._cost, step=runner.iter, scores=scores)
        self._points.append(point)
        self._write(runner)

    def after_train(self, runner: Runner) -> None:
        """Write the file once more; there may be no validation."""
        self._write(runner)

    def _write(self, runner: Runner) -> None:
        if not is_main_process():
            return
        cuda = torch.cuda.is_available()
        content = dict(
            self._cost,
            step=runner.iter,
            max_iters=runner.max_iters,
            device=torch.cuda.get_device_name() if cuda else 'cpu',
            points=self._points,
        )
        path = Path(runner.work_dir) / COST_FILE
        write_text(path, json.dumps(content, indent=1))


def _clocks() -> tuple[float, float]:
    """CPU-seconds, and seconds of the clock."""
    if torch.cuda.is_available():
        # A GPU may be at work when the host is done.
        torch.cuda.synchronize()
    return cpu_seconds(), time.perf_counter()


@HOOKS.register_module()
class DeadlineHook(Hook):
    """End a training after the last epoch that can be done in time.

    A training that is killed loses the epoch that it is in. Here it ends
    where its checkpoint is, when one more epoch and its validation would take
    too long; ``tools/train.py --resume`` goes on. The limit is in the
    environment variable ``HERO_MM_STOP_AT``, in seconds since 1970.
    """

    def __init__(self) -> None:
        self.stop_at = float(os.environ.get(STOP_AT) or 'inf')
        self._start = self._between = 0.0
        self._end = float('inf')

    def before_train_epoch(self, runner: Runner) -> None:
        """Note the start, and the longest time between two epochs."""
        self._start = time.time()
        # Not every epoch has a validation.
        self._between = max(self._between, self._start - self._end)

    def after_train_epoch(self, runner: Runner) -> None:
        """End the training where the next epoch would take too long."""
        if runner.epoch + 1 >= runner.max_epochs:
            return
        self._end = now = time.time()
        # The validation of this epoch is still to come.
        end = now + (now - self._start) + 2 * self._between
        late: list[Any] = [end > self.stop_at]
        # Clocks of processes differ by a little.
        broadcast_object_list(late)
        if late[0]:
            runner.train_loop.stop_training = True
            print_log(
                'The training stops here: one more epoch would end after the '
                'limit; --resume goes on',
                logger='current',
            )
