"""A published checkpoint: small, named by its hash, and whole."""

import hashlib
import pickle
import re

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import EMAHook
from mmengine.model import BaseDataPreprocessor, BaseModel
from mmengine.runner import Runner, load_checkpoint
from torch.utils.data import Dataset

from hero_mm.apis import TubeInferencer
from hero_mm.registry import MODELS

NAME = re.compile(r'out_\d{8}-([0-9a-f]{8})\.pth')


class Numbers(Dataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        return torch.ones(1000)


@MODELS.register_module(name='PublishedToy', force=True)
class Toy(BaseModel):
    """A weight of 1000 numbers, which each step makes smaller."""

    def __init__(self):
        super().__init__(BaseDataPreprocessor())
        self.weight = torch.nn.Parameter(torch.ones(1000))

    def forward(self, inputs, data_samples=None, mode='loss'):
        return dict(loss=(self.weight * inputs).sum())

    def train_step(self, data, optim_wrapper):
        loss = self(data[0])['loss']
        optim_wrapper.update_params(loss)
        return dict(loss=loss)


@pytest.fixture(scope='module')
def tool(load_tool):
    return load_tool('model_converters/publish_model')


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """Work dir of a training with Adam and a moving average."""
    folder = tmp_path_factory.mktemp('work')
    runner = Runner(
        model=Toy(),
        work_dir=str(folder),
        train_dataloader=dict(
            batch_size=1,
            num_workers=0,
            dataset=Numbers(),
            sampler=dict(type='DefaultSampler', shuffle=False),
        ),
        train_cfg=dict(by_epoch=True, max_epochs=1),
        optim_wrapper=dict(optimizer=dict(type='Adam', lr=0.5)),
        custom_hooks=[EMAHook(momentum=0.25)],
        default_hooks=dict(logger=None),
        visualizer=dict(type='Visualizer', vis_backends=[]),
        experiment_name='publish',
        log_level='ERROR',
    )
    runner.train()
    return folder


def publish(tool, source, folder, name='out.pth'):
    """Publish into an empty folder; gives the file."""
    tool.main([str(source), str(folder / 'new' / name)])
    (path,) = (folder / 'new').iterdir()
    return path


@pytest.fixture
def published(tool, trained, tmp_path):
    return publish(tool, trained / 'epoch_1.pth', tmp_path)


def test_the_moving_average_stays_alone(trained, published):
    """Adam makes 1 to 0.5 and then 0; the average is 3/4 * 0.5 + 1/4 * 0."""
    whole = torch.load(trained / 'epoch_1.pth', weights_only=False)
    assert {'optimizer', 'ema_state_dict', 'message_hub'} < whole.keys()
    found = torch.load(published, weights_only=True)
    assert found.keys() == {'meta', 'state_dict'}
    assert found['meta']['epoch'] == 1 and 'cfg' in found['meta']
    (weight,) = found['state_dict'].values()
    assert weight.numpy() == pytest.approx(0.375, abs=1e-5)
    trained_to = whole['ema_state_dict']['module.weight']
    assert trained_to.numpy() == pytest.approx(0, abs=1e-5)
    # Two moments of Adam and the weights as trained are gone.
    size = (trained / 'epoch_1.pth').stat().st_size
    assert published.stat().st_size < size - 3 * 4 * 1000


def test_the_name_ends_in_the_hash_of_the_file(published):
    digest = hashlib.sha256(published.read_bytes()).hexdigest()
    assert NAME.fullmatch(published.name)[1] == digest[:8]


@pytest.mark.parametrize('name', ['out.pth', 'out', 'out_v0.1'])
def test_only_pth_is_an_ending(tool, trained, tmp_path, name):
    path = publish(tool, trained / 'epoch_1.pth', tmp_path, name)
    assert path.name.startswith(name.removesuffix('.pth') + '_2')
    assert path.suffix == '.pth'


def test_it_says_what_it_did(tool, trained, tmp_path, capsys):
    path = publish(tool, trained, tmp_path)
    told = capsys.readouterr().out
    assert f'read:    {trained}/epoch_1.pth' in told
    assert 'weights: moving average' in told
    assert 'left out: ema_state_dict, message_hub, optimizer' in told
    assert f'written: {path}' in told


def test_it_is_read_by_mmengine_and_by_the_inferencer(trained, published):
    model = Toy()
    load_checkpoint(model, str(published), strict=True)
    average = torch.load(trained / 'epoch_1.pth', weights_only=False)
    expected = average['state_dict']['weight']
    assert torch.equal(model.weight, expected)
    pipeline = [
        dict(type='SampleClipFrames', num_frames=2),
        dict(type='DecodeFrames'),
        dict(type='PackGroundingInputs'),
    ]
    dataset = dict(type='GroundingDataset', pipeline=pipeline)
    cfg = Config(
        dict(
            default_scope='hero_mm',
            model=dict(type='PublishedToy'),
            test_dataloader=dict(dataset=dataset),
        )
    )
    inferencer = TubeInferencer(cfg, published, device='cpu')
    assert torch.equal(inferencer.model.weight, expected)


def test_views_are_cut_out_and_prefixes_left(tool, tmp_path, capsys):
    """Weights alone, wrapped, one a row of something large."""
    large = torch.arange(100_000.0).view(10, -1)
    source = tmp_path / 'plain.pth'
    torch.save({'module.row': large[3]}, source)
    assert source.stat().st_size > 400_000
    path = publish(tool, source, tmp_path)
    assert path.stat().st_size < 50_000
    found = torch.load(path)
    assert found.keys() == {'state_dict'}
    assert torch.equal(found['state_dict']['row'], large[3])
    told = capsys.readouterr().out
    assert 'weights: as trained' in told and 'left out: nothing' in told


class Hostile:
    def __reduce__(self):
        return eval, ("open('pwned', 'w')",)


def test_what_cannot_be_published_is_told(
    tool, explain, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'hostile.pth').write_bytes(pickle.dumps(Hostile(), 2))
    (tmp_path / 'text.pth').write_text('not a checkpoint')
    (tmp_path / 'folder').mkdir()
    torch.save({}, 'empty.pth')
    torch.save(dict(state_dict=dict(a=torch.ones(1))), 'good.pth')
    for words, expected in (
        (('no.pth', 'out.pth'), "checkpoint 'no.pth' does not exist"),
        (('folder', 'out.pth'), "no checkpoint (*.pth) in 'folder'"),
        (('hostile.pth', 'out.pth'), 'hostile.pth'),
        (('text.pth', 'out.pth'), 'text.pth'),
        (('empty.pth', 'out.pth'), 'holds no weights'),
        (('good.pth', 'folder'), "'folder' is a folder"),
        (('good.pth', 'folder/'), "'folder/' is a folder"),
    ):
        told = explain(tool, *words)
        assert expected in told and len(told) < 600, words
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {
        *('hostile.pth', 'text.pth', 'empty.pth', 'good.pth', 'folder')
    }
