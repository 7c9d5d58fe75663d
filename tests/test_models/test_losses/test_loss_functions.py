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
@given(st.lists(box, min_size=1, max_size=4), st.lists(box, min_size=1))
def test_pairwise_iou_is_that_of_all_pairs(a, b):
    got = pairwise_iou(torch.tensor(a)[None], torch.tensor(b)[None])
    assert got.shape == (1, len(a), len(b))
    wanted = [[slow_iou(one, other)[0] for other in b] for one in a]
    torch.testing.assert_close(
        got[0], torch.tensor(wanted), atol=1e-4, rtol=1e-4
    )


def test_iou_by_hand():
    """The same; a half of each; a gap as wide as a box; two points."""
    a = torch.tensor([[0, 0, 4, 4.0], [0, 0, 2, 2], [0, 0, 2, 2], [1] * 4])
    b = torch.tensor([[0, 0, 4, 4.0], [1, 0, 3, 2], [4, 0, 6, 2], [1] * 4])
    a.requires_grad_()
    iou, giou = box_iou_pairs(a, b)
    assert iou.tolist() == pytest.approx([1, 1 / 3, 0, 0])
    assert giou[:3].tolist() == pytest.approx([1, 1 / 3, -1 / 3])
    (iou + giou).sum().backward()
    assert giou.isfinite().all() and a.grad.isfinite().all()
