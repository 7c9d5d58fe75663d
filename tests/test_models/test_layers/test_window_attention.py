"""Attention in windows against plain references, and who sees whom."""

import pytest
import torch
from torch import nn

from hero_mm.models.layers import Attention, JointLayer, WindowAttention

D = 8


def slow_attention(layer: Attention, query, source, hidden=None):
    """Multi-head attention head by head, from its formula."""
    k, v = layer.key_value(source).chunk(2, -1)
    q, width = layer.query(query), D // layer.num_heads
    heads = []
    for head in range(layer.num_heads):
        part = slice(head * width, (head + 1) * width)
        logits = q[..., part] @ k[..., part].transpose(-1, -2)
        logits = logits / width**0.5
        if hidden is not None:
            logits = logits.masked_fill(hidden, float('-inf'))
        heads.append(logits.softmax(-1) @ v[..., part])
    return layer.out(torch.cat(heads, -1))


def all_real(size, num_clips: int = 1):
    return torch.ones(num_clips, *size, dtype=torch.bool)


def build(window, shift=False):
    torch.manual_seed(0)
    layer = WindowAttention(D, 2, window, shift)
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.5)
    return layer.eval()


@torch.no_grad()
def seen_from(layer, size, place, is_grid=True) -> set:
    """Tokens whose output moves with the token at ``place``."""
    torch.manual_seed(1)
    x = torch.randn(1, *size, D)
    other = x.clone()
    other[(0, *place)] += 1
    real = all_real(size)
    change = layer(x, real, is_grid) - layer(other, real, is_grid)
    moved = change.abs().amax(-1)[0] > 1e-6
    return {tuple(index) for index in moved.nonzero().tolist()}


def block(*axes) -> set:
    t, h, w = axes
    return {(a, b, c) for a in t for b in h for c in w}


def test_attention_is_the_formula():
    torch.manual_seed(0)
    layer = Attention(D, 2)
    query, source = torch.randn(3, 4, D), torch.randn(3, 6, D)
    torch.testing.assert_close(
        layer(query, source), slow_attention(layer, query, source)
    )
    hidden = torch.rand(3, 1, 6) < 0.4
    hidden[..., 0] = False
    wanted = slow_attention(layer, query, source, hidden)
    told = layer(query, source, ~hidden[:, None])
    torch.testing.assert_close(told, wanted)
    bias = torch.zeros(3, 1, 1, 6).masked_fill(hidden[:, None], -1e4)
    torch.testing.assert_close(layer(query, source, bias), wanted)


def test_width_must_fit_the_heads():
    with pytest.raises(ValueError, match='embed_dims=8.*num_heads=3'):
        Attention(D, 3)


@pytest.mark.parametrize('window', [None, (3, 4, 5), (9, 9, 9)])
def test_window_over_all_is_full_attention(window):
    layer, size = build(window), (3, 4, 5)
    x = torch.randn(2, *size, D)
    tokens = x.flatten(1, 3)
    wanted = slow_attention(layer.attention, tokens, tokens).view(x.shape)
    told = layer(x, all_real(size, 2))
    torch.testing.assert_close(told, wanted, atol=1e-5, rtol=1e-4)


def test_full_attention_with_padding():
    layer, size = build(None), (3, 4, 5)
    x, real = torch.randn(2, *size, D), all_real(size, 2)
    real[0, 2:] = False
    real[0, :, :, 3:] = False
    real[1, :, 1:] = False
    told = layer(x, real)
    for clip in range(2):
        tokens = x[clip][real[clip]][None]
        wanted = slow_attention(layer.attention, tokens, tokens)
        torch.testing.assert_close(
            told[clip][real[clip]][None], wanted, atol=1e-5, rtol=1e-4
        )


def test_windows_attend_to_themselves():
    """Each window is full attention on its own tokens."""
    layer, size = build((2, 2, 2)), (4, 4, 2)
    x = torch.randn(1, *size, D)
    told = layer(x, all_real(size))
    for t in (0, 2):
        for h in (0, 2):
            part = x[:, t : t + 2, h : h + 2]
            tokens = part.flatten(1, 3)
            wanted = slow_attention(layer.attention, tokens, tokens)
            torch.testing.assert_close(
                told[:, t : t + 2, h : h + 2],
                wanted.view(part.shape),
                atol=1e-5,
                rtol=1e-4,
            )


def test_who_sees_whom_in_space():
    layer, size = build((1, 2, 2)), (2, 4, 4)
    assert seen_from(layer, size, (1, 0, 3)) == block([1], [0, 1], [2, 3])


def test_who_sees_whom_in_time():
    layer, size = build((2, 1, 1)), (6, 2, 2)
    assert seen_from(layer, size, (3, 1, 0)) == block([2, 3], [1], [0])


@pytest.mark.parametrize(
    'place, seen',
    [
        # The first window is half a window, and so is the last one.
        (0, [0, 1]),
        (1, [0, 1]),
        (2, [2, 3, 4, 5]),
        (5, [2, 3, 4, 5]),
        (6, [6, 7]),
        (7, [6, 7]),
    ],
)
def test_shifted_windows_do_not_wrap_round(place, seen):
    """The roll brings both ends into one window: they must not mix."""
    layer, size = build((4, 1, 1), shift=True), (8, 1, 1)
    assert seen_from(layer, size, (place, 0, 0)) == block(seen, [0], [0])


def test_shifted_windows_in_both_axes_of_a_frame():
    layer, size = build((1, 4, 4), shift=True), (1, 8, 8)
    cuts = [[0, 1], [2, 3, 4, 5], [6, 7]]
    for rows in cuts:
        for columns in cuts:
            place = (0, rows[0], columns[-1])
            assert seen_from(layer, size, place) == block([0], rows, columns)


@pytest.mark.parametrize('shift', [False, True])
@pytest.mark.parametrize('size', [(5, 3, 7), (1, 1, 1), (3, 5, 4), (2, 9, 1)])
def test_grids_that_windows_do_not_divide(size, shift):
    """What sees what is told by the place alone, and padding by nobody."""
    layer = build((2, 4, 4), shift)
    by = (1, 2, 2) if shift else (0, 0, 0)

    def window_of(place) -> tuple:
        return tuple((p + w - b) // w for p, w, b in zip(place, (2, 4, 4), by))

    every = block(*map(range, size))
    for place in ((0, 0, 0), tuple(s - 1 for s in size)):
        seen = seen_from(layer, size, place)
        assert seen == {p for p in every if window_of(p) == window_of(place)}


@pytest.mark.parametrize('shift', [False, True])
def test_padding_to_any_size_changes_nothing(shift):
    layer, small = build((2, 3, 4), shift), (3, 4, 5)
    x = torch.randn(1, *small, D)
    alone = layer(x, all_real(small))
    for size in ((3, 4, 6), (4, 6, 5), (9, 11, 8)):
        padded, real = torch.randn(1, *size, D), torch.zeros(1, *size).bool()
        padded[:, :3, :4, :5] = x
        real[:, :3, :4, :5] = True
        beside = layer(padded, real)[:, :3, :4, :5]
        torch.testing.assert_close(beside, alone, atol=1e-5, rtol=1e-4)
        assert layer(padded, real).isfinite().all()


def test_set_of_regions_is_one_window_a_frame():
    """A set has no neighbours: a window holds all of it."""
    spatial = build((1, 2, 2), shift=True)
    seen = seen_from(spatial, (3, 1, 7), (1, 0, 6), is_grid=False)
    assert seen == block([1], [0], range(7))
    temporal = build((2, 1, 1))
    seen = seen_from(temporal, (4, 1, 3), (3, 0, 1), is_grid=False)
    assert seen == block([2, 3], [0], range(3))


def test_gradients_are_finite_with_padding():
    layer, size = build((2, 2, 2), shift=True), (3, 3, 3)
    x, real = torch.randn(2, *size, D, requires_grad=True), all_real(size, 2)
    real[0, 1:] = False
    layer(x, real)[real].sum().backward()
    assert x.grad.isfinite().all()
    assert x.grad[~real].abs().max() == 0


def test_joint_layer_sees_real_tokens_only():
    torch.manual_seed(0)
    layer = JointLayer(D, 2, 2.0)
    tokens, real = torch.randn(2, 5, D), torch.ones(2, 5).bool()
    real[0, 3:] = False
    told = layer(tokens, real)
    torch.testing.assert_close(
        told[:1, :3], layer(tokens[:1, :3], real[:1, :3])
    )
    torch.testing.assert_close(told[1:], layer(tokens[1:], real[1:]))
    other = tokens.clone()
    other[1, 4] += torch.randn(D)
    assert ((layer(other, real) - told)[1].abs().amax(-1) > 1e-6).all()
