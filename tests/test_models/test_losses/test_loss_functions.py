"""Losses against slow references and against hand-made cases."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hero_mm.models.losses import (
    any_positive_cross_entropy,
    boundary_targets,
    box_iou_pairs,
    pairwise_iou,
    span_kl,
)

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


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(-8, 8, width=32), st.booleans()),
        min_size=1,
        max_size=9,
    ).filter(lambda row: any(flag for _, flag in row))
)
def test_any_positive_is_minus_log_of_a_sum(row):
    logits = [value for value, _ in row]
    positive = [flag for _, flag in row]
    odds = [math.exp(value) for value in logits]
    hit = sum(o for o, flag in zip(odds, positive) if flag)
    got = any_positive_cross_entropy(
        torch.tensor(logits), torch.tensor(positive)
    )
    assert got.item() == pytest.approx(-math.log(hit / sum(odds)), abs=1e-4)


def test_one_positive_is_cross_entropy():
    logits, target = torch.randn(6, 5), torch.randint(5, (6,))
    positive = torch.nn.functional.one_hot(target, 5).bool()
    torch.testing.assert_close(
        any_positive_cross_entropy(logits, positive),
        torch.nn.functional.cross_entropy(logits, target, reduction='none'),
    )


def test_any_positive_ignores_padding_and_has_a_finite_gradient():
    logits = torch.tensor([[1.0, 2.0, float('-inf')]], requires_grad=True)
    positive = torch.tensor([[True, False, False]])
    loss = any_positive_cross_entropy(logits, positive).sum()
    assert loss.item() == pytest.approx(math.log(1 + math.e))
    loss.backward()
    assert logits.grad.isfinite().all()
    all_of_them = torch.ones_like(positive)
    assert any_positive_cross_entropy(logits, all_of_them).item() == 0


def gaussian(number: int, padding: int, centre: float, sigma: float):
    steps = np.arange(number)
    got = np.exp(-0.5 * ((steps - centre) / sigma) ** 2)
    return np.concatenate([got / got.sum(), np.zeros(padding)])


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 8), st.integers(0, 3), st.floats(0, 1), st.floats(0.5, 2)
)
def test_boundary_targets_are_a_gaussian_on_real_frames(
    number, padding, at, sigma
):
    centre = at * (number - 1)
    mask = torch.arange(number + padding)[None] < number
    got = boundary_targets(mask, torch.tensor([centre]), sigma)
    wanted = gaussian(number, padding, centre, sigma)
    assert got[0].tolist() == pytest.approx(wanted.tolist(), abs=1e-5)


def slow_span_kl(logits, start, end) -> float:
    """Over the pairs (first, last) that are allowed, one by one."""
    pairs = [
        (s, e)
        for s in range(len(start))
        for e in range(s, len(end))
        if logits[s][e] > -math.inf
    ]
    total = sum(math.exp(logits[s][e]) for s, e in pairs)
    share = sum(start[s] * end[e] for s, e in pairs)
    got = 0.0
    for s, e in pairs:
        target = start[s] * end[e] / share
        if target > 0:
            got += target * math.log(target / (math.exp(logits[s][e]) / total))
    return got


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 6),
    st.integers(0, 2),
    st.floats(0, 1),
    st.floats(0, 1),
    st.integers(0, 1000),
)
def test_span_kl_is_that_of_the_slow_reference(
    number, padding, low, high, seed
):
    low, high = sorted((low, high))
    start = gaussian(number, padding, low * (number - 1), 1.0)
    end = gaussian(number, padding, high * (number - 1), 1.0)
    gen = torch.Generator().manual_seed(seed)
    size = number + padding
    logits = torch.randn(size, size, generator=gen) * 2
    allowed = torch.ones(size, size).triu().bool()
    allowed[number:] = allowed[:, number:] = False
    logits = logits.masked_fill(~allowed, -math.inf)
    got = span_kl(
        logits[None],
        torch.tensor(start).float()[None],
        torch.tensor(end).float()[None],
    )
    assert got.shape == (1,)
    wanted = slow_span_kl(logits.tolist(), start, end)
    assert got.item() == pytest.approx(wanted, abs=1e-4)


def test_span_kl_is_zero_at_its_target_and_finite_far_away():
    mask = torch.tensor([[True] * 5 + [False]])
    start = boundary_targets(mask, torch.tensor([1.2]), 0.8)
    end = boundary_targets(mask, torch.tensor([3.4]), 0.8)
    order = torch.ones(1, 6, 6).triu() > 0
    right = (start[:, :, None].log() + end[:, None].log()).masked_fill(
        ~order, -math.inf
    )
    assert span_kl(right, start, end).item() == pytest.approx(0, abs=1e-5)
    sure = torch.zeros(1, 6, 6)
    sure[0, 4, 4] = 500.0
    sure = sure.masked_fill(right.isneginf(), -math.inf).requires_grad_()
    far = span_kl(sure, start, end)
    assert far.isfinite().all() and far.item() > 10
    far.sum().backward()
    assert sure.grad.isfinite().all()


def test_span_kl_learns_two_answers_as_pairs():
    """Not the pair of the start of one and the end of the other."""
    start, end = torch.zeros(2, 6), torch.zeros(2, 6)
    start[0, 0] = end[0, 1] = start[1, 4] = end[1, 5] = 1.0
    order = torch.ones(6, 6).triu() > 0
    logits = torch.zeros(6, 6, requires_grad=True)
    optimizer = torch.optim.SGD([logits], lr=5.0)
    for _ in range(200):
        optimizer.zero_grad()
        got = logits.masked_fill(~order, -math.inf).expand(2, -1, -1)
        span_kl(got, start, end).mean().backward()
        optimizer.step()
    prob = logits.masked_fill(~order, -math.inf).flatten().softmax(0)
    prob = prob.detach().view(6, 6)
    assert prob[0, 1].item() == pytest.approx(0.5, abs=0.02)
    assert prob[4, 5].item() == pytest.approx(0.5, abs=0.02)
    assert prob[0, 5] < 0.01
