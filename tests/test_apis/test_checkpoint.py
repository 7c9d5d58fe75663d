"""Checkpoints are found, and loaded whole or not at all."""

from argparse import Namespace

import pytest
import torch
from mmengine.model import MMDistributedDataParallel
from torch import nn

from hero_mm.apis.checkpoint import (
    check_weights,
    load_weights,
    read_checkpoint,
    taken_over,
)
from hero_mm.models import WordTextEncoder


def make(width=3):
    return nn.Sequential(nn.Linear(width, 2), nn.BatchNorm1d(2))


@pytest.fixture
def saved(tmp_path):
    model = make()
    path = tmp_path / 'epoch_1.pth'
    torch.save(dict(state_dict=model.state_dict(), meta=dict(epoch=1)), path)
    return model, path


@pytest.mark.parametrize('form', ['whole', 'plain', 'uri'])
def test_weights_arrive(saved, tmp_path, form):
    source, path = saved
    if form == 'plain':
        state = source.state_dict()
        path = tmp_path / 'plain.pth'
        torch.save({f'module.{k}': v for k, v in state.items()}, path)
    model = make()
    where = path.as_uri() if form == 'uri' else path
    meta = load_weights(model, where)
    assert meta == ({} if form == 'plain' else dict(epoch=1))
    for name, value in source.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name


def test_a_wrapped_model_is_filled(saved):
    wrapper = MMDistributedDataParallel.__new__(MMDistributedDataParallel)
    nn.Module.__init__(wrapper)
    wrapper.module = make()
    load_weights(wrapper, saved[1])
    assert torch.equal(wrapper.module[0].weight, saved[0][0].weight)


def test_what_does_not_fit_is_refused(saved):
    model = make(width=4)
    before = model[1].bias.clone()
    message = r'1 of another size: 0.weight \(2, 3\) in the checkpoint, \(2, 4'
    with pytest.raises(ValueError, match=message) as caught:
        load_weights(model, saved[1])
    assert str(saved[1]) in str(caught.value)
    assert torch.equal(model[1].bias, before)
    model.extra = nn.ModuleList(nn.Linear(1, 1, bias=False) for _ in range(9))
    weights = dict(make().state_dict(), other=torch.zeros(1))
    with pytest.raises(
        ValueError, match='unknown to the model: other'
    ) as caught:
        check_weights(model, weights, 'a.pth')
    assert '9 missing in the checkpoint: extra.0.w' in str(caught.value)
    assert 'and 4 more' in str(caught.value)


THEIRS = {'backbone.0.body.conv1.weight': torch.zeros(1)}


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ([1, 2], 'holds a list'),
        (dict(state_dict=dict(a=1)), "no 'state_dict' of tensors"),
        (dict(state_dict=None), "no 'state_dict' of tensors"),
        # Of another project: the converters are named.
        (dict(model=THEIRS, epoch=3), r'tools/model_converters/ \(docs/pr'),
        (
            dict(model=THEIRS, args=Namespace(lr=1)),
            'holds argparse.Namespace.*convert',
        ),
    ],
)
def test_what_is_no_checkpoint_is_named(tmp_path, content, message):
    torch.save(content, tmp_path / 'a.pth')
    with pytest.raises(ValueError, match=message):
        read_checkpoint(tmp_path / 'a.pth')


def test_what_is_taken_over_is_said_with_the_words():
    ours, theirs = nn.Module(), nn.Module()
    for model, text in ((ours, 'the red dog'), (theirs, 'a red cat is the')):
        model.text_encoder = WordTextEncoder(
            8, vocabulary=[text], num_layers=1, num_heads=1
        )
    theirs.neck = nn.Linear(2, 2)
    number = len(ours.state_dict())
    line = taken_over(ours, theirs.state_dict())
    assert line == (
        f'{number} of {number} weights are taken over; 4 of 5 words are '
        'known, new: dog'
    )
    weights = dict(ours.state_dict())
    del weights['text_encoder.position']
    line = taken_over(ours, weights)
    assert line.startswith(f'{number - 1} of {number} weights')
    assert line.endswith('; 5 of 5 words are known')
