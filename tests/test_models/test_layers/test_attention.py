"""Attention of a frame and of all tokens, against plain references."""

import torch
from torch import nn

from hero_mm.models.layers import (
    Attention,
    SpatialAttention,
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
