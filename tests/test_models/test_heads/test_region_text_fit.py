"""Late fusion of regions and sentences against a loop over regions."""

import math

import pytest
import torch
from torch import nn

from hero_mm.models.heads.region_text_fit import RegionTextFit

D = 16


@pytest.fixture()
def fit():
    torch.manual_seed(0)
    made = RegionTextFit(D)
    for name, weight in made.named_parameters():
        if 'log_scale' not in name:
            nn.init.normal_(weight, std=0.4)
    return made


def unit(vector):
    return vector / vector.norm()


@torch.no_grad()
def test_agrees_with_a_loop_over_regions(fit, make_video, make_text):
    video = make_video(torch.randn(2, 3, 2, 2, D))
    text = make_text(torch.randn(2, D))
    text.sentence_QD = torch.randn(2, D)
    told = fit(video, text)
    assert told.shape == (2, 3, 2, 2, 2)
    scale = math.exp(fit.log_scale.item())
    for q, t, h, w in torch.ones(2, 3, 2, 2).nonzero().tolist():
        region = video.regions_BTHWD[q, t, h, w]
        look = fit.region_look(fit.norm(region)) @ fit.text_look(
            text.sentence_QD[q]
        )
        action = unit(fit.region_action(region)) @ unit(
            fit.text_action(text.action_QD[q])
        )
        torch.testing.assert_close(
            told[q, t, h, w, 0], look / D**0.5, atol=1e-5, rtol=1e-4
        )
        torch.testing.assert_close(
            told[q, t, h, w, 1],
            fit.action_weight * scale * action,
            atol=1e-5,
            rtol=1e-4,
        )
    total = fit.total(told)
    assert total.shape == (2, 3, 4)
    torch.testing.assert_close(total, told.sum(-1).flatten(2) + fit.bias)


def test_the_scale_is_bounded(fit, make_video, make_text):
    video, text = (
        make_video(torch.randn(1, 2, 2, 2, D)),
        make_text(torch.randn(1, D)),
    )
    usual = fit(video, text)
    with torch.no_grad():
        fit.log_scale.fill_(50.0)
    sharp = fit(video, text)
    assert sharp.isfinite().all()
    ratio = sharp[..., 1] / usual[..., 1]
    torch.testing.assert_close(ratio, torch.full_like(ratio, 4.0))
