"""Regions: chosen, joined, repeated; and the pyramid read at their places."""

import pytest
import torch
from tiny_clips import make_regions

from hero_mm.models import Pyramid, Regions
from hero_mm.models.layers import temporal_shift
from hero_mm.models.regions import (
    read_cells,
    read_centres,
)


def make(boxes, scores, mask=None) -> Regions:
    """Regions of one clip from nested lists, frame by frame."""
    scores = torch.tensor([scores])
    if mask is None:
        mask = scores > 0
    mask = torch.as_tensor(mask).view(scores.shape)
    frames = torch.ones(scores.shape[:2], dtype=torch.bool)
    boxes = torch.tensor([boxes], dtype=torch.float32)
    return Regions.from_boxes(boxes, scores, mask, frames)


def test_best_takes_the_surest_that_are_real():
    boxes = [[[0, 0, 4, k + 1] for k in range(4)]]
    regions = make(boxes, [[0.3, 0.9, 0.7, 0.8]], [True, True, True, False])
    best = regions.best(2)
    assert best.scores_BTN[0, 0].tolist() == pytest.approx([0.9, 0.7])
    assert best.boxes_BTN4[0, 0, :, 3].tolist() == [2, 3]
    assert best.mask_BTN.all()
    # A score of zero still comes before padding.
    none = make(boxes, [[0.0, 0.0, 0.0, 0.0]], [False, False, True, False])
    assert none.best(1).boxes_BTN4[0, 0, 0, 3] == 3
    assert none.best(9).mask_BTN.sum() == 1
    assert none.best(9).mask_BTN.shape[-1] == 4


def test_suppress_leaves_what_no_better_one_overlaps():
    """By 0.6 each; the third one is overlapped by the second alone."""
    boxes = [[[0, 4 * k, 10, 4 * k + 16] for k in range(3)]]
    regions = make(boxes, [[0.7, 0.8, 0.9]])
    for threshold, number in ((0.5, 1), (0.7, 3)):
        kept = regions.suppress(threshold)
        assert kept.mask_BTN.sum() == number
        best = kept.boxes_BTN4[0, 0, 0].tolist()
        assert kept.mask_BTN[0, 0, 0] and best == [0, 8, 10, 24]


def test_each_query_gets_its_clip():
    mask = torch.rand(3, 4, 7) < 0.8
    regions = make_regions(3, 4, 7, 5, mask=mask, real=[4, 2, 3])
    clips = torch.tensor([2, 0, 0])
    # Of one clip nothing is copied.
    one = make_regions(1, 4, 7, 5)
    for given, rows in ((regions, clips), (one, 0 * clips)):
        found = vars(given.of_queries(rows))
        for name, value in vars(given).items():
            if value is not None:
                assert torch.equal(found[name], value[rows]), name


def ramp(frames=1, height=4, width=6, stride=(8.0, 4.0)) -> torch.Tensor:
    """A level whose cells say where they are in pixels, x and y."""
    x = (torch.arange(width) + 0.5) * stride[0]
    y = (torch.arange(height) + 0.5) * stride[1]
    level = torch.stack(torch.meshgrid(x, y, indexing='xy'))
    return level.expand(1, frames, 2, height, width).clone()


def test_reading_is_that_of_torch():
    """With gradients of the level and, where asked for, of the points."""
    torch.manual_seed(0)
    cells = torch.randn(2, 3, 4, 6, 5, requires_grad=True)
    points = (60 * torch.rand(2, 3, 7, 4, 2) - 6).requires_grad_()
    grid = 2 * points / torch.tensor([6 * 8.0, 4 * 4.0]) - 1
    wanted = torch.nn.functional.grid_sample(
        cells.flatten(0, 1).permute(0, 3, 1, 2),
        grid.flatten(0, 1),
        align_corners=False,
    )
    wanted = wanted.permute(0, 2, 3, 1).view(2, 3, 7, 4, 5)
    read = read_cells(cells, (8.0, 4.0), points)
    close = dict(atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(read, wanted, **close)
    grads = [
        torch.autograd.grad(one.square().sum(), (cells, points))
        for one in (read, wanted)
    ]
    torch.testing.assert_close(*grads, **close)


def test_channels_of_the_frames_beside():
    """As of shifted maps."""
    torch.manual_seed(0)
    cells, points = torch.randn(2, 3, 4, 6, 8), 48 * torch.rand(2, 3, 7, 4, 2)
    both = torch.cat([cells, temporal_shift(cells[..., :4], 2)], -1)
    torch.testing.assert_close(
        read_cells(cells, (8.0, 4.0), points, 2),
        read_cells(both, (8.0, 4.0), points),
    )


def test_places_keep_their_precision():
    """Half of the levels of a wide picture, none of its places."""
    cells = ramp(width=100).permute(0, 1, 3, 4, 2).bfloat16()
    points = torch.tensor([[[[[402.0, 6.0]], [[403.0, 6.0]]]]])
    read = read_cells(cells, (8.0, 4.0), points)[0, 0, :, 0, 0]
    assert read[1] - read[0] == pytest.approx(1, abs=0.1)


def test_centres_are_read_from_the_coarsest_level():
    pyramid = Pyramid(
        levels=(torch.zeros(1, 1, 2, 8, 12), ramp()),
        strides=((4.0, 2.0), (8.0, 4.0)),
        frame_mask_BT=torch.ones(1, 1, dtype=torch.bool),
        sizes_B2=torch.tensor([[48.0, 16.0]]),
    )
    boxes = torch.tensor([[[[8.0, 4, 16, 8], [20, 2, 24, 12]]]])
    centres = read_centres(pyramid, boxes)[0, 0]
    torch.testing.assert_close(centres, torch.tensor([[12.0, 6], [22, 7]]))


def test_equally_sure_ones_keep_their_order():
    boxes = [[[k, 0, k + 4, 4] for k in range(40)]]
    few = make(boxes, [[0.5] * 40]).best(8)
    many = make([boxes[0] * 9], [[0.5] * 40 + [0.0] * 320]).best(8)
    assert torch.equal(few.boxes_BTN4, many.boxes_BTN4)
