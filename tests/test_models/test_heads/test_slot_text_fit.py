"""Late fusion of slots and sentences against a loop over regions."""

import math

import pytest
import torch
from torch import nn

from hero_mm.models.heads.contrastive_action_head import SlotTextFit

D, E = 16, 6


@pytest.fixture
def fit():
    torch.manual_seed(0)
    made = SlotTextFit(D, E)
    for name, weight in made.named_parameters():
        if name != 'log_scale':
            nn.init.normal_(weight, std=0.4)
    return made


@pytest.fixture
def clip(make_regions):
    mask = torch.ones(2, 4, 3, dtype=torch.bool)
    mask[0, 1, 2] = mask[1, :, 0] = False
    return make_regions(2, 4, 3, D, mask=mask, real=[4, 3])


def unit(vector):
    return vector / vector.norm().clamp(min=1e-12)


@torch.no_grad()
def test_agrees_with_a_loop_over_regions(fit, clip, make_text):
    text = make_text(torch.randn(3, D))
    text.sentence_QD = torch.randn(3, D)
    clips = torch.tensor([0, 1, 1])
    got = fit(clip, text, clips)
    assert got.shape == (3, 4, 3, 2)
    for q, t, n in torch.ones(3, 4, 3).nonzero().tolist():
        b = clips[q]
        look = torch.zeros(E)
        for frame in range(4):
            if clip.mask_BTN[b, frame, n]:
                region = clip.features_BTND[b, frame, n]
                look += fit.region(fit.norm(region))[:E]
        action = fit.region(fit.norm(clip.features_BTND[b, t, n]))[E:]
        told_look = unit(fit.text_look(text.sentence_QD[q]))
        told_action = unit(fit.text_action(text.action_QD[q]))
        wanted = torch.stack(
            [unit(look) @ told_look, unit(action) @ told_action]
        )
        torch.testing.assert_close(got[q, t, n], wanted, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_the_scale_is_bounded(fit):
    assert fit.scale().item() == pytest.approx(10)
    fit.log_scale.fill_(100.0)
    assert fit.scale() == 50
    fit.log_scale.fill_(math.log(3))
    assert fit.scale().item() == pytest.approx(3)


def test_gradients_of_empty_slots_are_finite(fit, clip, make_text):
    clip.features_BTND = (0 * clip.features_BTND).requires_grad_()
    got = fit(clip, make_text(torch.zeros(2, D)), torch.tensor([0, 1]))
    got.square().sum().backward()
    assert clip.features_BTND.grad.isfinite().all()
    for name, parameter in fit.named_parameters():
        if parameter.grad is not None:
            assert parameter.grad.isfinite().all(), name
