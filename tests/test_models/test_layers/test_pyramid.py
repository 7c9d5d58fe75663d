"""Pyramid alignment: a region asks the words at several sizes."""

import pytest
import torch
from torch import nn

from hero_mm.models.layers import PyramidAlignment

D = 8


def build(sizes: int = 3):
    torch.manual_seed(0)
    layer = PyramidAlignment(D, 2, sizes)
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.5)
    return layer.eval()


def inputs(sizes: int = 3, words: int = 5):
    torch.manual_seed(1)
    return [
        torch.randn(2, 3, 4, D),
        torch.randn(2, 3, 4, sizes, D),
        torch.randn(2, words, D),
        torch.ones(2, words, dtype=torch.bool),
    ]


@torch.no_grad()
@pytest.mark.parametrize('sizes', [1, 3])
def test_agrees_with_a_loop_over_regions(sizes):
    layer, (x, looks, words, mask) = build(sizes), inputs(sizes)
    mask[1, 3:] = False
    got = layer(x, looks, words, mask)
    assert got.shape == x.shape
    for q, t, r in torch.ones(2, 3, 4).nonzero().tolist():
        region = layer.norm(x[q, t, r])
        key, value = layer.key_value(words[q, mask[q]]).chunk(2, -1)
        fused = torch.zeros(D)
        weights = layer.fuse(region).softmax(-1)
        for size in range(sizes):
            ask = layer.query(region)
            ask = ask + layer.look_weight[size] * looks[q, t, r, size]
            for head in (slice(0, 4), slice(4, 8)):
                agree = (key[:, head] @ ask[head] / 2).softmax(0)
                fused[head] += weights[size] * (agree @ value[:, head])
        scale, move = layer.out(fused).chunk(2)
        torch.testing.assert_close(
            got[q, t, r], region * scale + move, atol=1e-4, rtol=1e-4
        )
