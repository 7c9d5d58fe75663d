"""Attention of a frame and of all tokens, against plain references."""

import math

import pytest
import torch
from torch import nn

from hero_mm.models.layers import (
    Attention,
    JointLayer,
    SpatialAttention,
    TimeBias,
    temporal_shift,
)

D = 8


def slow_attention(layer: Attention, x, bias=0.0):
    """Multi-head attention head by head, from its formula."""
    q, k, v = layer.query_key_value(x).chunk(3, -1)
    width = x.shape[-1] // layer.num_heads
    bias = torch.as_tensor(bias).expand(len(x), layer.num_heads, -1, -1)
    heads = []
    for head in range(layer.num_heads):
        part = slice(head * width, (head + 1) * width)
        logits = q[..., part] @ k[..., part].transpose(-1, -2)
        logits = logits / width**0.5 + bias[:, head]
        heads.append(logits.softmax(-1) @ v[..., part])
    return layer.out(torch.cat(heads, -1))


def build(kind, *args):
    torch.manual_seed(0)
    layer = kind(D, 2, *args)
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.5)
    return layer.eval()


@torch.no_grad()
def test_attention_is_the_formula():
    layer, x = build(Attention), torch.randn(3, 6, D)
    torch.testing.assert_close(layer(x), slow_attention(layer, x, [[0.0]]))
    bias = torch.randn(3, 2, 6, 6)
    wanted = slow_attention(layer, x, bias)
    torch.testing.assert_close(layer(x, bias), wanted)
    hidden = torch.rand(3, 1, 1, 6) < 0.4
    hidden[..., 0] = False
    bias = torch.zeros(3, 1, 1, 6).masked_fill(hidden, float('-inf'))
    wanted = slow_attention(layer, x, bias)
    torch.testing.assert_close(layer(x, ~hidden), wanted)


@torch.no_grad()
def test_joint_layer_sees_real_tokens_only():
    layer = build(JointLayer, 2.0)
    tokens, real = torch.randn(2, 5, D), torch.ones(2, 5).bool()
    real[0, 3:] = False
    got = layer(tokens, real)
    torch.testing.assert_close(
        got[:1, :3], layer(tokens[:1, :3], real[:1, :3])
    )
    torch.testing.assert_close(got[1:], layer(tokens[1:], real[1:]))
    other = tokens.clone()
    other[1, 4] += torch.randn(D)
    assert ((layer(other, real) - got)[1].abs().amax(-1) > 1e-6).all()


# --- the regions of a frame -------------------------------------------------


@torch.no_grad()
def test_space_is_attention_among_the_regions_of_a_frame():
    layer = build(SpatialAttention)
    x, mask = torch.randn(2, 3, 5, D), torch.rand(2, 3, 5) < 0.6
    mask[..., 1] = True
    got = layer(x, mask)
    for q, t in ((q, t) for q in range(2) for t in range(3)):
        present = layer.norm(x[q, t][mask[q, t]])[None]
        wanted = slow_attention(layer.attention, present, [[0.0]])[0]
        torch.testing.assert_close(
            got[q, t][mask[q, t]], wanted, atol=1e-5, rtol=1e-4
        )


@torch.no_grad()
def test_a_frame_sees_itself_alone():
    layer, mask = build(SpatialAttention), torch.ones(1, 4, 3).bool()
    x = torch.randn(1, 4, 3, D)
    other = x.clone()
    other[0, 2, 1] += torch.randn(D)
    moved = (layer(x, mask) - layer(other, mask)).abs().amax(-1)[0] > 1e-6
    assert moved.nonzero().tolist() == [[2, 0], [2, 1], [2, 2]]


def test_a_frame_without_regions_is_finite():
    layer, mask = build(SpatialAttention), torch.zeros(1, 2, 3).bool()
    mask[0, 1] = True
    x = torch.randn(1, 2, 3, D, requires_grad=True)
    got = layer(x, mask)
    got.square().sum().backward()
    assert got.isfinite().all()
    assert x.grad.isfinite().all()


# --- neighbours in time -----------------------------------------------------


def test_shift_looks_back_and_ahead():
    x = torch.arange(1.0, 5).view(1, 4, 1).repeat(1, 1, 5)
    got = temporal_shift(x, 1)
    assert got[0, :, 0].tolist() == [0, 1, 2, 3]
    assert got[0, :, 1].tolist() == [2, 3, 4, 0]
    assert torch.equal(got[..., 2:], x[..., 2:])


@pytest.mark.parametrize('dim', [-1, 2, 3])
def test_shift_along_any_axis_of_channels(dim):
    x = torch.randn(2, 5, 6, 7, 8)
    wanted = temporal_shift(x.movedim(dim, -1), 2).movedim(-1, dim)
    assert torch.equal(temporal_shift(x, 2, dim=dim), wanted)


def softplus(value: float) -> float:
    return math.log1p(math.exp(value))


@torch.no_grad()
def test_time_bias_agrees_with_a_loop_over_pairs():
    torch.manual_seed(0)
    bias = TimeBias(5)
    for parameter in bias.parameters():
        parameter += 0.3 * torch.randn_like(parameter)
    times = torch.tensor([[0.0, 1, 2, 7], [3, 4, 9, 10]])
    got = bias(times)
    assert got.shape == (2, 5, 4, 4)
    for row, head in ((row, head) for row in range(2) for head in range(5)):
        decay = softplus(bias.decay[head].item())
        for i, here in enumerate(times[row].tolist()):
            for j, there in enumerate(times[row].tolist()):
                wanted = -decay * abs(there - here)
                wanted += bias.ahead[head].item() * max(
                    -2, min(2, there - here)
                )
                assert got[row, head, i, j].item() == pytest.approx(
                    wanted, abs=1e-5
                )
