"""Attention in a frame and along a slot: what each region sees."""

import pytest
import torch
from torch import nn

from hero_mm.models.layers import (
    SlotAttention,
    SpatialAttention,
    temporal_shift,
)

D = 8


def build(window: int = 4, shifted: bool = False, shift: bool = False):
    torch.manual_seed(0)
    layer = SlotAttention(D, 2, window, shift, shifted)
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.4)
    return layer.eval()


def clip(frames: int, slots: int = 3, queries: int = 1):
    torch.manual_seed(1)
    x = torch.randn(queries, frames, slots, D)
    mask = torch.ones(queries, frames, slots, dtype=torch.bool)
    return x, mask, torch.arange(frames).expand(queries, -1)


@torch.no_grad()
@pytest.mark.parametrize('shift', [False, True])
def test_missing_regions_say_nothing(shift):
    layer, (x, mask, times) = build(4, True, shift), clip(9)
    mask[0, 3, 1] = mask[0, 6:, 2] = False
    got = layer(x, mask, times)
    other = x.masked_fill(~mask[..., None], 50.0)
    changed = layer(other, mask, times)
    torch.testing.assert_close(changed[mask], got[mask])
    assert changed.isfinite().all()


def test_a_window_of_one_frame_is_refused():
    with pytest.raises(ValueError, match='=1: 2 frames or more'):
        SlotAttention(D, 2, 1, False, False)


def test_a_frame_without_regions_is_finite():
    layer, mask = SpatialAttention(D, 2), torch.zeros(1, 2, 3).bool()
    nn.init.normal_(layer.attention.out.weight)
    mask[0, 1] = True
    x = torch.randn(1, 2, 3, D, requires_grad=True)
    got = layer(x, mask)
    got.square().sum().backward()
    assert got.isfinite().all()
    assert x.grad.isfinite().all()


def test_shift_looks_back_and_ahead():
    x = torch.arange(1.0, 5).view(1, 4, 1).repeat(1, 1, 5)
    got = temporal_shift(x, 1)
    assert got[0, :, 0].tolist() == [0, 1, 2, 3]
    assert got[0, :, 1].tolist() == [2, 3, 4, 0]
    assert torch.equal(got[..., 2:], x[..., 2:])
