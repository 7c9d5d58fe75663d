"""Sigmoid focal loss.

Shape legend: N samples, C classes. The class C means background.
"""

from typing import Optional

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid


def sigmoid_focal_loss(
    logits: Tensor,
    target: Tensor,
    gamma: float = 2.0,
    alpha: float = 0.25,
    weight: Optional[Tensor] = None,
    reduction: str = 'mean',
) -> Tensor:
    """Focal loss (arXiv 1708.02002) of each class against the rest.

    Logarithms are taken of ``logits`` (N, C), so that far ones lose no digits;
    ``target`` (N,) has classes, ``weight`` (C,) their weights. 'mean' is over
    samples.
    """
    classes = torch.arange(logits.shape[1], device=logits.device)
    chosen = target[:, None] == classes
    right = torch.where(chosen, logits, -logits)
    share = torch.where(chosen, alpha, 1 - alpha).to(logits)
    if weight is not None:
        share = share * weight.detach()[target][:, None]
    loss = -share * (-right).sigmoid() ** gamma * logsigmoid(right)
    if reduction == 'none':
        return loss.to(logits.dtype)
    return loss.sum() / (len(logits) if reduction == 'mean' else 1)
