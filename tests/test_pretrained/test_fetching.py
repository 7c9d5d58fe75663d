"""Weights by name, of a hub and a server on this machine."""

import http.server
import threading
from functools import partial

import pytest
import torch
from mmengine.model import BaseModule
from mmengine.runner import Runner, checkpoint
from mmengine.runner.checkpoint import CheckpointLoader
from torch import nn

from hero_mm.apis.checkpoint import load_weights
from hero_mm.pretrained import fetching
from hero_mm.pretrained.fetching import (
    fetch,
    fetch_url,
    read_weights,
    torchvision_url,
)

NUMBERS = torch.arange(6.0).view(2, 3)
REVISION = 'a' * 40
# No one listens there.
DEAF = 'http://127.0.0.1:9/folder/weights.pth'


@pytest.fixture
def folder(tmp_path):
    """A folder with a checkpoint in both formats."""
    folder = tmp_path / 'files'
    folder.mkdir()
    torch.save(dict(state_dict={'layer.weight': NUMBERS}), folder / 'a.pth')
    safetensors = pytest.importorskip('safetensors.torch')
    safetensors.save_file({'layer.weight': NUMBERS}, folder / 'a.safetensors')
    return folder


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files without a word."""

    def log_message(self, *args):
        self.server.asked.append(self.path)


@pytest.fixture
def server(folder, tmp_path, monkeypatch):
    """A server of the folder, and a cache of torch's of one's own."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    monkeypatch.setenv('no_proxy', '*')
    handler = partial(Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
    server.asked = []
    server.url = f'http://127.0.0.1:{server.server_port}'
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def hub(folder, tmp_path, monkeypatch):
    """A cache of Hugging Face with one model, on a machine offline."""
    constants = pytest.importorskip('huggingface_hub').constants
    cache = tmp_path / 'hub'
    model = cache / 'models--owner--name'
    snapshot = model / 'snapshots' / REVISION
    (snapshot / 'sub').mkdir(parents=True)
    for name in ('main', 'v2'):
        (model / 'refs').mkdir(exist_ok=True)
        (model / 'refs' / name).write_text(REVISION)
    for name in ('a.pth', 'a.safetensors'):
        (snapshot / 'sub' / name).write_bytes((folder / name).read_bytes())
    monkeypatch.setattr(constants, 'HF_HUB_CACHE', str(cache))
    monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', True)
    return cache


@pytest.fixture
def names(folder, server, hub, monkeypatch):
    """The same checkpoint by every kind of name."""
    monkeypatch.setattr(
        checkpoint,
        'get_torchvision_models',
        lambda: dict(resnet101=f'{server.url}/a.pth'),
    )
    return [
        str(folder / 'a.pth'),
        str(folder / 'a.safetensors'),
        (folder / 'a.pth').as_uri(),
        f'{server.url}/a.pth',
        'torchvision://resnet101',
        'hf://owner/name/sub/a.pth',
        'huggingface://owner/name@v2/sub/a.safetensors',
    ]


class Part(BaseModule):
    def __init__(self, init_cfg=None):
        super().__init__(init_cfg)
        self.layer = nn.Linear(3, 2, bias=False)


def test_every_kind_of_name_is_taken(names, tmp_path, host_loaders):
    """By init_cfg, by our own reader and by load_from."""
    fetching.replace_loaders()
    folder = str(tmp_path / 'work')
    for name in names:
        module, other = Part(dict(type='Pretrained', checkpoint=name)), Part()
        module.init_weights()
        load_weights(other, name)
        runner = Runner(Part(), folder, log_level='ERROR', load_from=name)
        runner.load_or_resume()
        for part in (module, other, runner.model):
            assert torch.equal(part.layer.weight, NUMBERS), name


def test_what_was_fetched_is_kept(server):
    url = f'{server.url}/a.pth?download=1'
    path = fetch_url(url)
    assert path.endswith('torch/hub/checkpoints/a.pth')
    assert len(server.asked) == 1
    assert fetch_url(url) == path
    assert len(server.asked) == 1


def test_one_process_fetches_for_all(server, folder, tmp_path, monkeypatch):
    """Another waits and finds the file."""
    kept = tmp_path / 'torch/hub/checkpoints/a.pth'

    def barrier():
        assert not kept.exists()
        kept.parent.mkdir(parents=True)
        kept.write_bytes((folder / 'a.pth').read_bytes())

    monkeypatch.setattr('mmengine.dist.get_rank', lambda: 1)
    monkeypatch.setattr('mmengine.dist.barrier', barrier)
    assert fetch_url(f'{server.url}/a.pth') == str(kept)
    assert not server.asked


@pytest.mark.parametrize('where', [DEAF, '/no/weights.pth'])
def test_a_url_that_cannot_be_had(where, server, tmp_path, monkeypatch):
    """The file put there by hand is taken; others do not wait for it."""
    waited = []
    monkeypatch.setattr('mmengine.dist.barrier', lambda: waited.append(1))
    name = where if where == DEAF else server.url + where
    with pytest.raises(OSError, match='could not be fetched: ') as error:
        read_weights(name)
    message = str(error.value)
    assert message.startswith(name) and '\n' not in message and waited
    kept = tmp_path / 'torch/hub/checkpoints/weights.pth'
    assert f'put it at {kept}, or give the path' in message
    torch.save({'layer.weight': NUMBERS}, kept)
    found = read_weights(name)
    assert torch.equal(found['layer.weight'], NUMBERS)


def test_a_broken_download_says_what_to_delete(server, folder, tmp_path):
    (folder / 'page.pth').write_bytes(b'<html>Log in to download')
    with pytest.raises(ValueError, match='is not a readable') as error:
        read_weights(f'{server.url}/page.pth')
    message = str(error.value)
    assert message.startswith(str(tmp_path / 'torch/hub/checkpoints/page.pth'))
    assert f'fetched from {server.url}/page.pth: delete the file' in message


@pytest.mark.parametrize(
    'name', ['https://o/', 'hf://o/n', 'hf://f.bin', 'hf://o//f', 'hf://o/n/']
)
def test_what_names_no_file(name):
    with pytest.raises(ValueError, match='names no file.*; give '):
        fetch(name)


@pytest.mark.parametrize(
    ('name', 'cure'),
    [
        ('hf://owner/name/b.pth', 'hf download owner/name b.pth --local-dir'),
        (
            'hf://other/name@v3/a/b.pth',
            'hf download other/name a/b.pth --revision v3 --local-dir FOLDER;'
            ' then give FOLDER/a/b.pth in the place of',
        ),
    ],
)
def test_hugging_face_offline(name, cure, hub):
    with pytest.raises(OSError, match='could not be fetched') as error:
        read_weights(name)
    message = str(error.value)
    assert cure in message and '\n' not in message
    assert str(hub) in message and 'HF_HUB_OFFLINE=1 is set' in message
    assert '..' not in message


def test_names_of_torchvision(monkeypatch):
    """Without it, or with one that was built for another torch, MMEngine's."""

    def absent():
        raise ImportError('No module named torchvision')

    monkeypatch.setattr(checkpoint, 'get_torchvision_models', absent)
    found = torchvision_url('torchvision://resnet101')
    assert found.startswith('https://download.pytorch.org/models/resnet101-')
    with pytest.raises(ValueError, match="MMEngine's table.*no 'resnet11'"):
        torchvision_url('torchvision://resnet11')
    table = {'resnet50.imagenet1k_v2': 'https://x.org/b.pth'}
    monkeypatch.setattr(checkpoint, 'get_torchvision_models', lambda: table)
    name = 'torchvision://ResNet50_Weights.IMAGENET1K_V2'
    assert torchvision_url(name) == 'https://x.org/b.pth'


def is_ours(name) -> bool:
    loader = CheckpointLoader._get_checkpoint_loader(name)
    return loader is fetching.load_from_hero_mm


def test_who_asks_for_our_loaders_gets_them(host_loaders):
    fetching.replace_loaders()
    for name in (*fetching.FETCHED, '/a/b.pth', 'b.safetensors'):
        assert is_ours(name + 'x'), name
    for name in ('open-mmlab://x', 'mmcls://x', 's3://x', 'pavi://x'):
        assert not is_ours(name), name
