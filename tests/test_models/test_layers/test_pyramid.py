"""Pyramid alignment: neighbourhoods against pooling, words against masks."""

import pytest
import torch
import torch.nn.functional as F

from hero_mm.models.layers import PyramidAlignment
from hero_mm.models.layers.pyramid import neighbourhood_mean

D = 8


def slow_mean(x, real, scale: int):
    """Average pooling over real regions."""
    flat = (x * real[..., None]).flatten(0, 1).permute(0, 3, 1, 2)
    count = real.flatten(0, 1)[:, None]
    if scale == 0:
        mean = flat.sum((2, 3), keepdim=True)
        mean = mean / count.sum((2, 3), keepdim=True)
    else:
        how = dict(kernel_size=scale, stride=1, padding=scale // 2)
        total = F.avg_pool2d(flat, **how)
        mean = total / F.avg_pool2d(count, **how).clamp(min=1e-9)
    return mean.permute(0, 2, 3, 1).unflatten(0, x.shape[:2])


@pytest.mark.parametrize('scale', [1, 3, 5, 7, 0])
@pytest.mark.parametrize('size', [(4, 4), (5, 3), (1, 6), (1, 1)])
def test_neighbourhood_mean_is_pooling(scale, size):
    x = torch.randn(2, 3, *size, D)
    real = torch.ones(2, 3, *size)
    torch.testing.assert_close(
        neighbourhood_mean(x, real, scale), slow_mean(x, real, scale)
    )


@pytest.mark.parametrize('scale', [3, 5, 0])
def test_neighbourhood_mean_leaves_padding_out(scale):
    x, real = torch.randn(2, 3, 6, 7, D), torch.ones(2, 3, 6, 7)
    real[0, :, 4:] = 0
    real[0, :, :, 5:] = 0
    x = x * real[..., None]
    told = neighbourhood_mean(x, real, scale)
    wanted = slow_mean(x, real, scale)
    if scale:
        told, wanted = told[real.bool()], wanted[real.bool()]
        alone = neighbourhood_mean(
            x[:1, :, :4, :5], real[:1, :, :4, :5], scale
        )
        cut = neighbourhood_mean(x, real, scale)[:1, :, :4, :5]
        torch.testing.assert_close(cut, alone)
    torch.testing.assert_close(told, wanted)


def test_neighbourhood_mean_of_a_padded_frame_is_zero():
    x, real = torch.zeros(1, 1, 3, 3, D), torch.zeros(1, 1, 3, 3)
    for scale in (0, 3):
        assert neighbourhood_mean(x, real, scale).abs().max() == 0


def inputs(size=(2, 4, 5), words: int = 6):
    torch.manual_seed(1)
    x = torch.randn(2, *size, D)
    real = torch.ones(2, *size, dtype=torch.bool)
    mask = torch.ones(2, words, dtype=torch.bool)
    return x, real, torch.randn(2, words, D), mask


def build(scales):
    torch.manual_seed(0)
    return PyramidAlignment(D, 2, scales).eval()


def region_sees(scales, place) -> set:
    """Regions of a frame that move with the one at ``place``."""
    layer = build(scales)
    x, real, words, mask = inputs((2, 7, 7))
    other = x.clone()
    other[0, 0, place[0], place[1]] += torch.randn(D)
    change = layer(x, real, words, mask) - layer(other, real, words, mask)
    assert change[0, 1].abs().max() < 1e-6, 'frames are apart'
    moved = change[0, 0].abs().amax(-1) > 1e-6
    return {tuple(index) for index in moved.nonzero().tolist()}


def test_scales_are_the_reach():
    assert region_sees((1,), (3, 3)) == {(3, 3)}
    near = {(r, c) for r in (2, 3, 4) for c in (2, 3, 4)}
    assert region_sees((1, 3), (3, 3)) == near
    assert len(region_sees((1, 5), (3, 3))) == 25
    assert len(region_sees((0,), (3, 3))) == 49


def test_words_decide_and_padded_words_do_not():
    layer = build((1, 3, 0))
    x, real, words, mask = inputs()
    mask[0, 4:] = False
    told = layer(x, real, words, mask)
    junk = words.clone()
    junk[0, 4:] = 100.0
    torch.testing.assert_close(layer(x, real, junk, mask), told)
    cut = layer(x[:1], real[:1], words[:1, :4], mask[:1, :4])
    torch.testing.assert_close(told[:1], cut)
    words[0, 0] += 1
    assert (layer(x, real, words, mask) - told)[0].abs().max() > 1e-4


def test_order_of_words_does_not_matter_here():
    layer = build((1, 3))
    x, real, words, mask = inputs()
    back = layer(x, real, words.flip(1), mask)
    torch.testing.assert_close(back, layer(x, real, words, mask))


def test_padding_of_the_grid_changes_nothing():
    layer = build((1, 3, 5, 0))
    x, real, words, mask = inputs((2, 3, 4))
    alone = layer(x, real, words, mask)
    big = F.pad(x, (0, 0, 0, 3, 0, 2), value=5.0)
    beside = layer(big, F.pad(real, (0, 3, 0, 2)), words, mask)
    torch.testing.assert_close(beside[:, :, :3, :4], alone)


def test_contexts_stand_in_for_the_grid():
    """A set of regions gets the neighbourhoods that it has in the grid."""
    layer = build((1, 3, 0))
    x, real, words, mask = inputs((2, 4, 5))
    contexts = layer.contexts(x, real)
    assert set(contexts) == {3, 0}
    assert contexts[3].shape == x.shape
    assert contexts[0].shape == (2, 2, 1, 1, D)
    chosen = [3, 7, 19]
    pick = x.flatten(2, 3)[:, :, None, chosen]
    near = {
        3: contexts[3].flatten(2, 3)[:, :, None, chosen],
        0: contexts[0],
    }
    seen = real.flatten(2, 3)[:, :, None, chosen]
    told = layer(pick, seen, words, mask, near)
    all_of_it = layer(x, real, words, mask, contexts)
    wanted = all_of_it.flatten(2, 3)[:, :, None, chosen]
    torch.testing.assert_close(told, wanted)


@pytest.mark.parametrize('scales', [(), (2,), (1, -3), (1, 4, 0)])
def test_scales_are_checked(scales):
    with pytest.raises(ValueError, match='odd sides'):
        PyramidAlignment(D, 2, scales)
