"""The weights of a checkpoint of any make are found."""

import argparse
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from hero_mm.pretrained.sources import read_source


@pytest.fixture
def save(tmp_path):
    """Function: a checkpoint of these entries; gives its path."""

    def make(entries):
        path = tmp_path / 'file.pth'
        torch.save(entries, path)
        return str(path)

    return make


def weights(number, prefix=''):
    return {f'{prefix}a.weight': torch.full((2,), float(number))}


def test_the_moving_average_is_taken(save):
    path = save(
        dict(
            model=weights(1),
            model_ema=weights(2),
            optimizer=dict(state={0: weights(3)}, param_groups=[]),
            epoch=7,
            args=argparse.Namespace(lr=1e-4, output_dir=Path('/a') / 'b'),
        )
    )
    found = read_source(path)
    assert found.container == 'model_ema'
    assert found.weights['a.weight'].tolist() == [2, 2]
    assert found.others == ['model', 'optimizer', 'epoch', 'args']
    assert read_source(path, 'model').weights['a.weight'][0] == 1


@pytest.mark.parametrize('empty', [None, {}])
def test_an_average_that_was_not_kept_is_passed_over(save, empty):
    """MDETR writes None for it."""
    found = read_source(save(dict(model=weights(1), model_ema=empty)))
    assert found.container == 'model' and found.others == ['model_ema']


@pytest.mark.parametrize('module', ['pathlib', 'pathlib._local'])
@pytest.mark.parametrize('name', ['PosixPath', 'WindowsPath'])
def test_paths_of_other_systems_are_read(save, module, name, monkeypatch):
    """MDETR was trained with paths in its arguments."""

    def init(self, *parts):
        self.parts = parts

    kind = type(
        name,
        (),
        dict(__init__=init, __reduce__=lambda self: (kind, self.parts)),
    )
    kind.__module__ = module
    with monkeypatch.context() as patch:
        stub = ModuleType(module)
        setattr(stub, name, kind)
        patch.setitem(sys.modules, module, stub)
        args = argparse.Namespace(job_dir=kind('/', 'checkpoint', '%j'))
        path = save(dict(model=weights(1), args=args))
    assert read_source(path).others == ['args']


def test_weights_at_the_top(save):
    found = read_source(save({**weights(1), 'epoch': 3}))
    assert found.container is None and found.others == []
    assert list(found.weights) == ['a.weight'] and found.odd == ['epoch']


def test_a_tensor_beside_them_is_not_taken_for_the_weights(save):
    found = read_source(save(dict(acc=torch.ones(1), state_dict=weights(4))))
    assert found.container == 'state_dict' and found.others == ['acc']


@pytest.mark.parametrize(
    ('prefix', 'kept'),
    [
        ('module.', 'a.weight'),
        ('module.detr.', 'a.weight'),
        ('detr.', 'a.weight'),
        ('model.', 'a.weight'),
        ('module.model.', 'a.weight'),
        ('_orig_mod.module.', 'a.weight'),
        ('modules.', 'modules.a.weight'),
    ],
)
def test_prefixes_of_wrappers_are_taken_off(save, prefix, kept):
    assert list(read_source(save(weights(1, prefix))).weights) == [kept]


def test_masks_lie_beside_the_detector_that_they_wrap(save):
    entries = {**weights(1, 'detr.'), 'mask_head.gn1.bias': torch.ones(1)}
    names = list(read_source(save(entries)).weights)
    assert names == ['a.weight', 'mask_head.gn1.bias']


def test_the_average_of_mmengine_counts_its_steps(save):
    average = {'steps': torch.tensor(3), **weights(1, 'module.')}
    path = save(dict(ema_state_dict=average))
    found = read_source(path, 'ema_state_dict').weights
    assert list(found) == ['steps', 'a.weight']


def test_a_prefix_that_some_names_lack_stays(save):
    entries = {**weights(1, 'module.'), 'b': torch.ones(1)}
    assert 'module.a.weight' in read_source(save(entries)).weights


@pytest.mark.parametrize(
    ('entries', 'entry', 'told'),
    [
        ([1, 2], None, 'holds a list where a dict of weights'),
        ({}, None, 'its entries are none, .* as its auth'),
        (dict(epoch=1, a=2), None, 'no weights under .* are epoch, a, those'),
        (dict(net=weights(1)), None, r'with weights net. .*\(--weights ENT'),
        (dict(net=weights(1)), 'ema', 'no weights under ema; .* weights net'),
        (dict(epoch=1), 'epoch', 'under epoch; .* those with weights none'),
        (weights(1), 'model', 'under model; .* those with weights none'),
    ],
)
def test_no_weights(save, entries, entry, told):
    with pytest.raises(ValueError, match=told) as error:
        read_source(save(entries), entry)
    assert 'file.pth' in str(error.value) and '\n' not in str(error.value)


def test_an_entry_of_another_name_is_taken_when_asked(save):
    assert read_source(save(dict(net=weights(1))), 'net').container == 'net'
