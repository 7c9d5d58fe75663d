"""The scope: what it holds, and how MMEngine finds it."""

import importlib
import logging

import mmengine.registry
import pytest
from mmengine.registry import DefaultScope, Registry

from hero_mm import registry


@pytest.fixture
def in_scope():
    with DefaultScope.overwrite_default_scope('hero_mm'):
        yield


def test_every_root_of_mmengine_has_a_child():
    roots = {
        name: value
        for name, value in vars(mmengine.registry).items()
        if isinstance(value, Registry)
    }
    for name, root in roots.items():
        child = getattr(registry, name)
        assert child.scope == 'hero_mm' and child.parent is root
        assert root.children['hero_mm'] is child
        # Without one it would be searched in hero_mm.utils, with a warning.
        assert child._locations
        for place in child._locations:
            importlib.import_module(place)


@pytest.mark.parametrize(
    ('root', 'name', 'is_ours'),
    [
        ('LOOPS', 'EpochBasedTrainLoop', False),
        ('VISBACKENDS', 'LocalVisBackend', False),
        ('HOOKS', 'CheckpointHook', False),
        ('OPTIMIZERS', 'AdamW', False),
        ('METRICS', 'TubeMetric', True),
        ('HOOKS', 'ProgressBarHook', True),
        ('OPTIM_WRAPPERS', 'BFloat16OptimWrapper', True),
        ('DATASETS', 'GroundingDataset', True),
        ('MODELS', 'HERO', True),
    ],
)
def test_types_are_found_in_scope_without_a_word(
    in_scope, caplog, root, name, is_ours
):
    root = getattr(mmengine.registry, root)
    caplog.set_level(logging.WARNING)
    with root.switch_scope_and_registry(None) as child:
        assert child.scope == 'hero_mm'
        found = child.get(name)
    assert found.__module__.startswith('hero_mm.') is is_ours
    assert not is_ours or root.get(f'hero_mm.{name}') is found
    assert caplog.messages == []


def test_the_family_is_found_by_prefix(in_scope):
    pytest.importorskip('mmdet')
    assert registry.MODELS.get('mmdet.ResNet').__module__.startswith('mmdet')


def test_inferencers_know_the_scope():
    from mmengine.infer.infer import MODULE2PACKAGE

    assert MODULE2PACKAGE['hero_mm'] == 'hero-mm'


@pytest.mark.parametrize(
    ('kind', 'scope'),
    [
        ('mmdet.RPNHead', 'mmdet'),
        ('mmdet.models.RPNHead', 'mmdet'),
        ('RPNHead', None),
        (dict, None),
    ],
)
def test_parts_are_of_the_package_of_a_component(kind, scope):
    models = pytest.importorskip('mmdet.models')
    assert registry.in_own_scope(dict(type=kind)).get('_scope_') == scope
    config = registry.in_own_scope(dict(type=models.RPNHead))
    assert config == dict(type=models.RPNHead, _scope_='mmdet')
