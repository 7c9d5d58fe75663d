"""Shims: each in this process where it can be, in a fresh one where not."""

import importlib
import importlib.util
import sys
import types
from importlib.metadata import PackageNotFoundError, distributions

import pytest
import torch
from mmengine.config import Config
from programs import run_program

from hero_mm import compat
from hero_mm.mmcv_ops import MMCVExtension


def needs(module):
    absent = importlib.util.find_spec(module) is None
    return pytest.mark.skipif(absent, reason=f'needs {module}')


def in_fresh_python(*words):
    return run_program('-c', *words).stdout


@pytest.fixture
def module_on_disk(tmp_path, monkeypatch):
    (tmp_path / 'hero_mm_probe.py').write_text('value = 1\n')
    monkeypatch.syspath_prepend(tmp_path)
    yield 'hero_mm_probe'
    sys.modules.pop('hero_mm_probe', None)
    for name in ('hero_mm_probe', 'hero_mm_nowhere'):
        compat._AFTER_IMPORT.actions.pop(name, None)


def test_action_runs_after_the_module(module_on_disk):
    seen = []
    compat.after_import(module_on_disk, lambda m: seen.append(m.value))
    assert seen == []
    # A look at the spec is not an import, and does not lose the action.
    assert importlib.util.find_spec(module_on_disk) is not None
    importlib.import_module(module_on_disk)
    assert seen == [1]
    compat.after_import(module_on_disk, lambda m: seen.append(m.value))
    assert seen == [1, 1]
    compat.after_import('hero_mm_nowhere', lambda m: None)
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module('hero_mm_nowhere')


@pytest.fixture
def fake_mmcv(tmp_path, monkeypatch):
    monkeypatch.setattr(compat, 'package_folder', lambda name: tmp_path)
    monkeypatch.setitem(sys.modules, 'mmcv', types.ModuleType('mmcv'))
    monkeypatch.delitem(sys.modules, 'mmcv._ext', raising=False)
    yield tmp_path
    sys.modules.pop('mmcv._ext', None)


def test_ext_is_served_to_mmcv_lite_alone(fake_mmcv, monkeypatch):
    for _ in range(2):
        compat.provide_mmcv_ext()
        module = sys.modules['mmcv._ext']
        assert isinstance(module, MMCVExtension)
    # MMEngine asks so whether the operators are compiled.
    assert importlib.util.find_spec('mmcv._ext').loader is None
    del sys.modules['mmcv._ext']
    suffix = importlib.machinery.EXTENSION_SUFFIXES[0]
    (fake_mmcv / f'_ext{suffix}').touch()
    assert compat.has_compiled_mmcv()
    compat.provide_mmcv_ext()
    monkeypatch.setattr(compat, 'package_folder', lambda name: None)
    compat.provide_mmcv_ext()
    assert 'mmcv._ext' not in sys.modules
    assert not compat.has_compiled_mmcv()


@pytest.mark.parametrize('compiled', [True, False])
def test_compiled_operators_get_single_precision(monkeypatch, compiled):
    class NMSop:
        @staticmethod
        def forward(context, *given):
            return [getattr(one, 'dtype', one) for one in given]

    kinds = []
    for name, keys in compat._CASTS.items():
        module = types.ModuleType(name)
        vars(module).update(dict.fromkeys(keys, NMSop))
        monkeypatch.setitem(sys.modules, name, module)
    align = sys.modules['mmcv.ops.roi_align']
    align.roi_align = lambda x, rois: kinds.append(x.dtype) or x * rois.sum()
    monkeypatch.setattr(compat, 'has_compiled_mmcv', lambda: compiled)
    for _ in range(2):
        compat.cast_for_compiled_mmcv()
    for kind in (torch.bfloat16, torch.half, torch.double):
        wanted = torch.float32 if compiled and kind != torch.double else kind
        boxes = torch.zeros(2, 4, dtype=kind)
        assert NMSop.forward(None, boxes, 0.5) == [wanted, 0.5]
        x = torch.ones(1, dtype=kind, requires_grad=True)
        out = align.roi_align(x, boxes)
        out.sum().backward()
        assert out.dtype == x.grad.dtype == kind
        # RoIAlign has half precision.
        assert kinds.pop() == (kind if kind == torch.half else wanted)


def test_drn_is_served_where_it_is_missing(tmp_path, monkeypatch):
    name = 'mmaction.models.localizers.drn'
    monkeypatch.setattr(compat, 'package_folder', lambda name: tmp_path)
    for module in (name, f'{name}.drn'):
        monkeypatch.delitem(sys.modules, module, raising=False)
    folder = tmp_path / 'models/localizers/drn'
    folder.mkdir(parents=True)
    compat.provide_drn()
    assert name not in sys.modules
    folder.rmdir()
    compat.provide_drn()
    with pytest.raises(NotImplementedError, match='put that folder into'):
        sys.modules[f'{name}.drn'].DRN(1, depth=2)


def test_each_package_is_asked_for_what_it_needs(monkeypatch):
    """mmpretrain does without timm."""
    names = types.ModuleType('transformers.modeling_utils')
    names.apply_chunking_to_forward = None
    names.find_pruneable_heads_and_indices = None
    monkeypatch.setitem(sys.modules, names.__name__, names)
    monkeypatch.setitem(sys.modules, 'timm', None)
    for package, imports in (('mmaction', False), ('mmpretrain', True)):
        module = types.ModuleType(f'{package}.utils.dependency')
        module.WITH_MULTIMODAL = True
        monkeypatch.setitem(sys.modules, module.__name__, module)
        compat.disable_multimodal()
        assert module.WITH_MULTIMODAL is imports


@pytest.fixture
def fake_bert(monkeypatch):
    """A module like mmdet's, of the simplest parts."""
    pytest.importorskip('transformers')
    module = types.ModuleType('mmdet.models.language_models.bert')
    module.AutoTokenizer = object()

    class Tokenizer:
        def __call__(self, captions):
            return captions

    class BertModel:
        def __init__(self):
            self.tokenizer = Tokenizer()

    class BertEncoder:
        def __init__(self):
            self.model = torch.nn.Linear(1, 1)

    module.BertModel, module.BertEncoder = BertModel, BertEncoder
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


def test_grounding_dino_is_fitted_to_transformers_5(fake_bert, monkeypatch):
    """Not with transformers 4, nor with None in its place in mmdet."""
    tokenizer = fake_bert.AutoTokenizer
    for name, is_5 in ((tokenizer, False), (None, True), (tokenizer, True)):
        assert not fake_bert.BertEncoder().model._forward_pre_hooks
        monkeypatch.setattr(fake_bert, 'AutoTokenizer', name)
        monkeypatch.setattr(
            compat, '_lacks_batch_encode_plus', lambda is_5=is_5: is_5
        )
        for _ in range(2):
            compat.fit_grounding_dino()
    tokenizer = fake_bert.BertModel().tokenizer
    assert tokenizer.batch_encode_plus(['a cup']) == ['a cup']
    assert len(fake_bert.BertEncoder().model._forward_pre_hooks) == 1


def test_masks_of_tokens_get_an_axis_for_the_heads():
    model = types.SimpleNamespace(dtype=torch.float32)
    mask = torch.tensor([[[True, False], [True, True]]])
    _, kwargs = compat._mask_of_four_axes(model, (), dict(attention_mask=mask))
    added = kwargs['attention_mask']
    assert added.shape == (1, 1, 2, 2) and added.dtype == torch.float32
    assert (added == 0).flatten().tolist() == mask.flatten().tolist()
    assert added[0, 0, 0, 1] < -1e30 and added.isfinite().all()
    flat = dict(attention_mask=torch.ones(1, 2))
    assert compat._mask_of_four_axes(model, (), flat)[1] is flat


def test_installed_packages_are_found(repo_root, tmp_path, monkeypatch):
    from mmengine.utils import package_utils

    (tmp_path / 'spread_over').mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    # Where setuptools has pkg_resources, MMEngine's own functions stay.
    for module in (compat, package_utils):
        assert module.is_installed('mmengine')
        assert not module.is_installed('hero_mm_nowhere')
        assert not module.is_installed('spread_over')
        # Also where the module has another name.
        assert all(module.is_installed(one.name) for one in distributions())
        found = module.get_installed_path('hero_mm')
        assert found == str(repo_root / 'hero_mm')
        with pytest.raises(RuntimeError, match='spread_over is a namespace'):
            module.get_installed_path('spread_over')
    with pytest.raises(PackageNotFoundError, match='no-such'):
        compat.get_installed_path('no-such')
    assert compat.get_installed_path('pyyaml').endswith('yaml')


def test_the_hub_registers_what_there_is():
    from mmengine.registry import DefaultScope

    from hero_mm.registry import METRICS, MODELS
    from hero_mm.utils import register_all_modules

    register_all_modules()
    assert 'HERO' in MODELS.module_dict and 'TubeMetric' in METRICS
    assert DefaultScope.get_current_instance().scope_name == 'hero_mm'


@needs('mmdet')
def test_a_base_of_another_package(tmp_path):
    path = tmp_path / 'config.py'
    path.write_text("_base_ = 'mmdet::_base_/models/retinanet_r50_fpn.py'\n")
    assert Config.fromfile(str(path)).model.type == 'RetinaNet'


def test_scope_is_known_to_mmengine():
    from mmengine.config.utils import MODULE2PACKAGE

    assert MODULE2PACKAGE['hero_mm'] == 'hero-mm'
    assert MODULE2PACKAGE['mmdet'] == 'mmdet'


@pytest.mark.parametrize(
    ('launcher', 'device', 'said'),
    [
        ('none', 'cpu', None),
        ('pytorch', 'cuda', None),
        ('slurm', 'cpu', "'slurm': no accelerator is found"),
        ('pytorch', 'cpu', 'those of torchrun'),
    ],
)
def test_launchers(monkeypatch, launcher, device, said):
    monkeypatch.setattr('mmengine.device.get_device', lambda: device)
    monkeypatch.delenv('RANK', raising=False)
    cfg = Config(dict(launcher=launcher))
    if said is None:
        compat.init_cpu_launcher(cfg)
    else:
        with pytest.raises(ValueError, match=said):
            compat.init_cpu_launcher(cfg)
    assert 'model_wrapper_cfg' not in cfg


def test_the_wrapper_gets_no_device_and_keeps_its_options(monkeypatch):
    monkeypatch.setattr('mmengine.device.get_device', lambda: 'cpu')
    monkeypatch.setenv('RANK', '0')
    monkeypatch.setattr(torch.distributed, 'is_initialized', lambda: True)
    cfg = Config(dict(launcher='pytorch', find_unused_parameters=True))
    compat.init_cpu_launcher(cfg)
    assert cfg.model_wrapper_cfg == dict(
        type='MMDistributedDataParallel',
        broadcast_buffers=False,
        find_unused_parameters=True,
        device_ids=None,
    )


FAMILY = """
import sys
import time
import mmengine.registry, torch
start = time.perf_counter()
import hero_mm
assert time.perf_counter() - start < 1.5, 'import hero_mm is slow'
eager = {'mmcv', 'mmdet', 'mmaction', 'transformers'} & set(sys.modules)
assert not eager, eager
import mmdet.models, mmaction.models
from mmcv.ops import RoIAlign, batched_nms, carafe
from mmaction.registry import MODELS
assert MODELS.get('ResNet3dSlowOnly') is not None
boxes = torch.tensor([[0., 0, 4, 4], [0, 0, 4, 3.9], [9, 9, 12, 12]])
scores = torch.tensor([.9, .8, .7])
cfg = dict(type='nms', iou_threshold=.5)
kept = batched_nms(boxes, scores, torch.zeros(3), cfg)[1].tolist()
assert kept == [0, 2], kept
features = torch.ones(1, 2, 8, 8, requires_grad=True)
pooled = RoIAlign(2)(features, torch.tensor([[0., 1, 1, 6, 6]]))
pooled.sum().backward()
assert abs(features.grad.sum() - pooled.numel()) < 1e-4
from mmengine.model.utils import revert_sync_batchnorm
revert_sync_batchnorm(torch.nn.SyncBatchNorm(2))
from mmcv.utils import collect_env
print(collect_env()['MMCV Compiler'])
"""


@pytest.mark.slow
@needs('mmdet')
@needs('mmaction')
def test_the_family_imports_and_runs():
    in_fresh_python(FAMILY)


ALONE = """
import sys
from importlib.abc import MetaPathFinder
class Absent(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in sys.argv[1:]:
            raise ModuleNotFoundError(f'No module named {name}', name=name)
sys.meta_path.insert(0, Absent())
import hero_mm, hero_mm.cli, hero_mm.doctor
from hero_mm.registry import MODELS
print(hero_mm.__version__)
"""


def test_import_without_the_family():
    absent = ('mmcv', 'mmdet', 'mmaction', 'transformers')
    assert in_fresh_python(ALONE, *absent).strip()
