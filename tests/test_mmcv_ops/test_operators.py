"""The operators: what compiled mmcv 2.1.0 gave, definitions, and by hand."""

import importlib.util
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import conv2d

from hero_mm.compat import has_compiled_mmcv
from hero_mm.mmcv_ops import FUNCTIONS, MMCVExtension, common, suppression

SCRIPT = Path(__file__).parent.parent / 'mmcv_ops_table.py'
SPEC = importlib.util.spec_from_file_location('mmcv_ops_table', SCRIPT)
table = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(table)


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
    for name, functions in FUNCTIONS.items():
        for key, function in functions.items():
            monkeypatch.setattr(sys.modules[name], key, function)
            monkeypatch.setattr(ops, key, function, raising=False)
    return ops


def assert_recorded(name, found):
    expected = table.read()[name]
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_allclose(
            found[key], value, rtol=1e-5, atol=1e-5, err_msg=f'{name}/{key}'
        )


@pytest.mark.parametrize('name', table.CASES)
def test_ours_agree_with_compiled_mmcv(ours, name):
    assert_recorded(name, table.run(name))


@pytest.mark.skipif(not has_compiled_mmcv(), reason='needs compiled mmcv')
@pytest.mark.parametrize('name', table.CASES)
def test_compiled_mmcv_still_gives_the_table(name):
    assert_recorded(name, table.run(name))


def test_attention_of_accelerators_agrees_with_that_of_the_cpu(ours):
    inputs = table.inputs_of('attention')
    value, shapes, locations, weights = table.attention_inputs(inputs)
    starts = torch.tensor([0, 30])
    function = ours.multi_scale_deform_attn.MultiScaleDeformableAttnFunction
    output = function.apply(value, shapes, starts, locations, weights, 64)
    assert_recorded('attention', inputs.backward(output))


def test_the_extension_serves_operators_and_refuses_the_rest(ours):
    module = MMCVExtension('mmcv._ext')
    assert module.nms is suppression.nms
    for name in ('carafe_forward', 'tin_shift_forward', 'roi_pool_forward'):
        with pytest.raises(
            NotImplementedError, match=rf'_ext\.{name} .*Install mmcv 2\.1\.0'
        ):
            getattr(module, name)(1)
    assert not hasattr(module, '__path__')
    assert 'plain PyTorch' in module.get_compiler_version()
    layer = ours.RoIAlign(2, 1.0, 2, pool_mode='max')
    with pytest.raises(NotImplementedError, match='compiled mmcv'):
        layer(torch.ones(1, 1, 6, 6), torch.zeros(1, 5))


@pytest.mark.parametrize(
    ('boxes', 'threshold', 'kept'),
    [
        # Dropped strictly above the threshold.
        ([[0.0, 0, 2, 1], [0.0, 0, 2, 2]], 0.5, [1, 0]),
        ([[0.0, 0, 2, 1], [0.0, 0, 2, 2]], 0.49, [1]),
        # Without area.
        ([[1.0, 1, 1, 1], [1.0, 1, 1, 1]], 0.5, [1, 0]),
    ],
)
def test_nms_by_hand(ours, boxes, threshold, kept):
    scores = torch.tensor([0.1, 0.2])
    found = suppression.nms(torch.tensor(boxes), scores, threshold)
    assert found.tolist() == kept


def test_an_offset_of_the_wrong_shape_is_refused(ours):
    x, weight = torch.randn(1, 2, 4, 4), torch.randn(2, 2, 3, 3)
    for shape in ((9, 4, 4), (18, 1, 1), (18, 8, 8)):
        with pytest.raises(ValueError, match=r'\(1, 18, 4, 4\) fits'):
            ours.deform_conv2d(x, torch.zeros(1, *shape), weight, 1, 1)
    for side in (8, 3):
        maps = torch.zeros(1, 18, side, side), torch.ones(1, 9, side, side)
        if side == 3:
            with pytest.raises(ValueError, match=r'\(1, 18, 3, 3\)'):
                ours.modulated_deform_conv2d(x, *maps, weight, None, 1, 1)
            continue
        # Modulated offsets may be larger.
        found = ours.modulated_deform_conv2d(x, *maps, weight, None, 1, 1)
        torch.testing.assert_close(found, conv2d(x, weight, padding=1))


@pytest.mark.parametrize('name', ['DeformConv2d', 'ModulatedDeformConv2d'])
def test_autocast_leaves_them_alone(ours, name):
    layer = getattr(ours, name)(2, 2, 3, padding=1)
    maps = [torch.randn(2, 2, 5, 5), torch.randn(2, 18, 5, 5)]
    maps += [torch.rand(2, 9, 5, 5)] * (name[0] == 'M')
    expected = layer(*maps)
    with torch.autocast('cpu', torch.bfloat16):
        output = layer(*maps)
        output.sum().backward()
    assert torch.equal(output, expected)


@pytest.mark.parametrize('dtype', [torch.half, torch.bfloat16])
def test_half_precision_finds_its_cells(dtype, ours):
    """Half precision has no numbers for the cells of a grid of 1200."""
    layer = ours.ModulatedDeformConv2d(2, 3, 3, padding=1).to(dtype)
    x = torch.randn(2, 2, 30, 40).to(dtype)
    maps = [2 * torch.randn(2, 18, 30, 40), torch.rand(2, 9, 30, 40)]
    maps = [x, *(value.to(dtype) for value in maps)]
    found = layer(*maps)
    found.sum().backward()
    assert found.dtype == dtype and layer.weight.grad.isfinite().all()
    exact = layer.float()(*(value.float() for value in maps))
    torch.testing.assert_close(found.float(), exact, rtol=0.02, atol=0.02)
    rois, layer = torch.tensor([[0.0, 1, 1, 5, 6]]), ours.RoIAlign(2)
    pooled = layer(x, rois.to(dtype))
    assert pooled.dtype == dtype
    torch.testing.assert_close(
        pooled.float(), layer(x.float(), rois), rtol=0.01, atol=0.01
    )


@pytest.mark.parametrize('reduction', ['none', 'mean', 'sum'])
@pytest.mark.parametrize('weighted', [False, True])
@pytest.mark.parametrize('gamma', [0.0, 1.5])
def test_focal_loss_equals_the_definition(ours, gamma, weighted, reduction):
    """Compiled mmcv has no kernel for a CPU."""
    generator = torch.Generator().manual_seed(3)
    logits = (torch.randn(12, 5, generator=generator) * 3).requires_grad_()
    # Class 5 is background, which has no weight.
    target = torch.randint(0, 6 - weighted, (12,), generator=generator)
    weight = torch.rand(5, generator=generator) if weighted else None
    found = ours.sigmoid_focal_loss(
        logits, target, gamma, 0.25, weight, reduction
    )
    probability = logits.double().sigmoid()
    right = target[:, None] == torch.arange(5)
    p = torch.where(right, probability, 1 - probability)
    expected = -torch.where(right, 0.25, 0.75) * (1 - p) ** gamma * p.log()
    if weighted:
        expected = expected * weight[target][:, None]
    if reduction != 'none':
        expected = expected.sum() / (12 if reduction == 'mean' else 1)
    torch.testing.assert_close(found, expected.float(), rtol=1e-5, atol=1e-5)
    (grad,) = torch.autograd.grad(found.sum(), logits, retain_graph=True)
    (wanted,) = torch.autograd.grad(expected.sum(), logits)
    torch.testing.assert_close(grad, wanted, rtol=1e-5, atol=1e-5)


def test_far_logits_stay_finite_and_exact(ours):
    logits = torch.tensor([[200.0, -200.0], [-200.0, 0.0]])
    logits.requires_grad_()
    loss = ours.sigmoid_focal_loss(
        logits, torch.tensor([1, 1]), 2.0, 0.25, None, 'none'
    )
    expected = [[150.0, 50.0], [0.0, 0.25 * 0.25 * 0.6931472]]
    torch.testing.assert_close(loss, torch.tensor(expected))
    loss.sum().backward()
    assert logits.grad.isfinite().all()


def test_torchvision_computes_where_it_imports(ours, monkeypatch):
    """With its own conventions; the border is ours there, too."""
    calls = {}

    def deform_conv2d(features, offset, weight, *args, **kwargs):
        calls['conv'] = args
        # As if each offset counted.
        return offset.sum(1, keepdim=True) + 0 * features.sum() * weight

    def roi_align(features, rois, *args):
        calls['align'] = (features.dtype, rois.dtype, *args)
        return features[:, :, :2, :2]

    vision = types.SimpleNamespace(
        deform_conv2d=deform_conv2d,
        roi_align=roi_align,
        nms=lambda *args: calls.setdefault('nms', args)[0],
    )
    monkeypatch.setattr(common, 'torchvision_ops', lambda: vision)
    suppression.nms(torch.tensor([[0.0, 0, 2, 2]]), torch.ones(1), 0.5, 1)
    assert calls['nms'][0].tolist() == [[0, 0, 3, 3]]
    pooled = ours.RoIAlign(2, 1.0, 0)(
        torch.ones(1, 1, 6, 6).bfloat16(), torch.zeros(1, 5).bfloat16()
    )
    assert pooled.dtype == torch.bfloat16
    # It takes one type, and chooses the number of samples at -1, mmcv at 0.
    float32 = torch.float32
    assert calls['align'] == (float32, float32, (2, 2), 1.0, -1, True)
    offset = torch.zeros(1, 2, 5, 5, requires_grad=True)
    x, weight = torch.ones(1, 1, 3, 3), torch.ones(1, 1, 1, 1)
    ours.deform_conv2d(x, offset, weight, 1, 1).sum().backward()
    inside = torch.zeros(5, 5)
    inside[1:4, 1:4] = 1
    assert torch.equal(offset.grad[0], inside.expand(2, 5, 5))
    assert calls['conv'] == (None, (1, 1), (1, 1), (1, 1))
