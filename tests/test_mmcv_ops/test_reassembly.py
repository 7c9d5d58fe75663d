"""Masked convolution, CARAFE, temporal shift.

Compiled mmcv has no CPU kernel for these: they are checked against the
definition of its CUDA kernels, a cell at a time.
"""

import pytest
import torch
from torch.nn.functional import conv2d

from hero_mm.mmcv_ops import reassembly


@pytest.mark.parametrize('kernel, padding', [(1, 0), (3, 1), ((3, 5), (1, 2))])
def test_masked_convolution_is_a_convolution_where_the_mask_is(
    ours, kernel, padding
):
    layer = ours.MaskedConv2d(3, 4, kernel, padding=padding)
    features = torch.randn(1, 3, 6, 7)
    mask = torch.rand(1, 6, 7) > 0.5
    with torch.no_grad():
        found, whole = layer(features, mask), layer(features)
    expected = conv2d(features, layer.weight, layer.bias, padding=padding)
    torch.testing.assert_close(found, expected * mask)
    torch.testing.assert_close(whole, expected)
    assert not layer(features, torch.zeros(1, 6, 7)).any()


def slow_carafe(features, masks, kernel, groups, scale):
    batch, channels, height, width = features.shape
    output = torch.zeros(batch, channels, height * scale, width * scale)
    reach = (kernel - 1) // 2
    for c in range(channels):
        first = c // (channels // groups) * kernel**2
        for y in range(height * scale):
            for x in range(width * scale):
                for k in range(kernel**2):
                    row = y // scale + k // kernel - reach
                    col = x // scale + k % kernel - reach
                    if 0 <= row < height and 0 <= col < width:
                        output[:, c, y, x] += (
                            features[:, c, row, col]
                            * masks[:, first + k, y, x]
                        )
    return output


@pytest.mark.parametrize('kernel, groups, scale', [(3, 1, 2), (5, 2, 1)])
def test_carafe_equals_the_definition(ours, kernel, groups, scale):
    features = torch.randn(2, 4, 3, 4, requires_grad=True)
    size = (3 * scale, 4 * scale)
    masks = torch.rand(2, kernel**2 * groups, *size, requires_grad=True)
    found = ours.carafe(features, masks, kernel, groups, scale)
    expected = slow_carafe(features, masks, kernel, groups, scale)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    naive = ours.carafe_naive(features, masks, kernel, groups, scale)
    assert torch.equal(naive, found)
    direction = torch.randn_like(found)
    grads = torch.autograd.grad(found, [features, masks], direction)
    slow = torch.autograd.grad(expected, [features, masks], direction)
    torch.testing.assert_close(grads, slow, rtol=1e-5, atol=1e-5)


def test_carafe_pack_trains(ours):
    layer = ours.CARAFEPack(8, 2, up_kernel=3, compressed_channels=4)
    output = layer(torch.randn(1, 8, 4, 4))
    assert output.shape == (1, 8, 8, 8)
    output.square().sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in layer.parameters())


def test_temporal_shift_moves_groups(ours):
    clip = torch.randn(2, 5, 4, 3, requires_grad=True)
    shift = torch.tensor([[1, -2], [0, 9]], dtype=torch.int32)
    moved = ours.tin_shift(clip, shift)
    expected = torch.zeros_like(clip)
    for b, t, c in torch.cartesian_prod(
        torch.arange(2), torch.arange(5), torch.arange(4)
    ).tolist():
        arrives = t + shift[b, c // 2].item()
        if 0 <= arrives < 5:
            expected[b, arrives, c] = clip[b, t, c]
    assert torch.equal(moved, expected)
    direction = torch.randn_like(moved)
    (grad,) = torch.autograd.grad(moved, clip, direction)
    (slow,) = torch.autograd.grad(expected, clip, direction)
    assert torch.equal(grad, slow)


def test_the_shift_leaves_what_nothing_reaches():
    output = torch.full((1, 2, 2, 1), 7.0)
    clip = torch.tensor([[[1.0], [2.0]], [[3.0], [4.0]]])[None]
    shift = torch.tensor([[1]])
    reassembly.tin_shift_forward(clip, shift, output)
    assert output.flatten().tolist() == [7, 7, 1, 2]
