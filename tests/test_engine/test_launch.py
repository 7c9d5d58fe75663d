"""What the tools share: configs, steps of preparation, runners."""

import argparse
import os
import sys
import types
from pathlib import Path

import mmengine.registry
import pytest
import torch
from mmengine.config import Config

from hero_mm.engine import launch, strategy_runner

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def config(tmp_path):
    path = tmp_path / 'probe.py'
    path.write_text('a = dict(b=1)\n')
    return path


@pytest.fixture(autouse=True)
def no_rank(monkeypatch):
    monkeypatch.setenv('LOCAL_RANK', '0')


def parse(*words):
    parser = argparse.ArgumentParser()
    parser.add_argument('config')
    launch.add_common_arguments(parser)
    return parser.parse_args([str(word) for word in words])


def test_work_dir_is_named_after_the_config(config):
    assert launch.load_config(parse(config)).work_dir == 'work_dirs/probe'


def test_work_dir_of_the_config_and_of_the_flag(config):
    config.write_text("work_dir = 'mine'\n")
    assert launch.load_config(parse(config)).work_dir == 'mine'
    cfg = launch.load_config(parse(config, '--work-dir', 'w'))
    assert cfg.work_dir == 'w'


def test_options_change_the_config(config):
    words = ('--cfg-options', 'a.b=2', 'c="[1,2]"', '--launcher', 'pytorch')
    cfg = launch.load_config(parse(config, *words))
    assert (cfg.a.b, cfg.c, cfg.launcher) == (2, [1, 2], 'pytorch')


def test_what_follows_is_said(tmp_path, monkeypatch):
    (tmp_path / 'base.py').write_text('size = 3\na = dict(size=size)\n')
    path = tmp_path / 'child.py'
    path.write_text("_base_ = 'base.py'\nsize = 4\n")
    said = []
    monkeypatch.setattr(
        launch, 'print_log', lambda text, **unused: said.append(text)
    )
    assert launch.load_config(parse(path)).a.size == 4
    assert said[0].endswith('holds in what it inherits: a.size')


def test_loaders_without_workers(config, monkeypatch):
    said = []
    monkeypatch.setattr(
        launch, 'print_log', lambda text, **unused: said.append(text)
    )
    config.write_text(
        'a_dataloader = dict(num_workers=2, persistent_workers=True)\n'
        'b_dataloader = dict(num_workers=2, prefetch_factor=4,\n'
        '    persistent_workers=True)\nc_dataloader = None\n'
    )
    option = 'b_dataloader.num_workers=0'
    cfg = launch.load_config(parse(config, '--cfg-options', option))
    assert cfg.a_dataloader.persistent_workers
    assert dict(cfg.b_dataloader) == dict(num_workers=0)
    (line,) = said
    assert line == (
        'b_dataloader has no workers (num_workers=0): '
        'persistent_workers=True, prefetch_factor=4 is left out'
    )


def test_less_data_than_a_batch_is_refused():
    loader = torch.utils.data.DataLoader([1, 2, 3], 4, drop_last=True)
    runner = types.SimpleNamespace(train_dataloader=loader, world_size=2)
    with pytest.raises(
        ValueError, match='3 clips, fewer than 8: 2 processes take 4 each'
    ):
        launch.check_batches(runner)
    runner.train_dataloader = torch.utils.data.DataLoader([1, 2, 3], 4)
    launch.check_batches(runner)


@pytest.mark.parametrize('flag', ['--local_rank', '--local-rank'])
def test_local_rank_is_taken_where_the_launcher_sets_none(
    config, flag, monkeypatch
):
    monkeypatch.delenv('LOCAL_RANK')
    launch.load_config(parse(config, flag, 3))
    assert os.environ['LOCAL_RANK'] == '3'
    launch.load_config(parse(config, flag, 4))
    assert os.environ['LOCAL_RANK'] == '3'


def test_a_missing_config_is_named():
    with pytest.raises(FileNotFoundError, match=r"'nowhere.py'.*configs/"):
        launch.load_config(parse('nowhere.py'))


calls = []


def note(**arguments):
    calls.append(arguments)


def test_steps_of_preparation_are_taken_in_order(monkeypatch):
    calls.clear()
    probe = types.ModuleType('probe')
    probe.note = note
    monkeypatch.setitem(sys.modules, 'probe', probe)
    first, second = (dict(type='probe.note', step=i) for i in (1, 2))
    launch.prepare_data(Config(dict(prepare=first)))
    launch.prepare_data(Config(dict(prepare=[first, second])))
    launch.prepare_data(Config(dict()))
    assert calls == [dict(step=1), dict(step=1), dict(step=2)]


@pytest.mark.parametrize(
    'name', ['hero_mm.nowhere', 'hero_mm.no.where', 'nowhere', None]
)
def test_a_step_that_names_no_function_is_refused(name):
    with pytest.raises(ValueError, match='is no function'):
        launch.take_step(dict(type=name))


def test_a_step_whose_module_is_broken_says_why(tmp_path, monkeypatch):
    (tmp_path / 'broken_step.py').write_text('import no_such_package\n')
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match='no_such_package'):
        launch.take_step(dict(type='broken_step.make'))


def test_the_runner_of_the_config_is_built(monkeypatch):
    built = []
    monkeypatch.setattr(launch.RUNNERS, 'build', built.append)
    cfg = Config(dict(runner_type='Mine'))
    launch.build_runner(cfg)
    assert built == [cfg]


STRATEGIES = sorted((ROOT / 'configs/strategies').glob('*.py'))


@pytest.mark.parametrize('path', STRATEGIES, ids=lambda path: path.stem)
def test_a_strategy_that_cannot_work_is_refused(path, monkeypatch):
    """Each shipped one, alone and where what it needs is missing or there."""
    cfg = Config.fromfile(path)
    name = cfg.strategy.type
    assert cfg.runner_type == 'FlexibleRunner'
    assert mmengine.registry.STRATEGIES.get(name) is not None
    with pytest.raises(ValueError, match=f'{name} works with the processes'):
        strategy_runner.fit_strategy(cfg)
    cfg.launcher = 'pytorch'
    find = strategy_runner.importlib.util
    monkeypatch.setattr(find, 'find_spec', lambda name: None)
    if name == 'DeepSpeedStrategy':
        with pytest.raises(ValueError, match='pip install'):
            strategy_runner.fit_strategy(cfg)
    monkeypatch.setattr(find, 'find_spec', lambda name: object())
    monkeypatch.setattr(strategy_runner, 'provide_onebit', lambda: None)
    strategy_runner.fit_strategy(cfg)
    assert cfg.strategy.type.rpartition('.')[2] == name
    if name != 'DDPStrategy':
        cfg.optim_wrapper.optimizer.type = 'hero_mm.MuonAdamW'
        with pytest.raises(ValueError, match='whole matrices'):
            strategy_runner.fit_strategy(cfg)


def test_without_a_strategy_models_are_wrapped_as_by_runner():
    cfg = Config(dict(launcher='none'))
    strategy_runner.fit_strategy(cfg)
    assert cfg.strategy == dict(type='SingleDeviceStrategy')
    wrapper = dict(type='MMDistributedDataParallel', device_ids=None)
    cfg = Config(dict(launcher='pytorch', model_wrapper_cfg=wrapper))
    strategy_runner.fit_strategy(cfg)
    assert cfg.strategy == dict(type='DDPStrategy', model_wrapper=wrapper)
    cfg = Config(dict(launcher='slurm', find_unused_parameters=True))
    strategy_runner.fit_strategy(cfg)
    assert cfg.strategy.model_wrapper.find_unused_parameters


def test_processes_are_not_joined_without_a_launcher():
    cfg = Config(dict(launcher='none'))
    launch.join_processes(cfg)
    assert 'model_wrapper_cfg' not in cfg


def test_all_that_is_missing_is_told_once(tmp_path):
    def loader(name):
        return dict(
            dataset=dict(
                type='GroundingDataset',
                data_root=str(tmp_path),
                ann_file=f'{name}.json',
                data_prefix=dict(video='video'),
                make_command=f'make {name}',
            )
        )

    cfg = Config(
        dict(train_dataloader=loader('a'), val_dataloader=loader('b'))
    )
    names = ('train_dataloader', 'val_dataloader', 'test_dataloader')
    with pytest.raises(FileNotFoundError) as caught:
        launch.check_data(cfg, *names)
    text = str(caught.value)
    assert 'make a' in text and 'make b' in text
    assert text.count('The folder of videos is missing') == 1
    (tmp_path / 'video').mkdir()
    (tmp_path / 'a.json').write_text('')
    launch.check_data(cfg, 'train_dataloader')
    cfg.val_dataloader = None
    launch.check_data(cfg, *names)


def test_processes_are_left_once(tmp_path):
    launch.leave_processes()
    store = torch.distributed.FileStore(str(tmp_path / 'store'), 1)
    torch.distributed.init_process_group(
        'gloo', store=store, rank=0, world_size=1
    )
    for _ in range(2):
        launch.leave_processes()
        assert not torch.distributed.is_initialized()
