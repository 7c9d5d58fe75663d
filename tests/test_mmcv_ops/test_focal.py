"""Focal losses against their definition, in double precision.

Compiled mmcv has no CPU kernel for these.
"""

import pytest
import torch

from hero_mm.mmcv_ops import focal


def slow_sigmoid(logits, target, gamma, alpha, weight):
    probability = logits.double().sigmoid()
    right = target[:, None] == torch.arange(logits.shape[1])
    p = torch.where(right, probability, 1 - probability)
    share = torch.where(right, alpha, 1 - alpha)
    if weight is not None:
        share = share * weight[target][:, None]
    return -share * (1 - p) ** gamma * p.log()


def slow_softmax(logits, target, gamma, alpha, weight):
    probability = logits.double().softmax(-1)
    losses = []
    for row, label in zip(probability, target.tolist()):
        if label < 0:
            losses.append(row.sum() * 0)
            continue
        share = alpha * (1 if weight is None else weight[label])
        losses.append(-share * (1 - row[label]) ** gamma * row[label].log())
    return torch.stack(losses)


@pytest.mark.parametrize('reduction', ['none', 'mean', 'sum'])
@pytest.mark.parametrize('weighted', [False, True])
@pytest.mark.parametrize('gamma', [0.0, 1.5, 2.0])
@pytest.mark.parametrize('kind', ['sigmoid', 'softmax'])
def test_equal_to_the_definition(ours, kind, gamma, weighted, reduction):
    loss = getattr(ours, f'{kind}_focal_loss')
    slow = dict(sigmoid=slow_sigmoid, softmax=slow_softmax)[kind]
    generator = torch.Generator().manual_seed(3)
    logits = (torch.randn(12, 5, generator=generator) * 3).requires_grad_()
    lowest, highest = dict(sigmoid=(0, 6), softmax=(-1, 5))[kind]
    # Class 5 is background, which has no weight.
    highest -= weighted and kind == 'sigmoid'
    target = torch.randint(lowest, highest, (12,), generator=generator)
    weight = torch.rand(5, generator=generator) if weighted else None
    found = loss(logits, target, gamma, 0.25, weight, reduction)
    expected = slow(logits, target, gamma, 0.25, weight)
    if reduction != 'none':
        expected = expected.sum() / (12 if reduction == 'mean' else 1)
    torch.testing.assert_close(found, expected.float(), rtol=1e-5, atol=1e-5)
    if (kind, reduction) == ('softmax', 'none'):
        return  # mmcv's own backward multiplies (N, C) by (N,)
    (grad,) = torch.autograd.grad(found.sum(), logits, retain_graph=True)
    (wanted,) = torch.autograd.grad(expected.sum(), logits)
    torch.testing.assert_close(grad, wanted, rtol=1e-5, atol=1e-5)


def test_far_logits_stay_finite_and_exact(ours):
    logits = torch.tensor([[200.0, -200.0], [-200.0, 0.0]])
    logits.requires_grad_()
    loss = ours.sigmoid_focal_loss(
        logits, torch.tensor([1, 1]), 2.0, 0.25, None, 'none'
    )
    expected = [[150.0, 50.0], [0.0, 0.25 * 0.25 * 0.6931472]]
    torch.testing.assert_close(loss, torch.tensor(expected))
    loss.sum().backward()
    assert logits.grad.isfinite().all()
    # A logit of zero is pushed up where it is the right one.
    assert logits.grad[1, 1] < 0 < logits.grad[0, 0]


@pytest.mark.parametrize('gamma', [0.0, 0.5, 2.0])
def test_a_certain_softmax_has_no_loss(ours, gamma):
    logits = torch.tensor([[200.0, -200.0]], requires_grad=True)
    for label in (0, 1):
        loss = ours.softmax_focal_loss(logits, torch.tensor([label]), gamma)
        (grad,) = torch.autograd.grad(loss, logits)
        assert loss.isfinite() and grad.isfinite().all()
        assert bool(loss > 1) == (label == 1)


def test_background_without_a_weight_is_refused():
    with pytest.raises(ValueError, match='class 5 has no weight'):
        focal.sigmoid_focal_loss_forward(
            torch.zeros(1, 5),
            torch.tensor([5]),
            torch.ones(5),
            torch.zeros(1, 5),
            2.0,
            0.25,
        )
