"""HERO under the tools of MMAction2, and what they give beside ours.

MMAction2's ``tools/train.py`` and ``tools/test.py`` know nothing of hero_mm;
the config brings it along. Data must be there, for ``prepare`` is ours.
"""

import importlib.util
import json
import pickle
import re
from pathlib import Path

import pytest
import torch
from programs import ROOT, run_program
from tiny_hero import write_config

# Logged in each iteration, tested on the videos of the validation.
MORE = """
prepare = dict(
    out={data!r}, num_videos=dict(train=12, val=4, test=4), workers=1)
loader = dict(num_workers=0, persistent_workers=False)
train_dataloader.update(loader)
val_dataloader.update(loader)
test_dataloader = val_dataloader
default_hooks = dict(logger=dict(interval=1))
"""
pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def family():
    """Folder of the tools that come with MMAction2."""
    # Found without an import, which takes seconds.
    spec = importlib.util.find_spec('mmaction')
    if spec is None:
        pytest.skip('mmaction2 is not installed')
    return Path(spec.origin).parent / '.mim/tools'


@pytest.fixture(scope='module')
def place(tmp_path_factory, shapes_data):
    folder = tmp_path_factory.mktemp('family')
    data = str(shapes_data)
    write_config(folder / 'tiny.py', data, MORE.format(data=data))
    return folder


def run(folder, tool, *words, code=0):
    """Run a tool in a folder; gives what it wrote."""
    done = run_program(tool, 'tiny.py', *words, cwd=folder, code=code)
    return done.stdout + done.stderr


@pytest.fixture(scope='module')
def trained(place, family):
    """Work dir of a training by MMAction2's tool."""
    run(place, family / 'train.py', '--work-dir', 'theirs', '--seed', 3)
    return place / 'theirs'


def logged(work):
    """What was logged in iterations and validations, times left out."""
    (path,) = work.glob('*/vis_data/scalars.json')
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [
        {key: value for key, value in line.items() if 'time' not in key}
        for line in lines
    ]


def scores(entry):
    return {key: v for key, v in entry.items() if key.startswith('tube/')}


def test_training_is_that_of_our_tool(place, trained):
    run(place, ROOT / 'tools/train.py', '--work-dir', 'ours', '--seed', 3)
    theirs, ours = logged(trained), logged(place / 'ours')
    # Three iterations and a validation.
    assert len(ours) == 4 and len(scores(ours[-1])) == 21
    assert ours[-1].keys() == theirs[-1].keys()
    for one, other in zip(ours, theirs):
        assert one == pytest.approx(other, rel=1e-5, nan_ok=True)
    weights = [
        torch.load(work / 'epoch_1.pth', weights_only=False)['state_dict']
        for work in (trained, place / 'ours')
    ]
    for name, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][name], msg=name)


def test_the_learning_rate_is_drawn(place, family):
    tool = family / 'visualizations/vis_scheduler.py'
    words = ('--not-show', '--save-path', 'lr.png', '--dataset-size', 12)
    log = run(place, tool, *words)
    assert '3/3 iters' in log
    assert (place / 'lr.png').read_bytes().startswith(b'\x89PNG')


def test_training_is_resumed(place, trained, family):
    words = ('--resume', trained / 'epoch_1.pth', '--no-validate')
    more = ('--cfg-options', 'train_cfg.max_epochs=2')
    # Another length is refused by our hook, whoever starts the training.
    folder = ('--work-dir', 'refused')
    log = run(place, family / 'train.py', *words, *folder, *more, code=1)
    assert 'OneCycleLR.total_steps 3, now 6' in log
    more = ('--work-dir', 'more', *more, 'default_hooks.schedule.rescale=True')
    log = run(place, family / 'train.py', *words, *more)
    assert 'resumed epoch: 1, iter: 3' in log
    assert [e['step'] for e in logged(place / 'more')] == [4, 5, 6]


def test_testing_gives_the_scores_of_the_validation(place, trained, family):
    words = ('--dump', 'all.pkl', '--show-dir', 'shown', '--interval', 2)
    words += ('--work-dir', 'tested')
    run(place, family / 'test.py', trained / 'epoch_1.pth', *words)
    (path,) = (place / 'tested').glob('*/*.json')
    found = scores(json.loads(path.read_text().splitlines()[-1]))
    expected = scores(logged(trained)[-1])
    assert len(found) == 21 and found == pytest.approx(expected)
    with open(place / 'all.pkl', 'rb') as file:
        samples = pickle.load(file)
    assert len(samples) == 4 and 'pred_queries' in samples[0]
    # Every other clip is drawn, two sentences of each.
    drawn = [path.suffix for path in (place / 'shown/test').iterdir()]
    assert sorted(drawn) == ['.mp4'] * 4 + ['.png'] * 4


def test_operations_are_counted(place, family):
    tool = family / 'analysis_tools/get_flops.py'
    log = run(place, tool, '--shape', 8, 3, 64, 64)
    assert re.search(r'Input shape: \(8, 3, 64, 64\)\nFlops: [1-9]', log)
