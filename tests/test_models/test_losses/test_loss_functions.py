"""Losses against slow references and against hand-made cases."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hero_mm.models.losses import box_iou_pairs, pairwise_iou

number = st.floats(-20, 20, allow_nan=False, width=32)
box = st.tuples(number, number, st.floats(0.5, 20), st.floats(0.5, 20)).map(
    lambda v: (v[0], v[1], v[0] + v[2], v[1] + v[3])
)


def slow_iou(a, b) -> tuple[float, float]:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    inter = width * height
    union = (
        (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter
    )
    hull = (max(a[2], b[2]) - min(a[0], b[0])) * (
        max(a[3], b[3]) - min(a[1], b[1])
    )
    return inter / union, inter / union - (hull - union) / hull


@settings(max_examples=60, deadline=None)
@given(box, box)
def test_iou_is_that_of_the_slow_reference(a, b):
    iou, giou = box_iou_pairs(torch.tensor(a), torch.tensor(b))
    assert (iou.item(), giou.item()) == pytest.approx(slow_iou(a, b), abs=1e-4)
    swapped = box_iou_pairs(torch.tensor(b), torch.tensor(a))
    torch.testing.assert_close((iou, giou), swapped)


@settings(max_examples=30, deadline=None)
@given(box, st.floats(-5, 5), st.floats(0.2, 5))
def test_iou_does_not_see_place_and_scale(a, move, scale):
    one = torch.tensor(a)
    other = one + torch.tensor([1.0, 0.5, 1.5, 1.0])
    usual = box_iou_pairs(one, other)
    moved = box_iou_pairs((one + move) * scale, (other + move) * scale)
    torch.testing.assert_close(usual, moved, atol=1e-3, rtol=1e-3)


def test_iou_by_hand():
    a = torch.tensor(
        [[0, 0, 4, 4], [0, 0, 2, 2], [0, 0, 2, 2], [1, 1, 1, 1]]
    ).float()
    b = torch.tensor(
        [[0, 0, 4, 4], [1, 0, 3, 2], [4, 0, 6, 2], [1, 1, 1, 1]]
    ).float()
    iou, giou = box_iou_pairs(a, b)
    # Same; half of each; a gap as wide as a box; two points.
    assert iou.tolist() == pytest.approx([1, 1 / 3, 0, 0])
    assert giou[:3].tolist() == pytest.approx([1, 1 / 3, -1 / 3])
    assert giou.isfinite().all()


def test_giou_pulls_boxes_that_do_not_touch():
    got = torch.tensor([0.0, 0, 2, 2], requires_grad=True)
    truth = torch.tensor([6.0, 0, 8, 2])
    (1 - box_iou_pairs(got, truth)[1]).backward()
    # Descent moves the right edge to the right.
    assert got.grad[2] < 0


def test_iou_keeps_leading_shapes():
    a, b = torch.rand(2, 3, 5, 4).sort(-1).values
    iou, giou = box_iou_pairs(a, b)
    assert iou.shape == giou.shape == (3, 5)
    pair = box_iou_pairs(a[:, :, None], b[:, None])[0]
    assert pair.shape == (3, 5, 5)
    torch.testing.assert_close(pair.diagonal(dim1=1, dim2=2), iou)


@settings(max_examples=30, deadline=None)
@given(st.lists(box, min_size=1, max_size=4), st.lists(box, min_size=1))
def test_pairwise_iou_is_that_of_all_pairs(a, b):
    got = pairwise_iou(torch.tensor(a)[None], torch.tensor(b)[None])
    assert got.shape == (1, len(a), len(b))
    wanted = [[slow_iou(one, other)[0] for other in b] for one in a]
    torch.testing.assert_close(
        got[0], torch.tensor(wanted), atol=1e-4, rtol=1e-4
    )


def test_empty_boxes_overlap_nothing():
    boxes = torch.tensor([[1.0, 1, 1, 1], [0, 0, 4, 4]])
    got = pairwise_iou(boxes, boxes)
    assert got.tolist() == [[0, 0], [0, 1]]
