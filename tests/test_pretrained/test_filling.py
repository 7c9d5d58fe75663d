"""Weights that fill nothing are an error, those that fill some are a line."""

import logging
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.model import BaseModule
from mmengine.runner import checkpoint
from torch import nn

from hero_mm.apis.checkpoint import read_checkpoint
from hero_mm.engine.hooks import FrozenNormHook
from hero_mm.pretrained.fetching import replace_loaders


class Net(BaseModule):
    def __init__(self, init_cfg=None):
        super().__init__(init_cfg)
        self.conv = nn.Conv2d(3, 4, 1)
        self.norm = nn.BatchNorm2d(4)


class Model(BaseModule):
    def __init__(self, **init_cfg):
        super().__init__()
        pretrained = dict(type='Pretrained', **init_cfg) if init_cfg else None
        self.backbone = Net(pretrained)
        self.head = nn.Linear(4, 1)


@pytest.fixture
def loaders(host_loaders):
    replace_loaders()


@pytest.fixture
def file(tmp_path):
    """Of a recogniser; the same backbone with raw names; of another size."""
    weights = Model().state_dict()
    raw = Net().state_dict()
    torch.save(dict(state_dict=weights), tmp_path / 'recogniser.pth')
    torch.save(dict(state_dict=raw), tmp_path / 'raw.pth')
    return lambda name: str(tmp_path / name)


@pytest.fixture
def lines(caplog):
    """Function: the warnings so far."""
    logger = MMLogger.get_current_instance()
    caplog.handler.setLevel(logging.WARNING)
    logger.addHandler(caplog.handler)
    yield lambda: [one.getMessage() for one in caplog.handler.records]
    logger.removeHandler(caplog.handler)


def test_a_recogniser_without_prefix(file, loaders):
    model = Model(checkpoint=file('recogniser.pth'))
    with pytest.raises(ValueError, match='fills none of the 7') as error:
        model.init_weights()
    assert 'those of the file backbone.conv.weight, ' in str(error.value)
    assert 'prefix=NAME in init_cfg' in str(error.value)
    model = Model(checkpoint=file('recogniser.pth'), prefix='backbone.')
    model.init_weights()
    wanted = read_checkpoint(file('recogniser.pth'))['state_dict']
    assert torch.equal(
        model.backbone.conv.weight, wanted['backbone.conv.weight']
    )
    model = Model(checkpoint=file('recogniser.pth'), prefix='neck')
    with pytest.raises(AssertionError, match='neck. is not in the pretrained'):
        model.init_weights()


def load(model, path):
    # As it stands now, for it is replaced.
    checkpoint.load_checkpoint(model, path)


def test_raw_names_are_an_error(file, loaders):
    with pytest.raises(ValueError, match='raw.pth fills none'):
        load(Model(), file('raw.pth'))
    torch.save(dict(state_dict={}), file('empty.pth'))
    with pytest.raises(ValueError, match='those of the file nothing'):
        load(Model(), file('empty.pth'))


@pytest.mark.parametrize(
    'found', [[torch.ones(1)], dict(state_dict=None), {0: torch.ones(1)}]
)
def test_what_holds_no_weights_is_an_error(found, file, loaders):
    torch.save(found, file('other.pth'))
    with pytest.raises(ValueError, match="other.pth h.*'state_dict'"):
        load(Model(), file('other.pth'))


def test_a_part_is_one_line(file, loaders, lines):
    load(Model(), file('recogniser.pth'))
    assert not lines()
    model = Model()
    weights = {
        'backbone.conv.weight': torch.zeros(4, 3, 1, 1),
        'head.weight': torch.zeros(9),
        **{f'neck.{number}': torch.zeros(1) for number in range(5)},
    }
    torch.save(dict(state_dict=weights), file('part.pth'))
    load(model, file('part.pth'))
    assert not model.backbone.conv.weight.any()
    (line,) = lines()
    assert line.endswith(
        'part.pth fills 1 of 8 tensors of Model: 1 of another size '
        '(head.weight); 6 not in the file (backbone.conv.bias, '
        'backbone.norm.weight, backbone.norm.bias and 3 more); 5 of the file '
        'not used (neck.0, neck.1, neck.2 and 2 more)'
    )


def test_weights_that_are_no_numbers(file, loaders):
    weights = Model().state_dict()
    weights['head.bias'][0] = float('nan')
    torch.save(dict(state_dict=weights), file('nan.pth'))
    for read in (read_checkpoint, lambda path: load(Model(), path)):
        with pytest.raises(ValueError, match=r'1 of 9.*\(head.bias\).*diverg'):
            read(file('nan.pth'))


def test_stores_are_refused_by_an_old_torch(loaders, monkeypatch):
    monkeypatch.setattr(torch, '__version__', '2.9.0')
    for read in (read_checkpoint, checkpoint.CheckpointLoader.load_checkpoint):
        with pytest.raises(ValueError, match='s3://a/b.pth is not read'):
            read('s3://a/b.pth')


def test_frozen_norms_at_their_start(lines):
    class Frozen(Model):
        def train(self, mode=True):
            super().train(mode)
            self.backbone.norm.eval()
            return self

    def warned(model):
        logger = MMLogger.get_current_instance()
        before = len(lines())
        FrozenNormHook().before_train(
            SimpleNamespace(model=model, logger=logger)
        )
        return lines()[before:]

    (line,) = warned(Frozen())
    assert line.startswith('1 frozen batch norms') and 'norm_eval' in line
    assert 'backbone.norm)' in line
    assert not warned(Model())
    seen = Frozen()
    nn.Module.train(seen)
    seen.backbone.norm(torch.randn(2, 4, 3, 3))
    assert not warned(seen)


HOST = """
from mmengine.config import Config
from mmengine.runner import checkpoint
seen = lambda: (
    checkpoint.load_state_dict,
    checkpoint.CheckpointLoader.__dict__['load_checkpoint'],
)
host = seen()
import hero_mm
import hero_mm.pretrained.filling
assert seen() == host
Config.fromfile('configs/_base_/default_runtime.py')
assert not any(a is b for a, b in zip(seen(), host))
"""


def test_a_host_keeps_its_own_until_a_config_asks(repo_root):
    subprocess.run([sys.executable, '-c', HOST], cwd=repo_root, check=True)
