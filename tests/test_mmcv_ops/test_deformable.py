"""Deformable convolution and attention beyond the recorded table."""

import types

import pytest
import torch
from torch.nn.functional import conv2d

from hero_mm.mmcv_ops import attention, common, deformable


def test_without_offsets_it_is_a_convolution(ours):
    layer = ours.DeformConv2d(4, 6, 3, 2, 1, groups=2, deform_groups=2)
    features = torch.randn(2, 4, 9, 8)
    offset = torch.zeros(2, 36, 5, 4)
    torch.testing.assert_close(
        layer(features, offset),
        conv2d(features, layer.weight, None, 2, 1, groups=2),
    )


def test_modulation_without_offsets_weighs_the_kernel(ours):
    features = torch.randn(1, 2, 5, 5)
    weight, bias = torch.randn(3, 2, 3, 3), torch.randn(3)
    mask = torch.rand(9)
    output = ours.modulated_deform_conv2d(
        features,
        torch.zeros(1, 18, 5, 5),
        mask.view(1, 9, 1, 1).expand(1, 9, 5, 5),
        weight,
        bias,
        1,
        1,
    )
    expected = conv2d(features, weight * mask.view(3, 3), bias, padding=1)
    torch.testing.assert_close(output, expected)


def test_offsets_are_row_then_column(ours):
    features = torch.arange(30.0).view(1, 1, 5, 6)
    layer = ours.DeformConv2d(1, 1, 1)
    layer.weight.data.fill_(1)
    offset = torch.tensor([1.0, 2.0]).view(1, 2, 1, 1).expand(1, 2, 5, 6)
    moved = layer(features, offset)
    assert torch.equal(moved[0, 0, :4, :4], features[0, 0, 1:, 2:])
    assert not moved[0, 0, 4].any() and not moved[0, 0, :, 4:].any()


def test_an_offset_of_the_wrong_shape_is_refused(ours):
    layer = ours.DeformConv2d(2, 2, 3, padding=1)
    with pytest.raises(ValueError, match=r'\(1, 9, 5, 5\).*\(1, 18, 5, 5\)'):
        layer(torch.randn(1, 2, 5, 5), torch.zeros(1, 9, 5, 5))
    with pytest.raises(ValueError, match=r'\(1, 18, 1, 1\)'):
        layer(torch.randn(1, 2, 5, 5), torch.zeros(1, 18, 1, 1))


def test_only_modulated_offsets_may_be_larger(ours):
    x = torch.randn(1, 2, 4, 4)
    weight = torch.randn(2, 2, 3, 3)
    larger, smaller = (
        (torch.zeros(1, 18, side, side), torch.ones(1, 9, side, side))
        for side in (8, 3)
    )
    told = ours.modulated_deform_conv2d(x, *larger, weight, None, 1, 1)
    torch.testing.assert_close(told, conv2d(x, weight, padding=1))
    with pytest.raises(ValueError, match=r'\(1, 18, 3, 3\)'):
        ours.modulated_deform_conv2d(x, *smaller, weight, None, 1, 1)
    with pytest.raises(ValueError, match=r'\(1, 18, 8, 8\)'):
        ours.DeformConv2d(2, 2, 3, padding=1)(x, larger[0])


def test_autocast_leaves_the_precision_alone(ours):
    layer = ours.DeformConv2d(2, 2, 3, padding=1)
    features, offset = torch.randn(1, 2, 5, 5), torch.randn(1, 18, 5, 5)
    expected = layer(features, offset)
    with torch.autocast('cpu', torch.bfloat16):
        output = layer(features, offset)
        output.sum().backward()
    assert torch.equal(output, expected)
    assert layer.weight.grad.abs().sum() > 0


def test_the_packed_layers_train(ours):
    for cls in (ours.DeformConv2dPack, ours.ModulatedDeformConv2dPack):
        layer = cls(4, 4, 3, padding=1)
        layer(torch.randn(2, 4, 5, 5)).square().sum().backward()
        assert all(p.grad.abs().sum() > 0 for p in layer.parameters())


def test_torchvision_convolves_where_it_imports(monkeypatch):
    calls = []

    def fake(*args, **kwargs):
        calls.append((args, kwargs))
        return torch.zeros(1, 3, 5, 5)

    vision = types.SimpleNamespace(deform_conv2d=fake)
    monkeypatch.setattr(common, 'torchvision_ops', lambda: vision)
    how = deformable._Geometry((1, 2), (3, 4), (5, 6))
    inputs = [torch.zeros(1, 1, 5, 5) for _ in range(5)]
    features, offset, weight, bias, mask = inputs
    deformable._deform_conv2d(*inputs, how, 1, (5, 5))
    ((args, kwargs),) = calls
    assert args[:4] == (features, offset, weight, bias)
    assert args[4:] == ((1, 2), (3, 4), (5, 6)) and kwargs['mask'] is mask


def slow_attention(value, shapes, starts, locations, weights):
    """One query, head, level and point at a time."""
    batch, _, heads, width = value.shape
    queries, levels, points = (locations.shape[i] for i in (1, 3, 4))
    output = torch.zeros(batch, queries, heads, width)
    for b, q, m, lv, p in torch.cartesian_prod(
        *(torch.arange(n) for n in (batch, queries, heads, levels, points))
    ).tolist():
        high, wide = shapes[lv].tolist()
        x, y = (
            locations[b, q, m, lv, p] * torch.tensor([wide, high])
        ).tolist()
        for row in range(high):
            for col in range(wide):
                near = max(1 - abs(y - 0.5 - row), 0) * max(
                    1 - abs(x - 0.5 - col), 0
                )
                cell = value[b, starts[lv] + row * wide + col, m]
                output[b, q, m] += near * weights[b, q, m, lv, p] * cell
    return output.flatten(2)


def test_attention_equals_the_definition(table):
    inputs = table.Inputs(seed=1)
    value, shapes, locations, weights = (
        tensor.detach() for tensor in table.attention_inputs(inputs)
    )
    starts = torch.tensor([0, 30])
    found = attention.ms_deform_attn_forward(
        value, shapes, starts, locations, weights, 64
    )
    expected = slow_attention(value, shapes, starts, locations, weights)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_attention_of_no_query():
    output = attention.ms_deform_attn_forward(
        torch.randn(1, 6, 2, 4),
        torch.tensor([[2, 3]]),
        torch.tensor([0]),
        torch.zeros(1, 0, 2, 1, 2, 2),
        torch.zeros(1, 0, 2, 1, 2),
        64,
    )
    assert output.shape == (1, 0, 8)


@pytest.mark.parametrize('dtype', [torch.half, torch.bfloat16])
@pytest.mark.parametrize('name', ['DeformConv2d', 'ModulatedDeformConv2d'])
def test_half_precision_finds_its_cells(name, dtype, ours):
    """Half precision has no numbers for the cells of a grid of 1200."""
    layer = getattr(ours, name)(2, 3, 3, padding=1)
    x, offset = torch.randn(2, 2, 30, 40), 2 * torch.randn(2, 18, 30, 40)
    maps = [x.to(dtype), offset.to(dtype)]
    if name == 'ModulatedDeformConv2d':
        maps.append(torch.rand(2, 9, 30, 40).to(dtype))
    layer = layer.to(dtype)
    told = layer(*maps)
    told.sum().backward()
    assert told.dtype == dtype and layer.weight.grad.isfinite().all()
    exact = layer.float()(*(value.float() for value in maps))
    torch.testing.assert_close(told.float(), exact, rtol=0.02, atol=0.02)
