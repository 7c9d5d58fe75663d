"""Attention along a slot: windows, their shift, what each frame can see."""

import pytest
import torch
from torch import nn

from hero_mm.models.layers import SlotAttention

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


def window_of(frame: int, window: int, shifted: bool) -> int:
    """Shifted ones begin half a window earlier."""
    return (frame + window - (window // 2 if shifted else 0)) // window


@torch.no_grad()
@pytest.mark.parametrize('shifted', [False, True])
@pytest.mark.parametrize('frames', [1, 3, 7, 8, 10])
def test_agrees_with_a_loop_over_windows(frames, shifted):
    """Of each window of each slot the present regions, one after another."""
    layer, (x, mask, times) = build(4, shifted), clip(frames, queries=2)
    mask &= torch.rand(mask.shape) < 0.7
    # Two of them stand far apart.
    times = times + 5 * (times > 1)
    got = layer(x, mask, times)
    attention, width = layer.attention, D // 2
    for q, t, r in mask.nonzero().tolist():
        seen = [
            frame
            for frame in range(frames)
            if mask[q, frame, r]
            and window_of(frame, 4, shifted) == window_of(t, 4, shifted)
        ]
        bias = layer.bias(times[q, seen].float())[:, seen.index(t)]
        qkv = attention.query_key_value(layer.norm(x[q, seen, r]))
        query, key, value = qkv.chunk(3, -1)
        heads = []
        for head in range(2):
            part = slice(head * width, (head + 1) * width)
            logits = key[:, part] @ query[seen.index(t), part] / width**0.5
            weights = (logits + bias[head]).softmax(0)
            heads.append(weights @ value[:, part])
        wanted = attention.out(torch.cat(heads))
        torch.testing.assert_close(got[q, t, r], wanted, atol=1e-4, rtol=1e-4)


def seen_by(layer, frames: int, frame: int, slot: int = 1) -> set:
    """Frames and slots whose region has a gradient from one output."""
    x, mask, times = clip(frames)
    x.requires_grad_()
    layer(x, mask, times)[0, frame, slot].square().sum().backward()
    moved = x.grad[0].abs().amax(-1) > 1e-9
    return {tuple(place) for place in moved.nonzero().tolist()}


@pytest.mark.parametrize('window', [2, 3, 4, 8])
@pytest.mark.parametrize('shifted', [False, True])
@pytest.mark.parametrize('frames', [1, 5, 8, 13])
def test_a_region_sees_a_window_of_its_own_slot(frames, shifted, window):
    layer = build(window, shifted)
    for frame in range(frames):
        wanted = {
            (other, 1)
            for other in range(frames)
            if window_of(other, window, shifted)
            == window_of(frame, window, shifted)
        }
        assert len(wanted) <= window
        assert seen_by(layer, frames, frame) == wanted


def test_neighbours_in_time_are_one_frame_more():
    """Part of the channels comes from over the edges of the window."""
    layer = build(4, shift=True)
    assert layer.shift == 2
    assert seen_by(layer, 12, 5) == {(frame, 1) for frame in range(3, 9)}
    assert seen_by(layer, 12, 0) == {(frame, 1) for frame in range(5)}


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
    with pytest.raises(ValueError, match='2 frames or more, got 1'):
        SlotAttention(D, 2, 1, False, False)
