"""Checkpoints are found, and loaded whole or not at all."""

import os
from argparse import Namespace

import pytest
import torch
from mmengine.model import MMDistributedDataParallel
from torch import nn

from hero_mm.apis.checkpoint import (
    check_weights,
    find_checkpoint,
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


def test_weights_arrive(saved):
    source, path = saved
    model = make()
    assert not torch.equal(model[0].weight, source[0].weight)
    assert load_weights(model, path) == dict(epoch=1)
    for name, value in source.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name


def test_plain_and_wrapped_state_dicts_arrive(saved, tmp_path):
    source, _ = saved
    path = tmp_path / 'plain.pth'
    torch.save(
        {f'module.{k}': v for k, v in source.state_dict().items()}, path
    )
    model = make()
    assert load_weights(model, path) == {}
    assert torch.equal(model[0].weight, source[0].weight)


def test_a_wrapped_model_is_filled(saved):
    wrapper = MMDistributedDataParallel.__new__(MMDistributedDataParallel)
    nn.Module.__init__(wrapper)
    wrapper.module = make()
    load_weights(wrapper, saved[1])
    assert torch.equal(wrapper.module[0].weight, saved[0][0].weight)


def test_another_size_is_refused(saved):
    model = make(width=4)
    before = model[1].bias.clone()
    message = r'1 of another size: 0.weight \(2, 3\) in the checkpoint, \(2, 4'
    with pytest.raises(ValueError, match=message) as caught:
        load_weights(model, saved[1])
    assert str(saved[1]) in str(caught.value)
    assert 'Use the config that it was trained with' in str(caught.value)
    assert torch.equal(model[1].bias, before)


def test_missing_and_unknown_names_are_told(saved):
    model = make()
    model.extra = nn.Linear(9, 9)
    weights = dict(make().state_dict(), other=torch.zeros(1))
    with pytest.raises(ValueError) as caught:
        check_weights(model, weights, 'a.pth')
    assert '2 missing in the checkpoint: extra.bias' in str(caught.value)
    assert '1 unknown to the model: other' in str(caught.value)


def test_long_lists_are_cut():
    wanted = nn.ModuleList(nn.Linear(1, 1, bias=False) for _ in range(9))
    with pytest.raises(ValueError, match='9 missing.*and 4 more'):
        check_weights(wanted, {}, 'a.pth')


def test_the_best_of_a_work_dir_is_found(saved):
    folder = saved[1].parent
    assert find_checkpoint(folder) == str(saved[1])
    for age, name in enumerate(('best_b.pth', 'best_a.pth', 'epoch_2.pth')):
        (folder / name).touch()
        os.utime(folder / name, (100 + age, 100 + age))
    assert find_checkpoint(folder) == str(folder / 'best_a.pth')
    assert find_checkpoint('https://x.org/a.pth') == 'https://x.org/a.pth'


def test_missing_checkpoints_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='nowhere.pth'):
        find_checkpoint(tmp_path / 'nowhere.pth')
    with pytest.raises(FileNotFoundError, match=r'no checkpoint .* train fir'):
        find_checkpoint(tmp_path)


@pytest.mark.parametrize('content', [b'', b'no checkpoint', b'PK\x03\x04abc'])
def test_a_file_that_is_no_checkpoint_is_named(tmp_path, content):
    path = tmp_path / 'broken.pth'
    path.write_bytes(content)
    with pytest.raises(ValueError, match='broken.pth is not a readable'):
        read_checkpoint(path)


def test_a_truncated_checkpoint_is_named(saved):
    data = saved[1].read_bytes()
    saved[1].write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match='epoch_1.pth is not a readable'):
        load_weights(make(), saved[1])


class Hostile:
    def __reduce__(self):
        return (exec, ('raise SystemExit("ran")',))


def test_a_hostile_checkpoint_is_named(tmp_path):
    path = tmp_path / 'hostile.pth'
    torch.save(dict(state_dict={}, meta=Hostile()), path)
    with pytest.raises(ValueError, match='hostile.pth is refused'):
        read_checkpoint(path)


def test_other_contents_are_told(tmp_path):
    path = tmp_path / 'list.pth'
    torch.save([1, 2], path)
    with pytest.raises(ValueError, match='holds a list'):
        read_checkpoint(path)
    for wrong in (dict(a=1), [1], None):
        torch.save(dict(state_dict=wrong), path)
        with pytest.raises(ValueError, match="no 'state_dict' of tensors"):
            read_checkpoint(path)


def test_a_checkpoint_of_another_project_names_the_converters(tmp_path):
    path = tmp_path / 'mdetr.pth'
    weights = {'backbone.0.body.conv1.weight': torch.zeros(1)}
    torch.save(dict(model=weights, epoch=3), path)
    with pytest.raises(ValueError, match=r'tools/model_converters/ \(docs/pr'):
        read_checkpoint(path)
    torch.save(dict(model=weights, args=Namespace(lr=1)), path)
    with pytest.raises(ValueError, match='holds argparse.Namespace.*convert'):
        read_checkpoint(path)


def test_names_of_other_places_are_passed_on(saved):
    for name in ('hf://a/b/c.pth', 'torchvision://resnet18', 's3://a/b.pth'):
        assert find_checkpoint(name) == name
    model = make()
    load_weights(model, saved[1].as_uri())
    assert torch.equal(model[0].weight, saved[0][0].weight)


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
