"""The tube head: what it says of slots and spans, and what it predicts."""

from dataclasses import replace

import pytest
import torch
from tiny_clips import make_regions, make_text

from hero_mm.models import TubeHead

D, FRAMES, SLOTS = 8, 6, 4


@pytest.fixture
def setting() -> dict:
    """Three queries on clips of four, six and six frames, all random."""
    torch.manual_seed(0)
    mask = torch.ones(3, FRAMES, SLOTS, dtype=torch.bool)
    # One slot pauses, another one is empty.
    mask[1, 2, 3] = mask[2, :, 1] = False
    regions = make_regions(3, FRAMES, SLOTS, D, real=[4, 6, 6], mask=mask)
    regions.fit_BTN2 = torch.randn(3, FRAMES, SLOTS, 2)
    regions.gate_BT = torch.randn(3, FRAMES)
    return dict(
        slots_QTND=torch.randn(3, FRAMES, SLOTS, D),
        frames_QTD=torch.randn(3, FRAMES, D),
        regions=regions,
        text=make_text(torch.randn(3, D)),
    )


@pytest.fixture
def head() -> TubeHead:
    torch.manual_seed(0)
    made = TubeHead(D)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return made.eval()


def test_a_masked_slot_gets_no_gradient(head, setting):
    """Near zero, a norm makes of a small gradient a large one."""
    mask = setting['regions'].mask_BTN
    slots = setting['slots_QTND'].masked_fill(~mask[..., None], 0.0)
    largest = []
    for head.mask_slots in (False, True):
        setting['slots_QTND'] = slots.clone().requires_grad_()
        out = head(**setting)
        (out.offsets_QT2.sum() + out.start_QT[1:].sum()).backward()
        gradient = setting['slots_QTND'].grad.norm(dim=-1)
        largest.append((gradient[~mask].max(), gradient[mask].max()))
    (missing, real), (hidden, _) = largest
    assert missing > 20 * real and hidden == 0


def at_times(regions, *times):
    return replace(regions, times_BT=torch.tensor([times] * 3))


@torch.no_grad()
def test_gaps_reach_the_span(head, setting):
    """Frames that were left out, beside the time itself."""
    for weight in head.position.parameters():
        weight.zero_()
    out = head(**setting)
    regions = setting['regions']
    setting['regions'] = at_times(regions, 10, 11, 12, 13, 14, 15)
    later = head(**setting)
    torch.testing.assert_close(later.start_QT, out.start_QT)
    setting['regions'] = at_times(regions, 0, 1, 2, 7, 8, 9)
    apart = head(**setting)
    assert (apart.start_QT - out.start_QT)[1:].abs().max() > 1e-3
    # Those on both sides of the gap.
    change = head(**setting).start_QT
    setting['regions'] = regions
    change = (change - head(**setting).start_QT)[1:].abs() > 1e-6
    assert change.tolist() == [[False, False, True, True, False, False]] * 2
