"""Tests of long segments, in the windows that a config asks for."""

import json
import shutil
from functools import partial

import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner


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
    lost = {
        query['query_id']
        for one in annotation['data_list']
        if one['video_id'] == clip['video_id']
        for query in one['queries']
    }
    every = {
        query['query_id']
        for one in annotation['data_list']
        for query in one['queries']
    }
    assert lost and found.keys() == every - lost
