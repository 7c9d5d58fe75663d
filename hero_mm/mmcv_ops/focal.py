"""Sigmoid and softmax focal loss, with their gradients.

Shape legend: N samples, C classes. The class C means background in the
sigmoid loss, a class below 0 no loss in the softmax loss.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid


class _Terms(NamedTuple):
    """Sigmoid loss of each sample and class, each has shape (N, C)."""

    sign: Tensor  # 1 at the class of the sample, -1 at the others
    right: Tensor  # logit of the right answer
    share: Tensor  # what the loss weighs


def _sigmoid_terms(
    logits: Tensor, target: Tensor, weight: Tensor, alpha: float
) -> _Terms:
    """Parts of which the loss and its derivative are made."""
    classes = torch.arange(logits.shape[1], device=logits.device)
    chosen = target[:, None] == classes
    sign = torch.where(chosen, 1.0, -1.0).to(logits)
    share = torch.where(chosen, alpha, 1 - alpha).to(logits)
    if weight.numel():
        share = share * _of_target(weight, target)[:, None]
    return _Terms(sign, sign * logits, share)


def _of_target(weight: Tensor, target: Tensor) -> Tensor:
    """Weight of the class of each sample, has shape (N,)."""
    if target.numel() and int(target.max()) >= len(weight):
        raise ValueError(
            f'focal loss: the class {int(target.max())} has no weight, '
            f'there are {len(weight)}; leave background samples out, or the '
            'weights of classes'
        )
    return weight[target.clamp(min=0)]


def sigmoid_focal_loss_forward(
    input: Tensor,
    target: Tensor,
    weight: Tensor,
    output: Tensor,
    gamma: float,
    alpha: float,
) -> None:
    """Focal loss (arXiv 1708.02002) of each class against the rest.

    Logarithms are taken of logits, so that far logits lose no digits; the
    compiled operator takes them of probabilities.

    Args:
        input (Tensor): Logits, has shape (N, C).
        target (Tensor): Classes in [0, C], has shape (N,).
        weight (Tensor): Weight of classes, has shape (C,), or (0,) for none.
        output (Tensor): Losses, written in place, has shape (N, C).
        gamma (float): How much easy samples are played down.
        alpha (float): Weight of the right class, 1 - alpha of the others.

    Raises:
        ValueError: If a class of the target has no weight.
    """
    _, right, share = _sigmoid_terms(input, target, weight, alpha)
    easy = (-right).sigmoid() ** gamma
    output.copy_(-share * easy * logsigmoid(right))


def sigmoid_focal_loss_backward(
    input: Tensor,
    target: Tensor,
    weight: Tensor,
    grad_input: Tensor,
    gamma: float,
    alpha: float,
) -> None:
    """Derivative of each loss by its logit, written to ``grad_input``.

    Arguments are those of :func:`sigmoid_focal_loss_forward`.
    """
    sign, right, share = _sigmoid_terms(input, target, weight, alpha)
    wrong = (-right).sigmoid()
    slope = gamma * right.sigmoid() * logsigmoid(right) - wrong
    grad_input.copy_(sign * share * wrong**gamma * slope)


def softmax_focal_loss_forward(
    softmax: Tensor,
    target: Tensor,
    weight: Tensor,
    output: Tensor,
    gamma: float,
    alpha: float,
) -> None:
    """Focal loss of the probability of the right class.

    Args:
        softmax (Tensor): Probabilities, has shape (N, C).
        target (Tensor): Classes below C; negative ones have no loss; has
            shape (N,).
        weight (Tensor): Weight of classes, has shape (C,), or (0,) for none.
        output (Tensor): Losses, written in place, has shape (N,).
        gamma (float): How much easy samples are played down.
        alpha (float): Weight of the whole.

    Raises:
        ValueError: If a class of the target has no weight.
    """
    right, share = _softmax_terms(softmax, target, weight, alpha)
    output.copy_(-share * (1 - right) ** gamma * _log(right))


def softmax_focal_loss_backward(
    softmax: Tensor,
    target: Tensor,
    weight: Tensor,
    buff: Tensor,
    grad_input: Tensor,
    gamma: float,
    alpha: float,
) -> None:
    """Derivative of each loss by the logits, written to ``grad_input``.

    Args:
        softmax (Tensor): Probabilities, has shape (N, C).
        target (Tensor): Classes, has shape (N,).
        weight (Tensor): Weight of classes, has shape (C,), or (0,) for none.
        buff (Tensor): Written in place: probability times derivative by it,
            has shape (N,).
        grad_input (Tensor): Has shape (N, C).
        gamma (float): Of the forward pass.
        alpha (float): Of the forward pass.
    """
    right, share = _softmax_terms(softmax, target, weight, alpha)
    hard = 1 - right
    # 0 ** -1 at a certain sample, whose logarithm is zero.
    bend = torch.where(hard > 0, hard, 1) ** (gamma - 1)
    buff.copy_(share * (gamma * bend * right * _log(right) - hard**gamma))
    classes = torch.arange(softmax.shape[1], device=softmax.device)
    chosen = (target[:, None] == classes).to(softmax)
    grad_input.copy_(buff[:, None] * (chosen - softmax))


def _softmax_terms(
    softmax: Tensor, target: Tensor, weight: Tensor, alpha: float
) -> tuple[Tensor, Tensor]:
    """Probability of the right class, and what its loss weighs, each (N,)."""
    right = softmax.gather(1, target.clamp(min=0)[:, None])[:, 0]
    share = alpha * (target >= 0).to(softmax)
    if weight.numel():
        share = share * _of_target(weight, target)
    return right, share


def _log(probability: Tensor) -> Tensor:
    """Logarithm that stays finite at zero."""
    return probability.clamp(min=torch.finfo(torch.float32).tiny).log()
