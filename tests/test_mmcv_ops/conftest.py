"""The operators of hero_mm under ``mmcv.ops``, whichever mmcv is there."""

import importlib.util
import sys
from pathlib import Path

import pytest

from hero_mm.mmcv_ops import MMCVExtension, common


@pytest.fixture(scope='session')
def table():
    """The script that makes and reads the table of compiled outputs."""
    path = Path(__file__).parent.parent / 'mmcv_ops_table.py'
    spec = importlib.util.spec_from_file_location('mmcv_ops_table', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture()
def plain(monkeypatch):
    """As where torchvision does not import."""
    monkeypatch.setattr(common, 'torchvision_ops', lambda: None)


@pytest.fixture(params=['plain', 'torchvision'])
def ours(request, monkeypatch):
    """``mmcv.ops`` over our operators, with and without torchvision."""
    ops = pytest.importorskip('mmcv.ops')
    if request.param == 'plain':
        monkeypatch.setattr(common, 'torchvision_ops', lambda: None)
    elif common.torchvision_ops() is None:
        pytest.skip('torchvision does not import here')
    extension = MMCVExtension('mmcv._ext')
    for name, module in list(sys.modules.items()):
        if name.startswith('mmcv.ops.') and hasattr(module, 'ext_module'):
            monkeypatch.setattr(module, 'ext_module', extension)
    return ops
