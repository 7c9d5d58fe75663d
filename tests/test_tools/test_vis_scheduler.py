"""What is drawn is what a training with MMEngine's schedulers does."""

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS
from torch import nn

BASE = """
train_dataloader = dict(batch_size=2, dataset=dict(type='GroundingDataset'))
optim_wrapper = dict(optimizer=dict(type='SGD', lr=1.0, momentum=0.5))
"""


@pytest.fixture(scope='module')
def tool(load_tool):
    return load_tool('visualizations/vis_scheduler')


@pytest.fixture
def plot(tool, drawn, tmp_path):
    """The curves of a config by name, and the axes."""
    kept = drawn(tool)

    def call(path, *words):
        words = [path, '--not-show', '-s', tmp_path / 'lr.png', *words]
        tool.main([str(word) for word in words])
        axes, lines = kept[-1]
        for _, places, _ in lines:
            assert places == list(range(len(places)))
        return {name: values for name, _, values in lines}, axes

    return call


def trained(cfg, names, length):
    """Learning rates of a model with such parameters, by hand.

    MMEngine's schedulers are stepped as its hooks do: after each iteration,
    those by epoch after each epoch.
    """
    model = nn.Module()
    for name in names:
        owner = model
        *parents, last = name.split('.')
        for part in parents:
            if not hasattr(owner, part):
                owner.add_module(part, nn.Module())
            owner = getattr(owner, part)
        setattr(owner, last, nn.Parameter(torch.zeros(1)))
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    schedulers = []
    for part in cfg.param_scheduler:
        part = dict(part)
        kind = PARAM_SCHEDULERS.get(part.pop('type'))
        make = kind
        length_of = cfg.train_cfg.max_epochs
        if not part.get('by_epoch', True):
            length_of *= length
        part.setdefault('end', length_of)
        if part.pop('convert_to_iter_based', False):
            make = kind.build_iter_from_epoch
            part['epoch_length'] = length
        schedulers.append(make(optimizer=wrapper, **part))
    rows = []
    for _ in range(cfg.train_cfg.max_epochs):
        for _ in range(length):
            rows.append(wrapper.get_lr()['lr'])
            wrapper.step()
            for scheduler in schedulers:
                if not scheduler.by_epoch:
                    scheduler.step()
    return dict(zip(names, map(list, zip(*rows))))


def test_the_rate_of_the_embedded_benchmark(plot, repo_root, tmp_path):
    """4 clips a batch: 12 iterations of each of 3 epochs."""
    path = repo_root / 'configs/hero_shapes.py'
    found, axes = plot(path, '--dataset-size', 51)
    cfg = Config.fromfile(path)
    cfg.optim_wrapper.optimizer.fused = False
    expected = trained(cfg, ['weight'], length=12)['weight']
    (values,) = found.values()
    assert len(values) == 36 and values == pytest.approx(expected)
    assert max(values) == pytest.approx(4e-3, rel=1e-2)
    assert values[-1] < 1e-6 < values[0] < 2e-4
    picture = (tmp_path / 'lr.png').read_bytes()
    assert picture.startswith(b'\x89PNG')
    assert axes.get_title() == 'hero_shapes.py Learning Rate curve'


def test_pretrained_parts_have_curves_of_their_own(plot, repo_root, capsys):
    """960 clips, 8 processes, 2 a batch: 60 iterations an epoch."""
    path = repo_root / 'configs/hero_vidstg.py'
    found, axes = plot(path, '-d', 960, '-n', 8)
    keys = ['backbone', 'proposal_generator.detector']
    keys.append('text_encoder.language_model')
    assert list(found) == ['rest', *keys]
    expected = trained(
        Config.fromfile(path),
        ['head.weight', *(f'{key}.weight' for key in keys)],
        length=60,
    )
    for values, wanted in zip(found.values(), expected.values()):
        assert len(values) == 600
        assert values == pytest.approx(wanted, rel=1e-9)
    # The warm-up starts at a hundredth; a tenth and a fifth of it.
    first = [values[0] for values in found.values()]
    assert first == pytest.approx([1e-6, 1e-7, 1e-7, 2e-7])
    *_, rest, backbone, _, language, _ = capsys.readouterr().out.splitlines()
    largest = found['rest'].index(max(found['rest']))
    assert rest.split()[:2] == ['rest', '1e-06']
    assert rest.split()[3] == str(largest)
    assert backbone.split()[0] == keys[0] and language.split()[1] == '2e-07'
    shown = [text.get_text() for text in axes.get_legend().get_texts()]
    assert shown == list(found)


def test_without_a_size_the_data_is_counted(plot, repo_root, shapes_data):
    words = [
        f'train_dataloader.dataset.ann_file={shapes_data}/train.json',
        f'train_dataloader.dataset.data_prefix.video={shapes_data}',
    ]
    path = repo_root / 'configs/hero_shapes.py'
    found, _ = plot(path, '--cfg-options', *words)
    # 12 clips.
    assert [len(values) for values in found.values()] == [3 * 3]


def test_an_epoch_rounds_as_the_loader_does(tool):
    loader = dict(batch_size=4, drop_last=True)
    cfg = Config(dict(train_dataloader=loader))
    # 13 clips on 2 processes: 7 each.
    assert tool.epoch_length(cfg, 13, 2) == 1
    cfg.train_dataloader.drop_last = False
    assert tool.epoch_length(cfg, 13, 2) == 2
    cfg.train_dataloader.drop_last = True
    with pytest.raises(ValueError, match='no whole batch of 4'):
        tool.epoch_length(cfg, 3, 1)


def test_the_scaled_rate_is_drawn(plot, repo_root):
    path = repo_root / 'configs/hero_vidstg.py'
    words = ('max_epochs=1',)
    drawn = [
        plot(path, '-d', 64, '-n', count, '--cfg-options', *words)[0]
        for count in (4, 8)
    ]
    # The rate is that of 16 clips a step.
    half, whole = (found['rest'][0] for found in drawn)
    assert half == pytest.approx(whole / 2) == pytest.approx(0.5e-6)
    # Accumulated gradients count: one GPU, eight times two clips.
    words = (*words, 'optim_wrapper.accumulative_counts=8')
    found, _ = plot(path, '-d', 64, '--cfg-options', *words)
    assert found['rest'][0] == pytest.approx(whole)


def test_momentum_and_a_training_without_epochs(plot, tmp_path, capsys):
    """No data is asked for; mixed precision needs no GPU here."""
    path = tmp_path / 'mine.py'
    path.write_text(
        BASE
        + "train_cfg = dict(type='IterBasedTrainLoop', max_iters=6)\n"
        + "optim_wrapper.update(type='AmpOptimWrapper', loss_scale='dynamic')"
        + "\nparam_scheduler = [dict(type='MultiStepLR', by_epoch=False, "
        + 'milestones=[2, 4])]'
    )
    found, axes = plot(path, '--title', 'Mine')
    assert found['rest'] == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
    assert axes.get_title() == 'Mine'
    assert 'Iterations:           6' in capsys.readouterr().out
    found, axes = plot(path, '-p', 'momentum')
    assert found['rest'] == [0.5] * 6 and axes.get_ylabel() == 'Momentum'


def test_what_cannot_be_drawn_is_told(tool, explain, repo_root, tmp_path):
    path = repo_root / 'configs/hero_shapes.py'
    words = (path, '--not-show', '--cfg-options')
    told = explain(tool, *words, 'train_dataloader.dataset.ann_file=no.json')
    assert 'no.json' in told and '--dataset-size' in told
    told = explain(tool, path, '-d', 9, '--not-show', '-s', tmp_path / 'a.doc')
    assert 'a.doc: the name must end in one of' in told
    assert 'does not exist' in explain(tool, 'no.py')


@pytest.mark.parametrize('words', [('-n', '0'), ('-d', '-1')])
def test_wrong_flags_are_refused(tool, capsys, words):
    with pytest.raises(SystemExit, match='2'):
        tool.main(['c.py', *words])
    assert f'got {words[1]}' in capsys.readouterr().err.replace("'", '')
