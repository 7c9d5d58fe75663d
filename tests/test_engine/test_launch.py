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
from torch import nn

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


def test_options_change_the_config(config):
    words = ('--cfg-options', 'a.b=2', 'c="[1,2]"', '--launcher', 'pytorch')
    cfg = launch.load_config(parse(config, *words))
    assert (cfg.a.b, cfg.c, cfg.launcher) == (2, [1, 2], 'pytorch')
    assert cfg.work_dir == 'work_dirs/probe'
    config.write_text("work_dir = 'mine'\n")
    assert launch.load_config(parse(config)).work_dir == 'mine'
    cfg = launch.load_config(parse(config, '--work-dir', 'w'))
    assert cfg.work_dir == 'w'


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
    assert len(said) == 2 and 'prefetch_factor is left out' in said[1]


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


def test_steps_of_preparation_are_taken_in_order(monkeypatch):
    calls, probe = [], types.ModuleType('probe')
    probe.note = lambda **arguments: calls.append(arguments)
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


def test_accumulated_gradients_count_in_a_scaled_rate(monkeypatch):
    scale = dict(enable=True, base_batch_size=16)
    wrapper = dict(accumulative_counts=8)
    cfg = Config(dict(auto_scale_lr=scale, optim_wrapper=wrapper))
    runner = types.SimpleNamespace()
    monkeypatch.setattr('mmengine.runner.Runner.from_cfg', lambda cfg: runner)
    assert launch.build_runner(cfg).auto_scale_lr['base_batch_size'] == 2
    # What is dumped stays, a resumed training would scale it again.
    assert cfg.auto_scale_lr == scale
    strategy_runner.fit_strategy(cfg)
    assert cfg.strategy.auto_scale_lr['base_batch_size'] == 2
    cfg = dict(cfg, auto_scale_lr=dict(enable=False))
    assert strategy_runner.scale_by_steps(cfg) == dict(enable=False)
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


def test_shards_take_no_weights_that_are_single_numbers():
    model = nn.Module()
    model.scale = nn.Parameter(torch.tensor(1.0))
    kind = strategy_runner.ShardedStrategy
    strategy = kind.__new__(kind)
    strategy.model_wrapper = None
    with pytest.raises(ValueError, match=r'single numbers \(scale\)'):
        strategy._wrap_model(model)
