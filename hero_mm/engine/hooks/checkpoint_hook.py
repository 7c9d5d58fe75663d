"""Checkpoints that a kill at any instant leaves whole."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import all_reduce, barrier, is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from hero_mm.errors import NotFiniteError
from hero_mm.files import in_words, write_text
from hero_mm.pretrained.checkpoints import BEST_FILE
from hero_mm.pretrained.filling import not_finite
from hero_mm.pretrained.reading import note_written
from hero_mm.registry import HOOKS

from ..work_lock import hold_work_dir, release_work_dir


class _Deferred:
    """A storage backend that removes files later."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self.removed: list[tuple[str, str]] = []

    def __getattr__(self, name: str) -> Any:
        if name in ('remove', 'rmtree'):
            return lambda path: self.removed.append((name, path))
        return getattr(self._backend, name)


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """MMEngine's hook, for trainings that may be killed.

    A checkpoint is written beside its place and moved there; an old one goes
    when the new one stands. A training that is resumed validates what was
    saved and not validated before. Weights that are not finite are not saved.
    A work dir is locked against other trainings. Arguments are those of
    :class:`mmengine.hooks.CheckpointHook`.
    """

    file_backend: Any

    def before_train(self, runner: Runner) -> None:
        """Clear up after a kill: half files, a validation not finished."""
        path = runner.cfg.filename
        hold_work_dir(runner.work_dir, Path(path).name if path else None)
        super().before_train(runner)
        if is_main_process():
            for half in Path(str(self.out_dir)).glob('*.pth.part'):
                shutil.rmtree(half) if half.is_dir() else half.unlink()
        loop: Any = runner.train_loop
        done = runner.epoch if self.by_epoch else runner.iter
        interval = getattr(loop, 'val_interval', 0)
        if (
            not runner._resume
            or not self.save_best
            or runner.val_loop is None
            or not done
            or not interval
            or done < getattr(loop, 'val_begin', 0)
            or done % interval
            or runner.message_hub.runtime_info.get('validated') == done
        ):
            return
        runner.logger.info(
            f'the checkpoint was saved after {done} '
            f'{"epochs" if self.by_epoch else "iterations"} and not '
            'validated: this is done first'
        )
        # It is written again where it turns out to be the best.
        self.last_ckpt = os.path.join(
            self.out_dir, self.filename_tmpl.format(done)
        )
        runner.val_loop.run()

    def after_train(self, runner: Runner) -> None:
        """Let other trainings into the folder."""
        super().after_train(runner)
        release_work_dir(runner.work_dir)

    def after_val_epoch(self, runner: Runner, metrics: Any) -> None:
        """Note what was validated, and keep the best."""
        done = runner.epoch if self.by_epoch else runner.iter
        runner.message_hub.update_info('validated', done)
        super().after_val_epoch(runner, metrics)

    def _save_checkpoint_with_step(
        self, runner: Runner, step: int, meta: Any
    ) -> None:
        with self._safely(runner):
            super()._save_checkpoint_with_step(runner, step, meta)

    def _save_best_checkpoint(self, runner: Runner, metrics: Any) -> None:
        with self._safely(runner):
            super()._save_best_checkpoint(runner, metrics)

    @contextmanager
    def _safely(self, runner: Any) -> Iterator[None]:
        """Write beside and move; remove at the end."""
        if isinstance(self.file_backend, _Deferred):
            # Within the other of the two.
            yield
            return
        _check_weights(runner)
        backend, save = self.file_backend, runner.save_checkpoint
        deferred = _Deferred(backend)

        def save_beside(
            out_dir: str, filename: str, *args: Any, **options: Any
        ) -> None:
            place = os.path.join(out_dir, filename)
            if '://' in str(out_dir):
                save(out_dir, filename, *args, **options)
                return
            part = Path(f'{place}.part')
            try:
                with in_words(place, part):
                    save(out_dir, part.name, *args, **options)
            except OSError:
                with suppress(OSError):
                    part.unlink()
                raise
            # DeepSpeed writes a folder, and each process a part of it.
            barrier()
            if not is_main_process():
                return
            if os.path.isdir(place):
                shutil.rmtree(place)
            os.replace(part, place)
            if os.path.isfile(place):
                note_written(place)
            if filename.startswith('best_'):
                write_text(os.path.join(out_dir, BEST_FILE), filename)

        self.file_backend = deferred
        runner.save_checkpoint = save_beside
        try:
            yield
        finally:
            del runner.save_checkpoint
            self.file_backend = backend
        for name, path in deferred.removed:
            getattr(backend, name)(path)


def _check_weights(runner: Any) -> None:
    """Refuse weights that are not finite, in all processes, by name."""
    averages = [getattr(hook, 'ema_model', None) for hook in runner.hooks]
    bad = [
        name
        for model in (runner.model, *averages)
        if model is not None
        for name in not_finite(model.state_dict())
    ]
    device = next(runner.model.parameters()).device
    count = torch.tensor(len(bad), device=device)
    all_reduce(count, 'max')
    if int(count):
        names = ', '.join(bad[:3]) or 'in another process'
        raise NotFiniteError(
            f'{int(count)} weights are not finite ({names}): they are not '
            'saved. Go on from the last checkpoint (--resume) with a lower '
            'learning rate'
        )
