"""Our operators give what compiled mmcv 2.1.0 gave, gradients too."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from hero_mm.compat import has_compiled_mmcv

SCRIPT = Path(__file__).parent.parent / 'mmcv_ops_table.py'


def case_names():
    spec = importlib.util.spec_from_file_location('table_names', SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return list(module.CASES)


def assert_recorded(table, name):
    expected, found = table.read()[name], table.run(name)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_allclose(
            found[key], value, rtol=1e-5, atol=1e-5, err_msg=f'{name}/{key}'
        )


@pytest.mark.parametrize('name', case_names())
def test_ours_agree_with_compiled_mmcv(ours, table, name):
    assert_recorded(table, name)


@pytest.mark.skipif(not has_compiled_mmcv(), reason='needs compiled mmcv')
@pytest.mark.parametrize('name', case_names())
def test_compiled_mmcv_still_gives_the_table(table, name):
    assert_recorded(table, name)


def test_the_table_is_small_and_of_these_cases(table):
    assert set(table.read()) == set(table.CASES)
    assert table.TABLE.stat().st_size < 300_000


def test_the_table_holds_gradients_that_are_not_zero(table):
    stored = table.read()
    for name in ('roi_align', 'deform_conv', 'attention'):
        grads = [v for k, v in stored[name].items() if k.startswith('grad')]
        assert grads and all(np.abs(grad).max() > 0.1 for grad in grads)


def test_attention_of_accelerators_agrees_with_that_of_the_cpu(ours, table):
    inputs = table.Inputs(table.seed('attention'))
    value, shapes, locations, weights = table.attention_inputs(inputs)
    starts = torch.tensor([0, 30])
    function = ours.multi_scale_deform_attn.MultiScaleDeformableAttnFunction
    output = function.apply(value, shapes, starts, locations, weights, 64)
    expected = table.read()['attention']
    for key, found in inputs.backward(output).items():
        np.testing.assert_allclose(
            found, expected[key], rtol=1e-5, atol=1e-5, err_msg=key
        )


@pytest.mark.skipif(has_compiled_mmcv(), reason='would renew the table')
def test_renewing_without_compiled_mmcv_is_refused():
    pytest.importorskip('mmcv')
    done = subprocess.run(
        [sys.executable, str(SCRIPT), '--renew'],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert 'docs/install.md' in done.stderr
