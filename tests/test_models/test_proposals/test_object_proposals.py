"""ObjectProposals: which cells answer for an object, and what is proposed."""

from functools import partial

import numpy as np
import pytest
import torch
from tiny_clips import annotated_clip, make_pyramid
from torch import nn

from hero_mm.models import ObjectProposals
from hero_mm.models.losses import box_iou_pairs

CELL, DIMS = 4.0, 8


pyramid_of = partial(make_pyramid, stride=CELL)
clip = partial(annotated_clip, complete=True)


def generator(**options) -> ObjectProposals:
    torch.manual_seed(0)
    return ObjectProposals(DIMS, min_score=0.0, **options)


class Recorder(nn.Module):
    """In the place of a loss: keeps what it is asked."""

    def forward(self, *args, **kwargs):
        self.args, self.kwargs = args, kwargs
        return args[0].sum() * 0


def teach(proposals, pyramid, *samples):
    """What the losses of the cells and of the boxes are asked."""
    proposals.loss_object, proposals.loss_bbox = Recorder(), Recorder()
    proposals.loss_and_predict(pyramid, {}, samples)
    return proposals.loss_object, proposals.loss_bbox


def near(box, centre, share) -> bool:
    """Whether a point is that near to the centre of a box, in its sides."""
    return all(
        abs(point - (low + high) / 2) <= max(share * (high - low), CELL / 2)
        for low, high, point in zip(box[:2], box[2:], centre)
    )


def cell_by_cell(pyramid, samples, radius):
    """The object of each cell (-1: none), and whether it is asked."""
    clips, frames, _, height, width = pyramid.levels[0].shape
    owner = torch.full((clips, frames, height, width), -1)
    asked = torch.zeros_like(owner, dtype=torch.bool)
    for b, sample in enumerate(samples):
        wide, high = pyramid.sizes_B2[b].tolist()
        boxes = sample.gt_tracks.bboxes.tolist()
        valid = sample.gt_tracks.valid.tolist()
        for t, y, x in np.ndindex(len(valid[0]), height, width):
            if x * CELL >= wide or y * CELL >= high:
                continue
            centre = (x + 0.5) * CELL, (y + 0.5) * CELL
            found, inside = [], False
            for k, track in enumerate(boxes):
                x0, y0, x1, y1 = box = track[t]
                if not valid[k][t]:
                    continue
                inside |= near(box, centre, 0.5)
                if near(box, centre, radius):
                    found.append(((x1 - x0) * (y1 - y0), k))
            owner[b, t, y, x] = min(found)[1] if found else -1
            asked[b, t, y, x] = sample.tracks_complete or inside
    return owner, asked


def random_tracks(seed, objects, frames, size) -> list:
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 0.7, (objects, frames, 2)) * size
    side = rng.uniform(2, 14, (objects, frames, 2))
    return np.concatenate([low, low + side], -1).tolist()


def test_cells_are_assigned_as_one_by_one():
    """All frames of a batch at once; of two objects, the smaller one."""
    torch.manual_seed(0)
    level = torch.randn(2, 3, DIMS, 8, 10)
    pyramid = pyramid_of(level, frames=[3, 2], sizes=[(40, 32), (30, 21)])
    valid = [[True, True]] * 3 + [[False, True]]
    samples = [
        clip(random_tracks(0, 6, 3, (40, 32)), complete=False),
        clip(random_tracks(1, 4, 2, (30, 21)), valid),
    ]
    proposals = generator(centre_radius=0.3)
    # Boxes of all cells overlap all objects: positives show.
    nn.init.constant_(proposals.head[-1].bias[3:], 3.0)
    objects, boxes = teach(proposals, pyramid, *samples)
    owner, asked = cell_by_cell(pyramid, samples, 0.3)
    _, quality, weight = objects.args
    assert torch.equal((quality > 0).view(owner.shape), owner >= 0)
    assert torch.equal(weight.bool().view(owner.shape), asked)
    assert (asked & (owner < 0)).any() and not asked.all()
    pred, truth, share = boxes.args
    # Of all cells; those that answer for no box weigh nothing.
    answers = owner.flatten() >= 0
    assert not share[~answers].any()
    pred, truth, share = pred[answers], truth[answers], share[answers]
    rows = [(b, t, owner[b, t, y, x]) for b, t, y, x in owner.ge(0).nonzero()]
    wanted = [samples[b].gt_tracks.bboxes[k, t] for b, t, k in rows]
    assert torch.equal(truth, torch.stack(wanted))
    # How sure a cell should be: as good as its box is.
    torch.testing.assert_close(
        quality[quality > 0], box_iou_pairs(pred, truth)[0]
    )
    # No object counts more than another one.
    totals: dict = {}
    for row, part in zip(rows, share.tolist()):
        key = tuple(map(int, row))
        totals[key] = totals.get(key, 0) + part
    assert max(totals.values()) == pytest.approx(1) and min(share) > 0
    for part in (objects, boxes):
        assert part.kwargs['avg_factor'] == 6 * 3 + 4 * 2 - 1


def test_what_nobody_annotated_is_no_background():
    """In an incomplete clip nothing outside the boxes has a gradient."""
    torch.manual_seed(0)
    level = torch.randn(2, 2, DIMS, 6, 6, requires_grad=True)
    boxes = [[[4.0, 4, 12, 12]] * 2, [[13.0, 13, 15, 15]] * 2]
    valid = [[True, True], [True, False]]
    samples = clip(boxes, valid, complete=False), clip(boxes, valid)
    proposals = generator()
    losses, _ = proposals.loss_and_predict(pyramid_of(level), {}, samples)
    sum(losses.values()).backward()
    learned = level.grad.abs().sum(2) > 0
    inside = torch.zeros(2, 6, 6, dtype=torch.bool)
    inside[:, 1:3, 1:3] = True
    inside[0, 3, 3] = True
    assert torch.equal(learned[0], inside)
    assert learned[1].all()


def test_a_box_is_that_of_its_cell():
    """By offsets of the centre, and logarithms of the size, in cells."""
    proposals = generator()
    proposals.head = nn.Linear(DIMS, 5)
    nn.init.zeros_(proposals.head.weight)
    raw = torch.tensor([0.0, 0.5, -1.0, np.log(2), 0.0])
    for bias, wanted in (
        (torch.zeros(5), [8.0, 4, 12, 8]),
        (raw, [8.0, 0, 16, 4]),
    ):
        proposals.head.bias.data = bias
        boxes = proposals._dense(pyramid_of(torch.zeros(1, 1, DIMS, 3, 4)))[1]
        torch.testing.assert_close(boxes[0, 0, 6], torch.tensor(wanted))


def scored(scores, **options):
    """Proposals whose cells have these logits, has shape (H, W)."""
    level = torch.zeros(1, 1, DIMS, *scores.shape)
    level[0, 0, 0] = scores
    proposals = generator(**options)
    proposals.head = nn.Linear(DIMS, 5)
    nn.init.zeros_(proposals.head.weight)
    nn.init.zeros_(proposals.head.bias)
    proposals.head.weight.data[0, 0] = 1.0
    return proposals(pyramid_of(level), {}, ())


def cells(regions) -> list:
    """Row and column of each proposal."""
    boxes = regions.boxes_BTN4[0, 0][regions.mask_BTN[0, 0]]
    corner = boxes[:, :2] / CELL
    return corner.flip(-1).round().long().tolist()


def test_peaks_come_first():
    far = (torch.arange(5) - 1).abs()
    scores = -3.0 - far[:, None] - far
    scores[1, 1], scores[1, 2] = 3.0, 2.0
    scores[4, 4] = -1.0
    regions = scored(scores, num_proposals=3)
    assert cells(regions) == [[1, 1], [4, 4], [1, 2]]
    wanted = torch.tensor([3.0, -1.0, 2.0]).sigmoid()
    torch.testing.assert_close(regions.scores_BTN[0, 0], wanted)
    assert not regions.boxes_BTN4.requires_grad


def test_what_is_unlikely_is_left_out():
    # One that was never trained is sure of nothing: the best of a frame stays.
    level = torch.randn(1, 1, DIMS, 4, 4) * 0.1
    proposals = ObjectProposals(DIMS, num_proposals=3)
    assert proposals(pyramid_of(level), {}, ()).mask_BTN.sum() == 1
    # A small level has fewer cells than proposals.
    regions = scored(torch.zeros(2, 2), num_proposals=9)
    assert regions.mask_BTN.shape == (1, 1, 4) and regions.mask_BTN.all()


def test_beside_a_larger_and_longer_clip():
    """Where all cells are equally sure; test_invariances.py has others."""
    level = torch.ones(2, 4, DIMS, 7, 9)
    proposals = generator(num_proposals=6)
    small = level[:1, :2, :, :4, :5]
    alone = proposals(pyramid_of(small, sizes=[(18, 15)]), {}, ())
    both = dict(frames=[2, 4], sizes=[(18, 15), (36, 28)])
    beside = proposals(pyramid_of(level, **both), {}, ())
    for name in ('boxes_BTN4', 'scores_BTN', 'mask_BTN'):
        one, other = getattr(alone, name), getattr(beside, name)
        torch.testing.assert_close(other[:1, :2], one, msg=name)
    assert not beside.mask_BTN[0, 2:].any()
    hidden = ~beside.mask_BTN
    assert not beside.boxes_BTN4[hidden].any()
    assert not beside.scores_BTN[hidden].any()


def smooth_level(side, objects):
    """A picture of 48 pixels a side in cells; smooth, so that size is all."""
    small = torch.randn(2 * DIMS, 4, 4, generator=torch.manual_seed(1))
    large = nn.functional.interpolate(
        small[None], (side, side), mode='bilinear', align_corners=False
    )
    level = large.view(1, 2, DIMS, side, side)
    pyramid = pyramid_of(level, sizes=[(48.0, 48.0)])
    pyramid.strides = ((48 / side, 48 / side),)
    return pyramid, clip(random_tracks(3, objects, 2, 48))


@pytest.mark.parametrize(('average', 'grows'), [('cells', 1), ('objects', 16)])
def test_losses_do_not_grow_with_the_grid(average, grows):
    """Of boxes that fit as well, on a grid with 16 times the cells."""
    found = []
    for side in (24, 96):
        proposals = generator(average=average, start_size=side / 6)
        pyramid, sample = smooth_level(side, 3)
        losses, _ = proposals.loss_and_predict(pyramid, {}, [sample])
        found.append(losses)
    for name, growth in (('loss_object', grows), ('loss_object_bbox', 1)):
        ratio = found[1][name] / found[0][name]
        assert ratio.item() == pytest.approx(growth, rel=0.3), name


@pytest.mark.parametrize(
    'wrong', [dict(average='frames'), dict(num_proposals=0)]
)
def test_wrong_arguments_are_refused(wrong):
    with pytest.raises(ValueError, match="average must be 'objects' or"):
        ObjectProposals(DIMS, **wrong)


def test_a_narrower_head():
    wide, narrow = generator(), generator(head_dims=2)
    assert [wide.head[0].out_features, narrow.head[0].out_features] == [4, 2]
    level = torch.rand(1, 1, DIMS, 4, 4)
    boxes = [p(pyramid_of(level), {}, []).boxes_BTN4 for p in (wide, narrow)]
    assert boxes[0].shape == boxes[1].shape
    assert not torch.equal(*boxes)
