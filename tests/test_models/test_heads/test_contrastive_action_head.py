"""The contrastive action head: what it says, and what is a negative."""

import pytest
import torch
from tiny_clips import make_regions, make_text
from torch import nn

from hero_mm.models import ContrastiveActionHead

# Looks stand in the first half of the features, actions in the second.
D = 8
HALF = D // 2


def plain_head(**options) -> ContrastiveActionHead:
    """A head that compares features as they are."""
    head = ContrastiveActionHead(D, common_dims=HALF, **options)
    fit = head.fit
    fit.norm = nn.Identity()
    with torch.no_grad():
        fit.region.weight.copy_(torch.eye(D))
        fit.text_look.weight.copy_(torch.eye(D)[:HALF])
        fit.text_action.weight.copy_(torch.eye(D)[HALF:])
        for layer in (fit.region, fit.text_look, fit.text_action):
            layer.bias.zero_()
    return head


def shows(look: int, action: int) -> torch.Tensor:
    """Features of what looks and acts so."""
    return torch.cat([torch.eye(HALF)[look], torch.eye(HALF)[action]])


@torch.no_grad()
def test_one_perfect_region_among_64():
    """It outweighs any number of others: a frame is as good as its best."""
    head, slots = plain_head(supervision='span'), 64
    text = make_text(shows(0, 0)[None].expand(4, D))
    features = torch.stack(
        [
            shows(1, 1).repeat(slots, 1),
            # Right in looks or in action, but in no slot in both.
            torch.stack([shows(0, 1), shows(1, 0)]).repeat(slots // 2, 1),
            shows(1, 1).repeat(slots, 1),
            shows(0, 0).repeat(slots, 1),
        ]
    )
    features[2, 40] = shows(0, 0)
    regions = make_regions(4, 1, slots, D, features=features[:, None])
    logits = head(regions, text, torch.arange(4))[:, 0]
    scores = logits / head.fit.scale() + head.offset
    nothing, halves, one, all_of_them = scores.tolist()
    assert one == pytest.approx(2, abs=0.05)
    assert nothing < 0.5 and halves < 1.5
    # Among the best possible, 64 of them count little more than one.
    assert all_of_them - one < 0.5


def test_without_span_supervision_no_tube_is_looked_at():
    assert plain_head().span_loss(None, None, None, None, None) == {}
    with pytest.raises(ValueError, match="'video' or 'span'.*'frame'"):
        plain_head(supervision='frame')
