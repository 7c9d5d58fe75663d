"""A kill at any write, move or removal leaves a training that goes on."""

import errno
import os
import shutil
from pathlib import Path

import pytest
import torch
from mmengine.fileio.backends import LocalBackend
from mmengine.hooks import EMAHook, Hook
from mmengine.hooks import checkpoint_hook as upstream
from tiny_runner import TinyTubeMetric, loader
from tiny_runner import make_runner as make_any_runner

from hero_mm.apis.checkpoint import find_checkpoint, find_resumable
from hero_mm.engine import work_lock
from hero_mm.engine.hooks import checkpoint_hook
from hero_mm.files import WriteError

EPOCHS = 4
# Epochs 2 and 4 are the best so far, 1 and 3 are not.
SCORES = {1: 1.0, 2: 3.0, 3: 2.0, 4: 4.0}
VALIDATED: list[int] = []
pytestmark = pytest.mark.usefixtures('our_loaders')


def make_runner(work, resume=False):
    def score():
        VALIDATED.append(runner.epoch)
        return SCORES[runner.epoch]

    runner = make_any_runner(
        work,
        EPOCHS,
        train_dataloader=loader(4),
        val_dataloader=loader(4),
        val_cfg=dict(),
        val_evaluator=[TinyTubeMetric(score)],
        default_hooks=dict(
            checkpoint=dict(
                type='hero_mm.SafeCheckpointHook',
                interval=1,
                max_keep_ckpts=2,
                save_best='tube/m_vIoU',
                rule='greater',
            )
        ),
        resume=resume,
        load_from=find_resumable(work) if resume else None,
    )
    return runner


@pytest.fixture
def snapshots(tmp_path, monkeypatch):
    """Copies of a work dir, one for a kill at each event so far.

    Nothing runs after a kill, so that what lies there is all that is left:
    of a file that is written, half.
    """
    work, copies = tmp_path / 'work', []

    def keep():
        copies.append(tmp_path / f'killed{len(copies)}')
        shutil.copytree(work, copies[-1])

    put, remove = LocalBackend.put, LocalBackend.remove
    replace = checkpoint_hook.os.replace

    def watched_put(self, data, path):
        Path(path).write_bytes(data[: len(data) // 2])
        keep()
        put(self, data, path)

    def watched_remove(self, path):
        keep()
        remove(self, path)

    def watched_replace(old, new):
        keep()
        replace(old, new)

    def watched_open(path, mode):
        # Nothing of its content is there.
        Path(path).write_text('')
        keep()
        return open(path, mode)

    with monkeypatch.context() as patch:
        patch.setattr(upstream, 'open', watched_open, raising=False)
        patch.setattr(LocalBackend, 'put', watched_put)
        patch.setattr(LocalBackend, 'remove', watched_remove)
        patch.setattr(checkpoint_hook.os, 'replace', watched_replace)
        make_runner(work).train()
    return copies


def state_of(work) -> dict:
    """Weights, names of the best checkpoint and its weights."""
    last = torch.load(
        work / f'epoch_{EPOCHS}.pth', map_location='cpu', weights_only=False
    )
    hub = last['message_hub']['runtime_info']
    return dict(
        weights={k: v.tolist() for k, v in last['state_dict'].items()},
        best=Path(hub['best_ckpt']).name,
        score=hub['best_score'],
        files=sorted(path.name for path in work.glob('*.pth')),
    )


@pytest.mark.slow
def test_a_kill_at_any_event_loses_nothing(tmp_path, snapshots):
    work = tmp_path / 'work'
    whole = state_of(work)
    assert (
        whole['best'] == 'best_tube_m_vIoU_epoch_4.pth' and whole['score'] == 4
    )
    assert whole['files'] == [
        'best_tube_m_vIoU_epoch_4.pth',
        'epoch_3.pth',
        'epoch_4.pth',
    ]
    assert len(snapshots) > 20
    for number, killed in enumerate(snapshots):
        shutil.rmtree(work)
        killed.rename(work)
        # Of the first epoch nothing may be whole: it begins anew.
        make_runner(work, resume=find_resumable(work) is not None).train()
        found = state_of(work)
        assert found['weights'] == whole['weights'], number
        assert found['best'] == whole['best'], number
        assert found['score'] == whole['score'], number
        assert set(whole['files']) <= set(found['files']), number
        assert not list(work.glob('*.pth.part')), number


def test_what_was_not_validated_is_validated_first(tmp_path):
    class Stop(BaseException):
        pass

    runner = make_runner(tmp_path)
    loop = runner.val_loop
    run = loop.run

    def stop():
        if runner.epoch == 2:
            raise Stop
        return run()

    loop.run = stop
    with pytest.raises(Stop):
        runner.train()
    assert not list(tmp_path.glob('best*epoch_2.pth'))
    VALIDATED.clear()
    make_runner(tmp_path, resume=True).train()
    assert VALIDATED == [2, 3, 4]
    VALIDATED.clear()
    # What is done is not done again.
    make_runner(tmp_path, resume=True).train()
    assert VALIDATED == []


def test_the_last_whole_checkpoint_is_taken(tmp_path):
    make_runner(tmp_path / 'a').train()
    work = tmp_path / 'b'
    shutil.copytree(tmp_path / 'a', work)
    # Of a copy, its own.
    assert find_resumable(work) == str(work / 'epoch_4.pth')
    data = (work / 'epoch_4.pth').read_bytes()
    (work / 'epoch_4.pth').write_bytes(data[: len(data) // 2])
    assert find_resumable(work) == str(work / 'epoch_3.pth')
    (work / 'last_checkpoint').write_text('')
    assert find_resumable(work) == str(work / 'epoch_3.pth')
    (work / 'epoch_3.pth').write_bytes(b'')
    with pytest.raises(ValueError, match='no checkpoint in .* can be resumed'):
        find_resumable(work)
    for path in work.glob('*.pth'):
        path.unlink()
    assert find_resumable(work) is None


def test_a_copy_has_the_same_best(tmp_path):
    """Whatever the times of its files are."""
    for number, name in enumerate(
        ('best_a_epoch_12.pth', 'best_a_epoch_9.pth', 'epoch_13.pth')
    ):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (number, number))
    assert find_checkpoint(tmp_path) == str(tmp_path / 'best_a_epoch_12.pth')
    for path in tmp_path.glob('best*'):
        path.unlink()
    (tmp_path / 'epoch_9.pth').touch()
    assert find_checkpoint(tmp_path) == str(tmp_path / 'epoch_13.pth')


def test_a_training_anew_in_the_same_folder_has_its_own_best(tmp_path):
    """Not the one of the training before, though that has more epochs."""
    make_runner(tmp_path).train()
    assert find_checkpoint(tmp_path).endswith('best_tube_m_vIoU_epoch_4.pth')
    runner = make_runner(tmp_path)
    runner.train_loop._max_epochs = 2
    runner.train()
    assert find_checkpoint(tmp_path).endswith('best_tube_m_vIoU_epoch_2.pth')
    for text in ('', 'best_tube_m_vIoU_epoch_9.pth'):
        (tmp_path / 'best_checkpoint').write_text(text)
        found = find_checkpoint(tmp_path)
        assert found.endswith('best_tube_m_vIoU_epoch_4.pth')


def test_a_full_disk_is_named_and_leaves_nothing_half(tmp_path, monkeypatch):
    put = LocalBackend.put

    def full(self, data, path):
        if 'epoch_3' in path:
            Path(path).write_bytes(data[:100])
            raise OSError(errno.ENOSPC, 'No space left on device')
        put(self, data, path)

    monkeypatch.setattr(LocalBackend, 'put', full)
    with pytest.raises(WriteError, match=r'epoch_3.pth cannot be .*free some'):
        make_runner(tmp_path).train()
    assert not list(tmp_path.glob('*.part'))
    assert find_resumable(tmp_path) == str(tmp_path / 'epoch_2.pth')


def spoil(work, epoch, part):
    """A training whose weights are spoilt after an epoch."""
    runner = make_runner(work)
    ema = EMAHook() if part == 'average' else None
    if ema is not None:
        runner.register_hook(ema)

    class Spoil(Hook):
        priority = 'VERY_HIGH'

        def after_train_epoch(self, runner):
            model = runner.model if ema is None else ema.ema_model
            if runner.epoch + 1 == epoch:
                for name, value in model.state_dict().items():
                    if name.endswith('other.bias'):
                        value.fill_(float('inf'))

    runner.register_hook(Spoil())
    return runner


@pytest.mark.parametrize('part', ['model', 'average'])
def test_weights_that_are_not_finite_are_not_saved(tmp_path, part):
    with pytest.raises(
        FloatingPointError, match=r'1 weights .* \(.*other.bias\): they are n'
    ):
        spoil(tmp_path / part, 3, part).train()
    work = tmp_path / part
    assert not (work / 'epoch_3.pth').exists()
    assert find_resumable(work) == str(work / 'epoch_2.pth')
    # What was good is still there.
    assert {p.name for p in work.glob('*.pth')} >= {
        'epoch_1.pth',
        'epoch_2.pth',
    }


def test_a_work_dir_is_held_while_it_is_trained_in(tmp_path):
    held = []

    class Look(Hook):
        def before_train_epoch(self, runner):
            held.append(tmp_path.resolve() in work_lock._held)

    runner = make_runner(tmp_path)
    runner.register_hook(Look())
    runner.train()
    assert held == [True] * EPOCHS
    assert tmp_path.resolve() not in work_lock._held


def test_weights_of_another_process_count(tmp_path, monkeypatch):
    monkeypatch.setattr(
        checkpoint_hook, 'all_reduce', lambda tensor, op: tensor.fill_(2)
    )
    with pytest.raises(FloatingPointError, match='2 weights .*another proces'):
        make_runner(tmp_path).train()
    assert find_resumable(tmp_path) is None
