"""What is served as ``mmcv._ext``."""

import inspect
import re
import sys

import pytest

from hero_mm.mmcv_ops import OPERATORS, MMCVExtension


def test_an_absent_operator_names_itself_and_the_cure():
    module = MMCVExtension('mmcv._ext')
    with pytest.raises(NotImplementedError, match='psamask_forward.*compiled'):
        module.psamask_forward(1)
    assert not hasattr(module, '__path__')


def test_operators_are_served_under_their_names():
    module = MMCVExtension('mmcv._ext')
    for name, operator in OPERATORS.items():
        assert getattr(module, name) is operator
    assert 'plain PyTorch' in module.get_compiler_version()
    assert module.get_compiling_cuda_version() == 'not available'


def test_every_operator_takes_what_mmcv_gives(ours):
    """The keyword names in ``mmcv.ops`` are those of our signatures."""
    called = set()
    for path, module in list(sys.modules.items()):
        if not path.startswith('mmcv.ops.') or 'ext_module' not in vars(
            module
        ):
            continue
        source = inspect.getsource(module)
        for name, arguments in re.findall(
            r'ext_module\.(\w+)\(((?:[^()]|\([^()]*\))*)\)', source
        ):
            if name not in OPERATORS:
                continue
            called.add(name)
            accepted = inspect.signature(OPERATORS[name]).parameters
            given = set(re.findall(r'(\w+)=', arguments))
            assert given <= set(accepted), (name, given - set(accepted))
    assert called == set(OPERATORS)
