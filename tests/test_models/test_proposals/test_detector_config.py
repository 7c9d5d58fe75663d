"""configs/detectors: a detector of mmdet on frames of the benchmark."""

import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope

from hero_mm.registry import DATASETS, METRICS, MODELS


@pytest.fixture(scope='module')
def cfg(repo_root, shapes_data):
    cfg = Config.fromfile(repo_root / 'configs/detectors/fcos_shapes.py')
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        dataset = cfg[name].dataset
        split = dataset.ann_file.rpartition('/')[2]
        dataset.ann_file = str(shapes_data / split)
        dataset.data_prefix = dict(video=str(shapes_data / 'vidor/video'))
    return cfg


@pytest.fixture(autouse=True)
def scope(cfg):
    """As the runner sets it."""
    import mmdet.datasets.transforms
    import mmdet.evaluation  # noqa: F401

    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        yield


@pytest.fixture
def model(cfg):
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    return model


@torch.no_grad()
def test_it_is_scored_without_a_file_of_coco(cfg, model):
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    batch = pseudo_collate([dataset[i] for i in range(4)])
    data = model.data_preprocessor(batch)
    samples = model.eval()(**data, mode='predict')
    metric = METRICS.build(cfg.test_evaluator)
    metric.dataset_meta = dataset.metainfo
    # The truth itself, so that there is something to find.
    for sample in samples:
        truth = sample.gt_instances
        truth.scores = torch.ones(len(truth))
        sample.pred_instances = truth
    metric.process({}, [sample.to_dict() for sample in samples])
    scores = metric.evaluate(4)
    assert scores[cfg.default_hooks.checkpoint.save_best] == 1


def test_hero_looks_through_the_same_detector(repo_root):
    configs = repo_root / 'configs'
    detector = Config.fromfile(configs / 'detectors/fcos_shapes.py')
    hero = Config.fromfile(configs / 'hero_detector_shapes.py')
    generator = hero.model.proposal_generator
    assert generator.detector.to_dict() == detector.model.to_dict()
    assert generator.checkpoint == 'work_dirs/fcos_shapes'
