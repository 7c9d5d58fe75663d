"""Losses of tubes as plain functions; no state, no weights.

Shape legend: N boxes, Q queries, T frames.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def box_iou_pairs(a_N4: Tensor, b_N4: Tensor) -> tuple[Tensor, Tensor]:
    """IoU and generalised IoU (arXiv 1902.09630) of boxes, pair by pair.

    Args:
        a_N4 (Tensor): Boxes, xyxy, has shape (..., 4).
        b_N4 (Tensor): Boxes, xyxy, of the same shape.

    Returns:
        tuple[Tensor, Tensor]: IoU in [0, 1] and GIoU in [-1, 1], has shape
        (...).
    """
    area_a = (a_N4[..., 2:] - a_N4[..., :2]).clamp(min=0).prod(-1)
    area_b = (b_N4[..., 2:] - b_N4[..., :2]).clamp(min=0).prod(-1)
    low = torch.maximum(a_N4[..., :2], b_N4[..., :2])
    high = torch.minimum(a_N4[..., 2:], b_N4[..., 2:])
    inter = (high - low).clamp(min=0).prod(-1)
    union = (area_a + area_b - inter).clamp(min=1e-6)
    low = torch.minimum(a_N4[..., :2], b_N4[..., :2])
    high = torch.maximum(a_N4[..., 2:], b_N4[..., 2:])
    hull = (high - low).clamp(min=0).prod(-1).clamp(min=1e-6)
    iou = inter / union
    return iou, iou - (hull - union) / hull


def any_positive_cross_entropy(logits: Tensor, positive: Tensor) -> Tensor:
    """Minus the log of the probability that a softmax gives to any positive.

    Args:
        logits (Tensor): -inf on padding, has shape (..., C).
        positive (Tensor): Bool, at least one True a row, same shape.

    Returns:
        Tensor: Has shape (...).
    """
    chosen = logits.masked_fill(~positive, float('-inf'))
    return logits.logsumexp(-1) - chosen.logsumexp(-1)


def boundary_kl(logits_QT: Tensor, bins_Q: Tensor, sigma: float) -> Tensor:
    """KL divergence of a boundary's softmax from a Gaussian at its bin.

    Args:
        logits_QT (Tensor): -inf on padding, has shape (Q, T).
        bins_Q (Tensor): The true bin, in [0, T), fractional.
        sigma (float): Width of the Gaussian in bins.

    Returns:
        Tensor: Has shape (Q,).
    """
    steps = torch.arange(logits_QT.shape[1], device=logits_QT.device)
    far = (steps - bins_Q[:, None]) / sigma
    target = (-0.5 * far**2).masked_fill(logits_QT.isneginf(), float('-inf'))
    target = target.softmax(-1)
    log_prob = logits_QT.log_softmax(-1).clamp(min=-100)
    return F.kl_div(log_prob, target, reduction='none').sum(-1)
