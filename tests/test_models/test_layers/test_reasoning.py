"""Layers of reasoning: who sees whom, and the joint one beside them."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from hero_mm.models.layers import (
    Context,
    JointReasoningLayer,
    PyramidAlignment,
    SlotAttention,
    reasoning_layers,
    temporal_shift,
)
from hero_mm.registry import MODELS

D, FRAMES, SLOTS = 8, 8, 3


def shake(layer):
    for parameter in layer.parameters():
        if parameter.dim():
            nn.init.normal_(parameter, std=0.4)
    return layer.eval()


def build(attention):
    torch.manual_seed(0)
    # The second layer, whose windows begin halfway.
    return shake(*reasoning_layers(D, 1, 2, 2, 4, True, attention, first=1))


def setting():
    """Regions, frame tokens and what else a layer reads."""
    torch.manual_seed(1)
    shape = (1, FRAMES, SLOTS)
    context = Context(
        mask_QTR=torch.ones(shape, dtype=torch.bool),
        times_QT=torch.arange(FRAMES)[None],
        frame_mask_QT=torch.ones(1, FRAMES, dtype=torch.bool),
        looks_QTRSD=torch.randn(*shape, 2, D),
        words_QLD=torch.randn(1, 4, D),
        word_mask_QL=torch.ones(1, 4, dtype=torch.bool),
    )
    return torch.randn(*shape, D), torch.randn(1, FRAMES, D), context


@pytest.mark.parametrize('attention', ['hierarchical', 'joint'])
def test_what_is_not_there_says_nothing(attention):
    x, frames, context = setting()
    mask, real = context.mask_QTR.clone(), context.frame_mask_QT.clone()
    mask[0, 6:] = real[0, 6:] = False
    # A slot pauses, another one has gone.
    mask[0, 2, 1] = mask[0, 5:, 2] = mask[0, 4, :2] = False
    context = replace(context, mask_QTR=mask, frame_mask_QT=real)
    layer = build(attention)
    got = layer(x, frames, context)
    other = x.masked_fill(~mask[..., None], 50.0).requires_grad_()
    changed = layer(
        other, frames.masked_fill(~real[..., None], -50.0), context
    )
    (gradient,) = torch.autograd.grad(sum(map(torch.sum, changed)), other)
    for one in (*changed, gradient):
        assert one.isfinite().all()
    torch.testing.assert_close(changed[0][mask], got[0][mask])
    torch.testing.assert_close(changed[1][real], got[1][real])


@pytest.mark.parametrize('width', [64, 256])
@pytest.mark.parametrize('sizes', [0, 1, 3])
def test_both_kinds_have_as_many_parameters(sizes, width):
    """Of hero_small and of the large one: within 10 %."""
    counts = [
        sum(p.numel() for p in layer.parameters())
        for layer in (
            *reasoning_layers(width, 1, 4, sizes, 8, True, 'hierarchical'),
            *reasoning_layers(width, 1, 4, sizes, 8, True, 'joint'),
        )
    ]
    assert abs(counts[0] / counts[1] - 1) < 0.1, counts


def layers(attention: str = 'hierarchical', shift: bool = True, **options):
    return reasoning_layers(D, 4, 2, 2, 4, shift, attention, **options)


def test_kinds_of_layers():
    kinds = {type(layer) for layer in layers('joint')}
    assert kinds == {JointReasoningLayer}
    for wrong in (
        dict(attention='full'),
        dict(attention='joint', temporal_layer=dict(type='Backwards')),
    ):
        with pytest.raises(ValueError, match="'joint' without a temporal_l"):
            layers(**wrong)


class Backwards(nn.Module):
    """A step in time of somebody else."""

    def __init__(self, embed_dims: int, factor: float):
        super().__init__()
        self.factor = nn.Parameter(torch.full([embed_dims], factor))

    def forward(self, x, mask, times):
        return x.flip(1) * self.factor * mask[..., None]


@pytest.mark.parametrize('part', ['neck', 'region_encoder'])
def test_a_config_names_the_step_in_time(part, hero_config, monkeypatch):
    monkeypatch.setitem(MODELS.module_dict, 'Backwards', Backwards)
    config = hero_config()[part]
    config['temporal_layer'] = dict(type='Backwards', factor=0.5)
    for layer in MODELS.build(config).layers:
        x, frames, context = setting()
        x, frames = x.repeat(1, 1, 1, 2), frames.repeat(1, 1, 2)
        added = layer.time(x, context.mask_QTR, context.times_QT)
        assert torch.equal(added, x.flip(1) / 2)
        context = replace(context, words_QLD=None)
        with_it, _ = layer(x, frames, context)
        layer.time.factor.data.zero_()
        without, _ = layer(x, frames, context)
        assert not torch.allclose(with_it, without)


@torch.no_grad()
@pytest.mark.parametrize('sizes', [1, 3])
def test_agrees_with_a_loop_over_regions(sizes):
    """Pyramid alignment: a region asks the words at several sizes."""
    torch.manual_seed(0)
    layer = shake(PyramidAlignment(D, 2, sizes))
    x, looks = torch.randn(2, 3, 4, D), torch.randn(2, 3, 4, sizes, D)
    words, mask = torch.randn(2, 5, D), torch.ones(2, 5, dtype=torch.bool)
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


def test_a_window_of_one_frame_is_refused():
    with pytest.raises(ValueError, match='=1: 2 frames or more'):
        SlotAttention(D, 2, 1, False, False)


def test_shift_looks_back_and_ahead():
    x = torch.arange(1.0, 5).view(1, 4, 1).repeat(1, 1, 5)
    got = temporal_shift(x, 1)
    assert got[0, :, 0].tolist() == [0, 1, 2, 3]
    assert got[0, :, 1].tolist() == [2, 3, 4, 0]
    assert torch.equal(got[..., 2:], x[..., 2:])
