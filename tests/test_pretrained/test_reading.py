"""Files are read whole and safely, or refused in words."""

import argparse

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from hero_mm.pretrained import reading
from hero_mm.pretrained.reading import read_weights_file, unreadable


class Hostile:
    def __reduce__(self):
        return (exec, ('raise SystemExit("ran")',))


def paragraph(error):
    """The message, after a check that it is one paragraph."""
    message = str(error.value)
    assert '\n' not in message and len(message) < 600
    return message


def test_what_mmengine_stores_is_read(tmp_path):
    path = tmp_path / 'a.pth'
    history = HistoryBuffer([1.0, 2.0], [1, 1])
    meta = dict(palette=np.zeros((2, 3)), seed=np.int64(3))
    torch.save(dict(state_dict={}, history=history, meta=meta), path)
    found = read_weights_file(path)
    assert found['history'].data[0].tolist() == [1.0, 2.0]
    assert found['meta']['seed'] == 3


def test_code_is_refused(tmp_path):
    path = tmp_path / 'hostile.pth'
    torch.save(dict(state_dict={}, meta=Hostile()), path)
    with pytest.raises(ValueError, match='hostile.pth is not a r') as error:
        read_weights_file(path)
    message = paragraph(error)
    assert 'it wants exec, which is no weight' in message
    assert 'weights_only=False' in message


def test_classes_are_allowed_for_one_reading(tmp_path):
    path = tmp_path / 'args.pth'
    torch.save(dict(args=argparse.Namespace(lr=1.0)), path)
    found = read_weights_file(path, allow=(argparse.Namespace,))
    assert found['args'].lr == 1.0
    with pytest.raises(ValueError, match='it wants argparse.Namespace'):
        read_weights_file(path)


def test_an_old_torch_is_named(tmp_path, monkeypatch):
    path = tmp_path / 'args.pth'
    torch.save(dict(args=argparse.Namespace()), path)
    monkeypatch.setattr(reading, 'has_allow_list', lambda: False)
    with pytest.raises(ValueError, match='need torch >= 2.6'):
        read_weights_file(path, allow=(argparse.Namespace,))


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
    assert 'it wants a.b.Thing' in unreadable('x.pth', old)
    assert '(EOFError)' in unreadable('x.pth', EOFError())
