"""Losses against slow references and against hand-made cases."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hero_mm.models.losses import (
    AnyPositiveLoss,
    ContrastiveLoss,
    GIoULoss,
    L1Loss,
    SigmoidFocalLoss,
    SpanLoss,
    box_iou_pairs,
    pairwise_iou,
)

LOW = -1e4
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


def test_box_losses_by_hand():
    pred = torch.tensor([[0.0, 0, 4, 4], [1, 1, 3, 3], [0, 0, 2, 2]])
    target = torch.tensor([[0.0, 0, 4, 4], [1, 1, 3, 3], [1, 0, 3, 2]])
    # The last one overlaps by a third and is off by 1 twice.
    assert GIoULoss(3.0)(pred, target).item() == pytest.approx(3 * 2 / 9)
    assert L1Loss(3.0)(pred, target).item() == pytest.approx(3 * 2 / 12)
    weight, number = torch.tensor([1.0, 1, 0.5]), torch.tensor(2.0)
    got = GIoULoss()(pred, target, weight, avg_factor=number)
    assert got.item() == pytest.approx(2 / 3 / 4)
    weight = weight[:, None].expand(-1, 4)
    got = L1Loss()(pred, target, weight, avg_factor=number)
    assert got.item() == pytest.approx(0.5)
    torch.testing.assert_close(
        GIoULoss()(pred, target + 1),
        1 - box_iou_pairs(pred, target + 1)[1].mean(),
    )


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
    got = AnyPositiveLoss()(torch.tensor(logits), torch.tensor(positive))
    assert got.item() == pytest.approx(-math.log(hit / sum(odds)), abs=1e-4)


def test_any_positive_counts_rows_that_have_one():
    pred = torch.tensor([[0.0, 0, LOW], [3, 1, 2], [1, 1, 1]])
    target = torch.tensor([[1, 0, 0], [0, 0, 0], [1, 1, 0]]).bool()
    rows = math.log(2), math.log(3 / 2)
    loss = AnyPositiveLoss(loss_weight=2.0)
    number = torch.tensor(4.0)
    got = loss(pred, target, avg_factor=number)
    assert got.item() == pytest.approx(sum(rows) / 2)
    pred.requires_grad_()
    loss(pred, target, avg_factor=number).backward()
    assert pred.grad.isfinite().all()
    assert pred.grad[1].abs().max() == 0 < pred.grad[0].abs().max()


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(st.floats(-6, 6, width=32), st.floats(0, 1, width=32)),
        min_size=1,
        max_size=6,
    ),
    st.floats(0, 1),
    st.floats(0, 4),
)
def test_focal_is_the_formula(cells, alpha, gamma):
    wanted = 0.0
    for logit, goal in cells:
        prob = 1 / (1 + math.exp(-logit))
        entropy = -goal * math.log(prob) - (1 - goal) * math.log(1 - prob)
        weight = alpha * goal + (1 - alpha) * (1 - goal)
        wanted += weight * abs(prob - goal) ** gamma * entropy
    pred, target = torch.tensor(cells, dtype=torch.float64).unbind(-1)
    got = SigmoidFocalLoss(gamma, alpha)(pred, target)
    assert got.item() == pytest.approx(wanted / len(cells), abs=1e-6)


def gaussian(number: int, centre: float, sigma: float) -> list[float]:
    return [
        math.exp(-0.5 * ((step + 0.5 - centre) / sigma) ** 2)
        for step in range(number)
    ]


def slow_span_loss(logits, start: float, end: float, sigma: float) -> float:
    """KL over the pairs (first, last) that are allowed, one by one."""
    first, last = (gaussian(len(logits), x, sigma) for x in (start, end))
    pairs = [
        (s, e)
        for s in range(len(logits))
        for e in range(s, len(logits))
        if logits[s][e] > -math.inf
    ]
    total = sum(math.exp(logits[s][e]) for s, e in pairs)
    share = sum(first[s] * last[e] for s, e in pairs)
    got = 0.0
    for s, e in pairs:
        target = first[s] * last[e] / share
        if target > 0:
            got += target * math.log(target / (math.exp(logits[s][e]) / total))
    return got


def allowed(number: int, padding: int = 0) -> torch.Tensor:
    order = torch.ones(number + padding, number + padding).triu().bool()
    order[number:] = order[:, number:] = False
    return order


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 6),
    st.integers(0, 2),
    st.floats(0, 1),
    st.floats(0, 1),
    st.floats(0.5, 2),
    st.integers(0, 1000),
)
def test_span_loss_is_that_of_the_slow_reference(
    number, padding, low, high, sigma, seed
):
    low, high = sorted((number * low, number * high))
    order = allowed(number, padding)
    gen = torch.Generator().manual_seed(seed)
    logits = torch.randn(order.shape, generator=gen) * 2
    logits = logits.masked_fill(~order, -math.inf)
    got = SpanLoss(sigma)(logits[None], torch.tensor([[low, high]]))
    wanted = slow_span_loss(logits.tolist(), low, high, sigma)
    assert got.item() == pytest.approx(wanted, abs=1e-4)


def slow_contrast(pred, owner, ignored, hard, mine, loss_weight=1.0):
    """Caption by caption: its clip among clips, it among captions."""
    total = 0.0
    captions = range(*mine.indices(len(owner)))
    for q, caption in enumerate(captions):
        clip = int(owner[caption])
        own = float(pred[caption, clip])
        others = [
            float(pred[caption, b])
            for b in range(pred.shape[1])
            if b != clip and not ignored[caption, b]
        ]
        wrong = [
            float(pred[v, clip])
            for v in range(len(owner))
            if owner[v] != clip and not ignored[v, clip]
        ]
        wrong += [float(h) for h in hard[q] if h > LOW]
        for rivals in (others, wrong):
            logits = torch.tensor([own, *rivals], dtype=torch.float64)
            total -= logits.log_softmax(0)[0].item() / 2
    return loss_weight * total / len(captions)


@pytest.mark.parametrize('seed', range(8))
def test_contrast_agrees_with_a_loop_over_captions(seed):
    """Some captions are of other processes, some may be true elsewhere."""
    gen = torch.Generator().manual_seed(seed)

    def rand(*shape):
        return torch.randn(*shape, generator=gen)

    clips, captions = 3, 7
    mine = slice(1, 6)
    owner = torch.randint(0, clips, (captions,), generator=gen)
    owner[0], owner[6] = -1, 4
    ignored = rand(captions, clips) > 0.5
    hard = rand(5, 2).masked_fill(rand(5, 2) > 0.5, LOW)
    pred = 3 * rand(captions, clips)
    got = ContrastiveLoss(2.0)(pred, owner, ignored, hard, mine)
    wanted = slow_contrast(pred, owner, ignored, hard, mine, 2.0)
    assert got.item() == pytest.approx(wanted, abs=1e-5)
