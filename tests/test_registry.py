"""The scope: what it holds, and how MMEngine finds it."""

import importlib
import logging

import mmengine.registry
import pytest
from mmengine.registry import DefaultScope, Registry

from hero_mm import registry

OURS = {
    name: value
    for name, value in vars(registry).items()
    if isinstance(value, Registry) and not name.startswith('MMENGINE_')
}


@pytest.fixture
def in_scope():
    with DefaultScope.overwrite_default_scope('hero_mm'):
        yield


def test_every_root_of_mmengine_has_a_child():
    roots = {
        name
        for name, value in vars(mmengine.registry).items()
        if isinstance(value, Registry)
    }
    assert roots - set(OURS) == set()


@pytest.mark.parametrize('name', sorted(OURS))
def test_child_hangs_below_its_root(name):
    child = OURS[name]
    assert child.scope == 'hero_mm'
    assert child.parent is getattr(mmengine.registry, name)
    assert child.parent.children['hero_mm'] is child


def test_locations_import():
    # A registry without one would be searched in hero_mm.utils, with a
    # warning.
    assert all(child._locations for child in OURS.values())
    for place in {p for child in OURS.values() for p in child._locations}:
        importlib.import_module(place)


@pytest.mark.parametrize(
    ('root', 'name'),
    [
        ('LOOPS', 'EpochBasedTrainLoop'),
        ('VISBACKENDS', 'LocalVisBackend'),
        ('HOOKS', 'CheckpointHook'),
        ('OPTIMIZERS', 'AdamW'),
    ],
)
def test_types_of_mmengine_are_found_in_scope_without_a_word(
    in_scope, caplog, root, name
):
    root = getattr(mmengine.registry, root)
    caplog.set_level(logging.WARNING)
    with root.switch_scope_and_registry(None) as child:
        assert child.scope == 'hero_mm'
        assert child.get(name) is not None
    assert caplog.messages == []


@pytest.mark.parametrize(
    ('root', 'name'),
    [
        ('METRICS', 'TubeMetric'),
        ('HOOKS', 'ProgressBarHook'),
        ('OPTIM_WRAPPERS', 'BFloat16OptimWrapper'),
        ('DATASETS', 'GroundingDataset'),
        ('MODELS', 'HERO'),
    ],
)
def test_ours_are_found_by_bare_name_and_by_prefix(in_scope, root, name):
    root = getattr(mmengine.registry, root)
    with root.switch_scope_and_registry(None) as child:
        found = child.get(name)
    assert found.__module__.startswith('hero_mm.')
    assert root.get(f'hero_mm.{name}') is found


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
    pytest.importorskip('mmdet.models')
    assert registry.in_own_scope(dict(type=kind)).get('_scope_') == scope


def test_a_class_of_the_family_has_its_scope():
    models = pytest.importorskip('mmdet.models')
    config = registry.in_own_scope(dict(type=models.RPNHead))
    assert config == dict(type=models.RPNHead, _scope_='mmdet')
