"""What stands at the top of a config is set in one place."""

import json

import pytest
import torch
from mmengine.config import Config

from hero_mm.config import find_config, read_config

BASE = """
data_root = 'data/a/'
max_epochs = 3
sizes = [1, 2]
unused = 1
train_cfg = dict(max_epochs=max_epochs)
loader = dict(ann_file=data_root + 'train.json', sizes=sizes)
"""
LEAF = """
_base_ = ['./middle.py']
max_epochs = 5
sizes = [3]
"""


@pytest.fixture
def chain(tmp_path):
    """A config over two others."""
    (tmp_path / 'base.py').write_text(BASE)
    (tmp_path / 'middle.py').write_text(
        "_base_ = 'base.py'\ndata_root = 'data/b/'\n"
        'more = dict(root=_base_.data_root)\n'
    )
    path = tmp_path / 'leaf.py'
    path.write_text(LEAF)
    return path


def test_it_holds_in_what_is_inherited(chain):
    cfg = read_config(chain)
    assert cfg.train_cfg.max_epochs == cfg.max_epochs == 5
    assert cfg.loader.ann_file == 'data/b/train.json'
    assert cfg.more.root == 'data/b/'
    # Lists and dicts are merged as MMEngine does.
    assert cfg.sizes == [3] and cfg.loader.sizes == [1, 2]
    assert cfg.filename == str(chain)
    options = {'data_root': 'data/c/', 'train_cfg.max_epochs': 7}
    cfg = read_config(chain, options)
    assert cfg.loader.ann_file == 'data/c/train.json'
    assert cfg.more.root == cfg.data_root == 'data/c/'
    assert (cfg.max_epochs, cfg.train_cfg.max_epochs) == (5, 7)


@pytest.mark.parametrize(
    'options', [dict(unused=2), dict(ann_file='x'), dict(max_epoch=3)]
)
def test_an_option_without_effect_is_refused(chain, options):
    (name,) = options
    with pytest.raises(ValueError, match=f'leaf.py: {name} has no effect'):
        read_config(chain, options)
    # What a runner reads has one, and so has what changes nothing.
    read_config(chain, dict(load_from='x', unused=1, model=None))


def test_what_is_set_for_nothing_is_refused(chain):
    chain.write_text(LEAF + "ann_file = 'mine.json'\n")
    with pytest.raises(ValueError, match='leaf.py: ann_file has no effect'):
        read_config(chain)
    chain.write_text(LEAF + "ann_file = 'a'\nx = dict(ann_file=ann_file)\n")
    assert read_config(chain).x.ann_file == 'a'


def test_what_follows_from_an_option_goes_down_too(tmp_path):
    (tmp_path / 'base.py').write_text(
        "root = 'x/'\nvideos = 'x/video'\nloader = dict(video=videos)\n"
    )
    path = tmp_path / 'leaf.py'
    path.write_text(
        "_base_ = './base.py'\nroot = 'a/'\nvideos = root + 'video'\n"
    )
    assert read_config(path).loader.video == 'a/video'
    cfg = read_config(path, {'root': 'b/'})
    assert cfg.loader.video == cfg.videos == 'b/video'


def test_an_option_without_a_place_is_named(tmp_path):
    path = tmp_path / 'probe.py'
    path.write_text('part = None\nparts = [dict(depth=2)]\n')
    for option in ('part.depth', 'parts.7.depth'):
        with pytest.raises(ValueError, match=rf'{option}=1 .*probe.py'):
            read_config(path, {option: 1})
    with pytest.raises(FileNotFoundError, match="'nowhere.py' does not exis"):
        read_config('nowhere.py')


def names(repo_root):
    """Shipped configs."""
    folder = repo_root / 'configs'
    found = [*folder.glob('*.py'), *folder.glob('detectors/*.py')]
    return sorted(path for path in found)


def test_shipped_configs_read_the_same_by_any_reader(repo_root):
    for path in names(repo_root):
        cfg = read_config(path)
        # RampedAverage takes 9 / (steps + 10): less has no effect.
        assert all(
            'momentum' not in hook for hook in cfg.get('custom_hooks', [])
        )
        assert cfg.to_dict() == Config.fromfile(path).to_dict(), path


def texts(value):
    """All texts in a config."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return [text for part in value for text in texts(part)]
    return [value] if isinstance(value, str) else []


@pytest.mark.parametrize(
    ('name', 'variable', 'old'),
    [
        ('hero_shapes', 'data_root', 'data/shapes'),
        ('hero_detector_shapes', 'data_root', 'data/shapes'),
        ('hero_shapes-long', 'data_root', 'data/shapes-long'),
        ('detectors/fcos_shapes', 'data_root', 'data/shapes'),
        ('hero_custom', 'data_root', 'data/own'),
        ('hero_custom', 'ann_file', 'data/own/train.json'),
        ('hero_custom', 'video_root', 'data/own/videos'),
        ('hero_vidstg', 'data_root', 'data/vidstg'),
        ('hero_vidstg', 'video_root', 'data/vidor/video'),
        ('hero_hcstvg', 'data_root', 'data/hcstvg'),
        ('hero_hcstvg-v2', 'data_root', 'data/hcstvg-v2'),
        ('hero_vid-sentence', 'data_root', 'data/vid_sentence'),
        ('hero_vid-sentence', 'video_root', 'data/ILSVRC'),
    ],
)
def test_own_data_needs_one_line(repo_root, tmp_path, name, variable, old):
    path = repo_root / f'configs/{name}.py'
    before = texts(read_config(path).to_dict())
    uses = sum(old in text for text in before)
    assert uses >= 3
    new = '/mine/' if variable == 'data_root' else '/mine'
    child = tmp_path / 'child.py'
    child.write_text(f'_base_ = {str(path)!r}\n{variable} = {new!r}\n')
    for cfg in (read_config(child), read_config(path, {variable: new})):
        found = texts(cfg.to_dict())
        assert not [text for text in found if old in text]
        assert sum('/mine' in text for text in found) == uses


@pytest.mark.parametrize('name', ['max_epochs', 'train_cfg.max_epochs'])
@pytest.mark.parametrize(
    'config', ['shapes', 'shapes-long', 'custom', 'hcstvg']
)
def test_the_schedule_follows_the_epochs(repo_root, config, name):
    """The schedulers have no length of their own: see ScheduleHook."""
    cfg = read_config(repo_root / f'configs/hero_{config}.py', {name: 4})
    assert cfg.train_cfg.max_epochs == 4
    for scheduler in cfg.param_scheduler:
        assert not {'T_max', 'total_steps'} & scheduler.keys()


def test_the_config_of_a_work_dir(tmp_path):
    work = tmp_path / 'work'
    work.mkdir()
    with pytest.raises(FileNotFoundError, match='work has no config'):
        find_config(work)
    (work / 'b.py').touch()
    assert find_config(work) == work / 'b.py'
    (work / 'a.py').touch()
    with pytest.raises(FileNotFoundError, match=r'several .*\(a.py, b.py\)'):
        find_config(work)
    # Of a copy, too, whatever the times of its files are.
    record = json.dumps(dict(config='a.py'))
    (work / 'training.lock').write_text(record)
    copy = work.rename(tmp_path / 'copy')
    assert find_config(copy) == copy / 'a.py'


def test_the_config_of_a_checkpoint(tmp_path):
    """A config is code: only one that belongs to the checkpoint is taken."""
    path = tmp_path / 'published.pth'
    torch.save(dict(state_dict={}), path)
    (tmp_path / 'script.py').write_text('raise SystemExit(5)')
    with pytest.raises(
        FileNotFoundError, match=r'print_config.py .*published.pth prints it'
    ):
        read_config(path)
    beside = tmp_path / 'published.py'
    beside.write_text('model = 1\n')
    assert read_config(path).model == 1
    beside.unlink()
    (tmp_path / 'last_checkpoint').touch()
    assert find_config(path) == tmp_path / 'script.py'


def test_a_package_that_is_not_installed_is_named(tmp_path, monkeypatch):
    """A folder on PYTHONPATH has no configs for ``hero_mm::``."""
    place = 'mmengine.config.config.get_installed_path'
    monkeypatch.setattr(place, lambda package: str(tmp_path))
    config = tmp_path / 'mine.py'
    config.write_text("_base_ = 'hero_mm::hero/x.py'\n")
    with pytest.raises(ValueError, match=r'mine.py names .*pip install -e \.'):
        read_config(config)
    config.write_text("_base_ = 'x.py'\n")
    with pytest.raises(FileNotFoundError, match='x.py'):
        read_config(config)
