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
from hero_mm.pretrained.reading import read_weights_file


def paragraph(error):
    """The message, after a check that it is one paragraph."""
    message = str(error.value)
    assert '\n' not in message and len(message) < 600
    # No advice of torch to switch the protection off.
    assert 'weights_only' not in message
    return message


ONE_CYCLE = dict(eta_max=1, total_steps=3)


@pytest.mark.parametrize(
    ('kind', 'options'),
    [
        ('OneCycleLR', ONE_CYCLE),
        ('OneCycleLR', dict(ONE_CYCLE, anneal_strategy='linear')),
        ('MultiStepLR', dict(milestones=[1, 2])),
        ('ReduceOnPlateauLR', {}),
    ],
)
def test_what_mmengine_stores_is_read(kind, options, tmp_path):
    optimizer = torch.optim.SGD(torch.nn.Linear(1, 1).parameters(), lr=0.1)
    config = dict(type=kind, optimizer=optimizer, **options)
    made = PARAM_SCHEDULERS.build(config)
    path = tmp_path / 'a.pth'
    stored = dict(
        param_schedulers=[made.state_dict()],
        history=HistoryBuffer([1.0, 2.0], [1, 1]),
        meta=dict(palette=np.zeros((2, 3)), seed=np.int64(3)),
    )
    torch.save(stored, path)
    found = read_weights_file(path)
    made.load_state_dict(found['param_schedulers'][0])
    assert found['history'].data[0].tolist() == [1.0, 2.0]
    assert found['meta']['seed'] == 3


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
    assert 'truncated' not in message


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
    paragraph(error)


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
    with pytest.raises(ValueError, match='CVE-2026-24747.*--trust-ch') as said:
        read_weights_file(path)
    assert f'torch {torch.__version__} cannot' in str(said.value)
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


def test_a_sound_torch_writes_no_sums(tmp_path):
    torch.save({}, tmp_path / 'a.pth')
    reading.note_written(tmp_path / 'a.pth')
    assert not (tmp_path / reading.SUMS).exists()


@pytest.mark.parametrize('zipped', [True, False])
@pytest.mark.parametrize('share', [0.01, 0.3, 0.99])
def test_truncated_files(tmp_path, zipped, share):
    path = tmp_path / 'cut.pth'
    weights = {f'layer{i}.weight': torch.randn(9, 9) for i in range(9)}
    torch.save(weights, path, _use_new_zipfile_serialization=zipped)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ValueError, match='cut.pth is not a rea') as error:
        read_weights_file(path)
    assert 'it is truncated' in paragraph(error)


@pytest.mark.parametrize(
    'content', [b'', b'<!DOCTYPE html>', b'\x80', b'PK\x03\x04abc']
)
def test_files_of_another_kind(tmp_path, content):
    path = tmp_path / 'page.pth'
    path.write_bytes(content)
    with pytest.raises(ValueError, match='page.pth is not a read') as error:
        read_weights_file(path)
    assert '()' not in paragraph(error)


def test_safetensors(tmp_path, old_torch):
    """Read by an old torch, too."""
    safetensors = pytest.importorskip('safetensors.torch')
    path = tmp_path / 'model.safetensors'
    weights = {'a.weight': torch.randn(3, 2)}
    safetensors.save_file(weights, path)
    for where in (None, 'cpu', torch.device('cpu'), lambda s, _: s):
        found = read_weights_file(path, where)
        assert torch.equal(found['a.weight'], weights['a.weight'])
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(ValueError, match='model.safetensors is not a re'):
        read_weights_file(path)


def test_missing_files_and_folders(tmp_path):
    missing = tmp_path / 'nowhere.pth'
    for path, found in ((missing, 'does not exist'), (tmp_path, 'is a fol')):
        with pytest.raises(FileNotFoundError, match=f'{found}.*hf://OWNER'):
            read_weights_file(path)


@pytest.mark.parametrize(
    ('where', 'name', 'error'),
    [
        (reading, 'open', PermissionError()),
        (torch, 'load', MemoryError()),
        (torch, 'load', ModuleNotFoundError()),
    ],
)
def test_a_machine_that_cannot_is_not_called_broken(
    tmp_path, monkeypatch, where, name, error
):
    path = tmp_path / 'big.pth'
    torch.save({}, path)

    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(where, name, fail, raising=False)
    with pytest.raises(type(error)):
        read_weights_file(path)
