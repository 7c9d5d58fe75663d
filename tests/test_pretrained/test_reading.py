"""Files are read whole and safely, or refused in words."""

import argparse
import os
import pickle

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.registry import PARAM_SCHEDULERS

from hero_mm.pretrained import reading
from hero_mm.pretrained.reading import read_weights_file, unreadable


def paragraph(error):
    """The message, after a check that it is one paragraph."""
    message = str(error.value)
    assert '\n' not in message and len(message) < 600
    return message


def test_what_mmengine_stores_is_read(tmp_path):
    path = tmp_path / 'a.pth'
    history = HistoryBuffer([1.0, 2.0], [1, 1])
    meta = dict(palette=np.zeros((2, 3)), seed=np.int64(3))
    meta['best'] = np.float64(2)
    torch.save(dict(state_dict={}, history=history, meta=meta), path)
    found = read_weights_file(path)
    assert found['history'].data[0].tolist() == [1.0, 2.0]
    assert (found['meta']['seed'], found['meta']['best']) == (3, 2)


SCHEDULERS = (
    dict(type='OneCycleLR', eta_max=1, total_steps=3),
    dict(
        type='OneCycleLR', eta_max=1, total_steps=3, anneal_strategy='linear'
    ),
    dict(type='CosineAnnealingLR', T_max=3),
    dict(type='CosineRestartLR', periods=[1], eta_min=0),
    dict(type='ConstantLR', end=3),
    dict(type='ExponentialLR', gamma=0.9),
    dict(type='LinearLR', start_factor=0.1, end=3),
    dict(type='MultiStepLR', milestones=[1, 2]),
    dict(type='PolyLR', end=3),
    dict(type='ReduceOnPlateauLR'),
    dict(type='StepLR', step_size=2),
)


@pytest.mark.parametrize('config', SCHEDULERS, ids=lambda c: c['type'])
def test_the_state_of_every_schedule_loads(config, tmp_path):
    optimizer = torch.optim.SGD(torch.nn.Linear(1, 1).parameters(), lr=0.1)
    made = PARAM_SCHEDULERS.build(dict(config, optimizer=optimizer))
    path = tmp_path / 'a.pth'
    torch.save(dict(param_schedulers=[made.state_dict()]), path)
    found = read_weights_file(path)
    made.load_state_dict(found['param_schedulers'][0])


class Runs:
    def __init__(self, function, *given):
        self.wanted = function, given

    def __reduce__(self):
        return self.wanted


@pytest.mark.parametrize('zipped', [True, False])
@pytest.mark.parametrize(
    ('hostile', 'name'),
    [
        (Runs(os.system, 'exit 1'), 'system'),
        (Runs(exec, 'raise SystemExit("ran")'), 'exec'),
        # Of MMEngine's classes alone, what it stores alone.
        (Runs(getattr, str, 'upper'), 'str'),
        (Runs(getattr, torch.Tensor, '__init__'), '__init__'),
        (Runs(getattr, HistoryBuffer, '__init__'), '__init__'),
    ],
)
def test_code_is_called_code(tmp_path, hostile, name, zipped):
    path = tmp_path / 'hostile.pth'
    found = dict(state_dict={}, meta=hostile)
    torch.save(found, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match='hostile.pth is refused') as error:
        read_weights_file(path)
    message = paragraph(error)
    assert name in message and 'may be an attack' in message
    # No advice to switch the protection off, nor to get the file again.
    assert 'weights_only' not in message and 'truncated' not in message


def test_other_files_that_are_code(tmp_path):
    path = tmp_path / 'plain.pth'
    for protocol in (2, 4):
        path.write_bytes(pickle.dumps(Runs(exec, ''), protocol))
        with pytest.raises(ValueError, match='plain.pth is '):
            read_weights_file(path)
    program = tmp_path / 'program.pt'
    torch.jit.script(torch.nn.Linear(1, 1)).save(str(program))
    with pytest.raises(ValueError, match='it holds a program') as error:
        read_weights_file(program)
    assert 'weights_only' not in paragraph(error)


def test_classes_are_allowed_for_one_reading(tmp_path):
    path = tmp_path / 'args.pth'
    torch.save(dict(args=argparse.Namespace(lr=1.0)), path)
    found = read_weights_file(path, allow=(argparse.Namespace,))
    assert found['args'].lr == 1.0
    with pytest.raises(ValueError, match='holds argparse.Namespace besides'):
        read_weights_file(path)


@pytest.fixture(params=['2.5.1', '2.9.1'])
def old_torch(request, monkeypatch):
    monkeypatch.setattr(torch, '__version__', request.param)
    monkeypatch.delenv(reading.TRUST, raising=False)


def test_an_old_torch_reads_what_is_trusted(tmp_path, old_torch, monkeypatch):
    path = tmp_path / 'a.pth'
    torch.save({'a': torch.ones(1)}, path)
    with pytest.raises(ValueError, match='CVE-2026-24747.*--trust-ch') as told:
        read_weights_file(path)
    assert f'torch {torch.__version__} cannot' in paragraph(told)
    parser = argparse.ArgumentParser()
    reading.add_trust_argument(parser)
    monkeypatch.setenv(reading.TRUST, '0')
    parser.parse_args([])
    with pytest.raises(ValueError, match='trust'):
        read_weights_file(path)
    parser.parse_args(['--trust-checkpoint'])
    assert read_weights_file(path)['a'] == 1


def test_an_old_torch_reads_what_the_work_dir_wrote(tmp_path, old_torch):
    mine, other = tmp_path / 'epoch_1.pth', tmp_path / 'other.pth'
    for path in (mine, other):
        torch.save({'a': torch.ones(1)}, path)
    reading.note_written(mine)
    assert read_weights_file(mine)['a'] == 1
    with pytest.raises(ValueError, match='did not write it'):
        read_weights_file(other)
    # A later one is noted beside it; one that was changed is not its own.
    reading.note_written(other)
    assert read_weights_file(other) and read_weights_file(mine)
    torch.save({'a': torch.zeros(1)}, mine)
    with pytest.raises(ValueError, match='did not write it'):
        read_weights_file(mine)


def test_an_old_torch_reads_safetensors(tmp_path, old_torch):
    safetensors = pytest.importorskip('safetensors.torch')
    path = tmp_path / 'a.safetensors'
    safetensors.save_file({'a': torch.ones(1)}, path)
    assert read_weights_file(path)['a'] == 1


def test_a_sound_torch_writes_no_sums(tmp_path):
    torch.save({}, tmp_path / 'a.pth')
    reading.note_written(tmp_path / 'a.pth')
    assert not (tmp_path / reading.SUMS).exists()


@pytest.mark.parametrize('zipped', [True, False])
@pytest.mark.parametrize('share', [0.01, 0.1, 0.3, 0.5, 0.9, 0.99])
def test_truncated_files(tmp_path, zipped, share):
    path = tmp_path / 'cut.pth'
    weights = {f'layer{i}.weight': torch.randn(9, 9) for i in range(9)}
    torch.save(weights, path, _use_new_zipfile_serialization=zipped)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ValueError, match='cut.pth is not a rea') as error:
        read_weights_file(path)
    assert 'it is truncated or of another kind' in paragraph(error)


@pytest.mark.parametrize(
    ('content', 'told'),
    [
        (b'', 'It is empty.'),
        (
            b'<!DOCTYPE html>\n<html>',
            r"It begins with '<!DOCTYPE html>\n<html>'",
        ),
        (
            b'version https://git-lfs.github.com/spec/v1\n',
            "'version https://git-lfs",
        ),
        (b'\x80', 'another kind. Copy it again'),
        (b'hello world.', "It begins with 'hello world.'"),
        (b'PK\x03\x04abc', 'not a readable checkpoint ('),
    ],
)
def test_files_of_another_kind(tmp_path, content, told):
    path = tmp_path / 'page.pth'
    path.write_bytes(content)
    with pytest.raises(ValueError, match='page.pth is not a read') as error:
        read_weights_file(path)
    message = paragraph(error)
    assert told in message
    # The reason is told, not torch's advice about it.
    assert '()' not in message and 'weights_only' not in message


@pytest.mark.parametrize('cut', [0, 4, 40, None])
def test_safetensors(tmp_path, cut):
    safetensors = pytest.importorskip('safetensors.torch')
    path = tmp_path / 'model.safetensors'
    weights = {'a.weight': torch.randn(3, 2)}
    safetensors.save_file(weights, path)
    if cut is None:
        for where in (None, 'cpu', torch.device('cpu'), lambda s, _: s):
            found = read_weights_file(path, where)
            assert torch.equal(found['a.weight'], weights['a.weight'])
        return
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ValueError, match='model.safetensors is not a re'):
        read_weights_file(path)


def test_missing_files_and_folders(tmp_path):
    told = {
        tmp_path / 'nowhere.pth': 'does not exist',
        tmp_path: 'is a folder',
    }
    for path, found in told.items():
        with pytest.raises(FileNotFoundError, match='hf://OWNER') as error:
            read_weights_file(path)
        assert f'{path} {found}' in str(error.value)


def test_a_file_that_may_not_be_read_is_not_called_broken(
    tmp_path, monkeypatch
):
    path = tmp_path / 'locked.pth'
    torch.save({}, path)

    def locked(*args):
        raise PermissionError('no')

    monkeypatch.setattr(reading, 'open', locked, raising=False)
    with pytest.raises(PermissionError):
        read_weights_file(path)


@pytest.mark.parametrize('error', [MemoryError(), ModuleNotFoundError()])
def test_a_machine_that_cannot_is_not_called_broken(
    tmp_path, monkeypatch, error
):
    path = tmp_path / 'big.pth'
    torch.save({}, path)

    def load(*args, **kwargs):
        raise error

    monkeypatch.setattr(torch, 'load', load)
    with pytest.raises(type(error)):
        read_weights_file(path)


def test_words_for_what_torch_said():
    old = RuntimeError('Unsupported class a.b.Thing')
    assert 'it holds a.b.Thing' in unreadable('x.pth', old)
    assert '(EOFError)' in unreadable('x.pth', EOFError())
