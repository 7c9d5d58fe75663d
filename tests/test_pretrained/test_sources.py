"""The weights of a checkpoint of any make are found."""

import argparse
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from hero_mm.pretrained.conversion import read_source


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


@pytest.mark.parametrize(
    ('entries', 'entry', 'container', 'number'),
    [
        (dict(model=weights(1), model_ema=weights(2)), None, 'model_ema', 2),
        (dict(model=weights(1), model_ema=weights(2)), 'model', 'model', 1),
        # MDETR writes None for an average that was not kept.
        (dict(model=weights(1), model_ema=None), None, 'model', 1),
        (dict(model=weights(1), model_ema={}), None, 'model', 1),
        ({**weights(1), 'epoch': 3}, None, None, 1),
        (
            dict(acc=torch.ones(1), state_dict=weights(4)),
            None,
            'state_dict',
            4,
        ),
        (dict(net=weights(1)), 'net', 'net', 1),
    ],
)
def test_the_entry_that_is_taken(save, entries, entry, container, number):
    if 'model' in entries:
        path = Path('/a') / 'b'
        entries = {**entries, 'args': argparse.Namespace(output_dir=path)}
    found = read_source(save(entries), entry)
    assert found.container == container
    assert found.weights.keys() == {'a.weight'}
    assert found.weights['a.weight'].tolist() == [number, number]


@pytest.mark.parametrize('module', ['pathlib', 'pathlib._local'])
def test_paths_of_other_pythons_are_read(save, module, monkeypatch):
    """MDETR was trained with paths in its arguments."""

    def init(self, *parts):
        self.parts = parts

    kind = type(
        'WindowsPath',
        (),
        dict(__init__=init, __reduce__=lambda self: (kind, self.parts)),
    )
    kind.__module__ = module
    with monkeypatch.context() as patch:
        stub = ModuleType(module)
        stub.WindowsPath = kind
        patch.setitem(sys.modules, module, stub)
        args = argparse.Namespace(job_dir=kind('/', 'checkpoint', '%j'))
        path = save(dict(model=weights(1), args=args))
    assert read_source(path).container == 'model'


@pytest.mark.parametrize(
    ('prefix', 'other', 'kept'),
    [
        ('module.', (), 'a.weight'),
        ('module.detr.', (), 'a.weight'),
        ('_orig_mod.module.model.', (), 'a.weight'),
        ('modules.', (), 'modules.a.weight'),
        # A prefix that some names lack stays.
        ('module.', ('b',), 'module.a.weight'),
        # Masks lie beside the detector that they wrap.
        ('detr.', ('mask_head.gn1.bias',), 'a.weight'),
        # The average of MMEngine counts its steps.
        ('module.', ('steps',), 'a.weight'),
    ],
)
def test_prefixes_of_wrappers_are_taken_off(save, prefix, other, kept):
    entries = {**weights(1, prefix), **dict.fromkeys(other, torch.ones(1))}
    path = save(dict(net=entries))
    assert list(read_source(path, 'net').weights) == [kept, *other]


@pytest.mark.parametrize(
    ('entries', 'entry', 'said'),
    [
        ([1, 2], None, 'its entries are none'),
        ({}, None, 'its entries are none, .* as its auth'),
        (dict(epoch=1, a=2), None, 'no weights under .* are epoch, a, those'),
        (dict(net=weights(1)), None, r'with weights net. .*\(--weights ENT'),
        (dict(net=weights(1)), 'ema', 'no weights under ema; .* weights net'),
        (weights(1), 'model', 'under model; .* those with weights none'),
    ],
)
def test_no_weights(save, entries, entry, said):
    with pytest.raises(ValueError, match=said) as error:
        read_source(save(entries), entry)
    assert 'file.pth' in str(error.value) and '\n' not in str(error.value)
