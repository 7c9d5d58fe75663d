"""Loops: a number of iterations, and what counts the cost; windows."""

import json
import multiprocessing
import shutil
import time
from functools import partial
from itertools import count
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from tiny_runner import Ones, TinyTubeMetric, loader
from tiny_runner import make_runner as make_any_runner

from hero_mm.apis.ablation.schedule import fit_training
from hero_mm.engine.hooks import training_cost_hook
from hero_mm.engine.hooks.training_cost_hook import cpu_seconds
from hero_mm.registry import HOOKS

CLIPS, BATCH = 10, 2
ONE_CYCLE = dict(
    type='OneCycleLR',
    eta_max=0.1,
    pct_start=0.25,
    total_steps=3,
    by_epoch=True,
    convert_to_iter_based=True,
)
pytestmark = pytest.mark.usefixtures('our_loaders')


def make_runner(folder, iterations, workers=0, warmup=0, **more):
    train_cfg = dict(max_epochs=3, by_epoch=True)
    cfg = Config(dict(train_cfg=train_cfg, param_scheduler=[ONE_CYCLE]))
    fit_training(cfg, iterations, warmup)
    return make_any_runner(
        folder,
        train_dataloader=loader(CLIPS, BATCH, workers),
        val_dataloader=loader(CLIPS, BATCH),
        val_evaluator=[TinyTubeMetric()],
        train_cfg=cfg.train_cfg,
        val_cfg=dict(),
        param_scheduler=cfg.param_scheduler,
        custom_hooks=cfg.custom_hooks,
        **more,
    )


def cost_of(folder):
    return json.loads((folder / 'training_cost.json').read_text())


def rate(runner):
    return runner.optim_wrapper.get_lr()['lr'][0]


@pytest.mark.parametrize(
    ('iterations', 'steps'), [(3, [3]), (5, [5]), (12, [5, 10, 12])]
)
def test_any_number_of_iterations_is_trained(tmp_path, iterations, steps):
    runner = make_runner(tmp_path, iterations)
    runner.train()
    assert runner.iter == runner.max_iters == iterations
    cost = cost_of(tmp_path)
    assert cost['step'] == cost['iterations'] == iterations
    assert cost['clips'] == BATCH * iterations
    # Validated at the end of each epoch, and of the training.
    assert [point['step'] for point in cost['points']] == steps
    assert cost['points'][0]['scores']['tube/m_vIoU'] == 0.5
    clips = [point['clips'] for point in cost['points']]
    assert clips == [BATCH * step for step in steps]
    assert cost['cpu_seconds'] > 0 and cost['wall_seconds'] > 0


def test_the_learning_rate_comes_to_the_end_of_its_cycle(tmp_path):
    rates = []
    runner = make_runner(tmp_path, 12)

    class Watch(HOOKS.get('TrainingCostHook')):
        def after_train_iter(self, runner, *unused, **also_unused):
            rates.append(rate(runner))

    runner.register_hook(Watch(), priority='HIGHEST')
    runner.train()
    assert len(rates) == 12 and max(rates) == pytest.approx(0.1)
    assert rates.index(max(rates)) == 2
    # The start over the final factor of MMEngine's schedule.
    assert rates[-1] == pytest.approx(0.1 / 25 / 1e4, rel=1e-3)


def test_a_resumed_training_goes_on_with_its_cost(tmp_path, monkeypatch):
    make_runner(tmp_path / 'a', 12).train()
    whole = cost_of(tmp_path / 'a')
    # Time is up after the first epoch.
    monkeypatch.setenv('HERO_MM_STOP_AT', str(time.time() - 1))
    first = make_runner(tmp_path / 'b', 12)
    # Empty it is no limit.
    monkeypatch.setenv('HERO_MM_STOP_AT', '')
    first.train()
    assert first.iter == 5
    assert [p['step'] for p in cost_of(tmp_path / 'b')['points']] == [5]
    spent = cost_of(tmp_path / 'b')['cpu_seconds']
    # The second time as if killed in the last epoch.
    for last in (1, 2):
        (tmp_path / 'b/last_checkpoint').write_text(
            str(tmp_path / f'b/epoch_{last}.pth')
        )
        second = make_runner(tmp_path / 'b', 12, resume=True)
        second.train()
    cost = cost_of(tmp_path / 'b')
    assert cost['step'] == cost['iterations'] == 12
    assert cost['clips'] == whole['clips'] == 24
    assert cost['cpu_seconds'] > spent
    assert [p['step'] for p in cost['points']] == [5, 10, 12]
    assert cost['points'][0]['cpu_seconds'] == pytest.approx(spent)
    assert rate(second) == pytest.approx(0.1 / 25 / 1e4, rel=1e-3)


def test_time_is_up_before_a_validation_that_does_not_fit(monkeypatch):
    """Every second epoch has one; an epoch takes 100 s, it takes 50."""
    monkeypatch.setenv('HERO_MM_STOP_AT', '550')
    hook, now = HOOKS.build(dict(type='DeadlineHook')), 0.0
    monkeypatch.setattr('time.time', lambda: now)
    loop = SimpleNamespace(stop_training=False)
    for epoch in range(9):
        hook.before_train_epoch(None)
        now += 100
        runner = SimpleNamespace(epoch=epoch, max_epochs=9, train_loop=loop)
        hook.after_train_epoch(runner)
        if loop.stop_training:
            break
        now += 50 * (epoch % 2)
    assert now < 500


def test_a_warm_up_is_not_counted(tmp_path, monkeypatch):
    """Over an epoch and a half; the clock ticks when it is looked at."""
    ticks = count()
    monkeypatch.setattr(
        training_cost_hook, '_clocks', lambda: (0.0, next(ticks))
    )
    make_runner(tmp_path, 9, warmup=7).train()
    cost = cost_of(tmp_path)
    assert (cost['step'], cost['iterations'], cost['clips']) == (9, 2, 4)
    assert cost['wall_seconds'] == 1


def burn(seconds, pipe):
    """Use a core for some time, then wait to be released."""
    while time.process_time() < seconds:
        pass
    pipe.send('done')
    pipe.recv()


def test_living_and_ended_children_are_counted_once():
    context = multiprocessing.get_context('fork')
    here, there = context.Pipe()
    before = cpu_seconds()
    own = time.process_time()
    child = context.Process(target=burn, args=(0.5, there))
    child.start()
    assert here.recv() == 'done'
    living = cpu_seconds() - before - (time.process_time() - own)
    here.send('end')
    child.join()
    ended = cpu_seconds() - before - (time.process_time() - own)
    assert living == pytest.approx(0.5, abs=0.25)
    assert ended == pytest.approx(living, abs=0.2)


def test_data_workers_are_counted(tmp_path, monkeypatch):
    def slowly(self, index):
        end = time.process_time() + 0.05
        while time.process_time() < end:
            pass
        return dict(inputs=torch.ones(1))

    monkeypatch.setattr(Ones, '__getitem__', slowly)
    make_runner(tmp_path, 5, workers=1).train()
    # Ten clips, each a twentieth of a second of the worker.
    assert cost_of(tmp_path)['cpu_seconds'] > 0.45


# Tests of long segments, in the windows that a config asks for.


@pytest.fixture
def cfg(repo_root, shapes_data, tmp_path):
    cfg = Config.fromfile(repo_root / 'configs/hero_shapes.py')
    cfg.model.text_encoder.ann_file = str(shapes_data / 'train.json')
    # Untrained, it is sure of nothing.
    cfg.model.proposal_generator.min_score = 0.0
    cfg.work_dir = str(tmp_path / 'work')
    loader = cfg.test_dataloader
    loader.update(batch_size=1, num_workers=0, persistent_workers=False)
    loader.dataset.ann_file = str(shapes_data / 'test.json')
    loader.dataset.data_prefix = dict(video=str(shapes_data / 'vidor/video'))
    return cfg


def run_test(cfg, name, **loop):
    cfg = cfg.copy()
    cfg.experiment_name = name
    cfg.test_cfg, cfg.randomness = loop, dict(seed=0)
    path = f'{cfg.work_dir}/{name}.json'
    cfg.test_evaluator = dict(cfg.test_evaluator, dump=path)
    init_default_scope('hero_mm')
    Runner.from_cfg(cfg).test()
    with open(path) as file:
        return json.load(file)['predictions']


def test_windows_of_a_test_are_those_that_its_config_asks_for(cfg):
    usual = run_test(cfg, 'usual', type='TestLoop')
    run = partial(run_test, cfg, type='WindowTestLoop')
    # Clips of 4 s: to the last digit that is kept.
    assert run('whole', window=4.0) == usual
    parts = run('parts', window=2.0)
    assert parts.keys() == usual.keys() and parts != usual
    for entry in parts.values():
        start, end = entry['span']
        assert 0 <= start < end <= 32 and end - start <= 32
    with pytest.raises(ValueError, match='window must be above 0'):
        run('none', window=0)


def test_a_broken_video_ends_no_test(cfg, shapes_data, tmp_path):
    videos = tmp_path / 'video'
    shutil.copytree(shapes_data / 'vidor/video', videos)
    cfg.test_dataloader.dataset.data_prefix = dict(video=str(videos))
    annotation = json.loads((shapes_data / 'test.json').read_text())
    clip = annotation['data_list'][0]
    path = videos / annotation['videos'][clip['video_id']]['path']
    path.write_bytes(path.read_bytes()[:200])
    found = run_test(cfg, 'broken', type='WindowTestLoop', window=2.0)
    kept = {
        query['query_id']
        for one in annotation['data_list']
        if one['video_id'] != clip['video_id']
        for query in one['queries']
    }
    assert kept and found.keys() == kept
