"""Sigmoid focal loss, with its gradient.

Shape legend: N samples, C classes. The class C means background.
"""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from hero_mm.errors import UserError

from . import common


def _loss(
    logits: Tensor, target: Tensor, weight: Tensor, gamma: float, alpha: float
) -> Tensor:
    """Loss of each sample and class, has shape (N, C).

    Logarithms are taken of logits, so that far logits lose no digits; the
    compiled operator takes them of probabilities.
    """
    classes = torch.arange(logits.shape[1], device=logits.device)
    chosen = target[:, None] == classes
    right = torch.where(chosen, logits, -logits)
    share = torch.where(chosen, alpha, 1 - alpha).to(logits)
    if weight.numel():
        if target.numel() and int(target.max()) >= len(weight):
            raise UserError(
                f'focal loss: the class {int(target.max())} has no weight, '
                f'there are {len(weight)}; leave background samples out, or '
                'the weights of classes'
            )
        share = share * weight[target][:, None]
    return -share * (-right).sigmoid() ** gamma * logsigmoid(right)


def sigmoid_focal_loss_forward(
    input: Tensor,
    target: Tensor,
    weight: Tensor,
    output: Tensor,
    gamma: float,
    alpha: float,
) -> None:
    """Focal loss (arXiv 1708.02002) of each class against the rest.

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
    output.copy_(_loss(input, target, weight, gamma, alpha))


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
    grads = common.gradients(
        lambda logits: _loss(logits, target, weight, gamma, alpha),
        [input],
        torch.ones_like(input),
    )
    common.write([grad_input], grads)
