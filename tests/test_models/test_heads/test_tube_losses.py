"""Losses of tubes: zero at the truth, each sees its own error."""

import copy
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData
from tiny_clips import make_regions, make_text
from torch import nn

from hero_mm.models import TubeHead
from hero_mm.models.heads.tube_decoding import TubeOutput, to_bins
from hero_mm.models.targets import Tracks, Tubes
from hero_mm.structures import GroundingDataSample

D, FRAMES, SURE = 8, 6, 30.0
# Slot 0 shows the target, slot 1 lies near it, the others far from it.
SLOTS = torch.tensor(
    [[8, 8, 16, 16], [10, 10, 18, 18], [24, 2, 30, 9], [1, 20, 9, 28]]
).float()


@pytest.fixture
def truth():
    """Two queries: on a clip of four frames and on one of six."""
    spans = torch.tensor([[3.0, 12], [8, 21]])
    numbers = torch.arange(FRAMES) * 4 + 1.0
    valid = (numbers >= spans[:, :1]) & (numbers < spans[:, 1:])
    tubes = Tubes(
        SLOTS[0] * valid[..., None],
        valid,
        spans,
        torch.ones(2, dtype=torch.bool),
    )
    boxes = SLOTS.expand(2, FRAMES, -1, -1)
    regions = make_regions(2, FRAMES, 4, D, boxes=boxes, real=[4, 6])
    edges = torch.tensor([0, 3.5, 7.5, 11.5, 15.5, 19.5, 24.0])
    edges = torch.stack([edges.clamp(max=16), edges])
    edges[0, 4:] = 16
    return SimpleNamespace(
        head=TubeHead(D),
        tubes=tubes,
        regions=regions,
        edges=edges,
    )


def perfect(truth) -> TubeOutput:
    """The output that has nothing to learn, made from the truth."""
    regions, tubes = truth.regions, truth.tubes
    location = torch.full(regions.mask_BTN.shape, -SURE)
    location[..., 0][tubes.valid_QT] = SURE
    # What lies near the target is not asked.
    location[..., 1][tubes.valid_QT] = 0.0
    location = location.masked_fill(~regions.mask_BTN, -1e4)
    middle = (truth.edges[:, 1:] + truth.edges[:, :-1]) / 2
    spans = tubes.spans_Q2
    inside = (middle >= spans[:, :1]) & (middle < spans[:, 1:])
    steps = torch.arange(FRAMES)
    logits, offsets = [], []
    for side in (0, 1):
        # The Gaussian target: a parabola round the place of the boundary.
        place = to_bins(spans[:, side], truth.edges, bool(side))[:, None]
        row = -0.5 * (steps - place + 0.5) ** 2
        logits.append(row.masked_fill(~regions.frame_mask_BT, -torch.inf))
        offsets.append((place - steps).clamp(0, 1))
    return TubeOutput(
        location_QTN=location,
        boxes_QTN4=regions.boxes_BTN4,
        early_QTN=location.clone(),
        start_QT=logits[0],
        end_QT=logits[1],
        offsets_QT2=torch.stack(offsets, -1),
        actionness_QT=torch.where(inside, SURE, -SURE),
    )


def losses_of(truth, output) -> dict:
    return truth.head.loss(output, truth.regions, truth.tubes, truth.edges)


NAMES = {
    'loss_location',
    'loss_match',
    'loss_early',
    'loss_span',
    'loss_offset',
    'loss_actionness',
}


def test_the_truth_has_no_loss(truth):
    losses = losses_of(truth, perfect(truth))
    assert set(losses) == NAMES
    for name, value in losses.items():
        assert value.item() == pytest.approx(0, abs=1e-4), name


def test_which_slots_show_the_tube(truth):
    shows, asked = truth.head.assign(truth.regions, truth.tubes)
    assert torch.equal(shows[..., 0], truth.tubes.valid_QT)
    assert not shows[..., 1:].any()
    # In the span what lies near is no negative; outside all are.
    near = asked[..., 1]
    assert torch.equal(
        near, truth.regions.frame_mask_BT & ~truth.tubes.valid_QT
    )
    others = asked[..., [0, 2, 3]]
    real = truth.regions.frame_mask_BT[..., None].expand_as(others)
    assert torch.equal(others, real)


DAMAGE = {
    'loss_location': lambda out: out.location_QTN[..., 2].fill_(SURE),
    'loss_match': lambda out: out.location_QTN[..., 3].fill_(SURE),
    # The right slot, but at all times.
    'loss_match ': lambda out: out.location_QTN[..., 0].fill_(SURE),
    'loss_early': lambda out: out.early_QTN.zero_(),
    'loss_span': lambda out: out.start_QT.mul_(0.1),
    'loss_span ': lambda out: out.end_QT.mul_(3),
    'loss_span  ': lambda out: setattr(out, 'span_weight', -0.1),
    'loss_offset': lambda out: out.offsets_QT2.add_(0.1),
    'loss_actionness': lambda out: out.actionness_QT.neg_(),
}


@pytest.mark.parametrize('name', DAMAGE)
def test_each_loss_sees_its_error(name, truth):
    good = perfect(truth)
    bad = copy.deepcopy(good)
    DAMAGE[name](bad)
    name = name.strip()
    after = losses_of(truth, bad)[name]
    assert after > losses_of(truth, good)[name] + 0.01
    assert after.isfinite()


def test_a_short_span_does_not_outweigh_the_rest(truth):
    """Losses of all slots are averaged over a share of the frames."""
    output = perfect(truth)
    output.location_QTN[..., 2] = output.early_QTN[..., 3] = 0.0
    plain = losses_of(truth, output)
    shown = truth.tubes.valid_QT.sum().item()
    frames = truth.regions.frame_mask_BT.sum().item()
    assert 0.25 * frames < shown < frames
    for share in (0.25, 1.0):
        truth.head = TubeHead(D, min_share=share)
        bounded = losses_of(truth, output)
        less = min(1, shown / (share * frames))
        for name, value in bounded.items():
            over_all = name in ('loss_match', 'loss_early')
            wanted = plain[name] * (less if over_all else 1)
            torch.testing.assert_close(value, wanted)


@pytest.fixture
def tube_loss(truth):
    """Function: tubes show actions 0 and 1, captions name actions."""
    head, regions = truth.head, truth.regions
    fit = head.fit
    fit.norm = nn.Identity()
    with torch.no_grad():
        fit.region.weight.copy_(torch.eye(D).repeat(2, 1))
        fit.text_action.weight.copy_(torch.eye(D))
        for layer in (fit.region, fit.text_action):
            layer.bias.zero_()

    def loss(*named) -> float:
        features = torch.zeros(2, FRAMES, 4, D)
        features[..., 7] = 1.0
        for query in (0, 1):
            valid = truth.tubes.valid_QT[query]
            features[query, valid, 0] = torch.eye(D)[query]
        shows, _ = head.assign(regions, truth.tubes)
        samples = []
        for name in named:
            sample = GroundingDataSample()
            sample.queries = InstanceData(predicates=[str(name)])
            sample.gt_queries = InstanceData(track_index=torch.tensor([0]))
            sample.gt_tracks = InstanceData(predicates=[[]])
            samples.append(sample)
        losses = head.tube_loss(
            replace(regions, features_BTND=features),
            make_text(torch.eye(D)[list(named)]),
            torch.tensor([0, 1]),
            shows,
            samples,
            make_text(torch.zeros(0, D)),
            torch.zeros(0, dtype=torch.long),
        )
        return losses['loss_tube'].item()

    return loss


# The scale is 10: what fits has a logit of 10, all else 0.
SMALL = np.log1p(np.exp(-10))


def test_tubes_are_compared_with_captions_both_ways(tube_loss):
    assert tube_loss(0, 1) == pytest.approx(SMALL, rel=1e-2)
    assert tube_loss(1, 0) == pytest.approx(10, rel=1e-2)


def test_a_tube_that_no_slot_shows_is_no_rival(truth, tube_loss):
    """A clip without spans leaves the loss of the others as it is."""
    truth.tubes.valid_QT[1] = False
    # Of its tube among captions alone: 0 among 0 and 1.
    assert tube_loss(0, 1) == pytest.approx(SMALL / 2, rel=1e-2)


@pytest.fixture
def other_clips(truth):
    """Function: the loss of two clips that show a dog each in slot 0.

    The first is asked for the second query's dog and the other way round.
    """

    def make(categories=('cat', 'dog'), complete=True):
        samples = []
        for name in categories:
            sample = GroundingDataSample()
            sample.queries = InstanceData(
                texts=[f'the {name} runs'],
                predicates=['run'],
                categories=[name],
            )
            sample.gt_tracks = InstanceData(
                predicates=[['run']], categories=[name]
            )
            samples.append(sample)
        there = truth.regions.frame_mask_BT[..., None]
        tracks = Tracks(
            SLOTS[0] * there[..., None],
            there,
            torch.full((2,), complete),
        )
        features = torch.rand(2, FRAMES, 4, D, requires_grad=True)
        (loss,) = truth.head.elsewhere_loss(
            replace(truth.regions, features_BTND=features),
            make_text(torch.rand(2, D)),
            torch.tensor([0, 1]),
            tracks,
            truth.tubes,
            samples,
        ).values()
        (gradient,) = torch.autograd.grad(loss, features)
        return loss.item(), gradient.abs().sum(-1) > 0

    return make


def test_what_may_be_true_of_other_clips_is_not_learned(truth, other_clips):
    loss, learned = other_clips(categories=('dog', 'dog'))
    # Slot 0 shows the other dog, slot 1 lies near it.
    assert loss > 0 and not learned[..., :2].any()
    assert learned[..., 2:].any(1).all()


def test_slots_that_nobody_annotated_are_not_learned(truth, other_clips):
    loss, learned = other_clips(complete=False)
    assert loss > 0 and learned[..., 0].any()
    # Slot 1 overlaps the annotated dog by less than half.
    assert not learned[..., 1:].any()
