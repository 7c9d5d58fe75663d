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


def pairwise_iou(a_N4: Tensor, b_M4: Tensor) -> Tensor:
    """IoU of every box with every other one.

    Args:
        a_N4 (Tensor): Boxes, xyxy, has shape (..., N, 4).
        b_M4 (Tensor): Boxes, xyxy, has shape (..., M, 4).

    Returns:
        Tensor: In [0, 1], has shape (..., N, M).
    """
    a, b = a_N4[..., :, None, :], b_M4[..., None, :, :]
    low = torch.maximum(a[..., :2], b[..., :2])
    high = torch.minimum(a[..., 2:], b[..., 2:])
    inter = (high - low).clamp(min=0).prod(-1)
    area_a = (a[..., 2:] - a[..., :2]).clamp(min=0).prod(-1)
    area_b = (b[..., 2:] - b[..., :2]).clamp(min=0).prod(-1)
    return inter / (area_a + area_b - inter).clamp(min=1e-6)


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


def boundary_targets(mask_QT: Tensor, bins_Q: Tensor, sigma: float) -> Tensor:
    """Probabilities of the bins of a boundary: a Gaussian at its place.

    Args:
        mask_QT (Tensor): True on real frames, has shape (Q, T).
        bins_Q (Tensor): The true bin, in [0, T), fractional.
        sigma (float): Width of the Gaussian in bins.

    Returns:
        Tensor: Rows sum to one, zero on padding, has shape (Q, T).
    """
    steps = torch.arange(mask_QT.shape[1], device=mask_QT.device)
    far = (steps - bins_Q[:, None]) / sigma
    return (-0.5 * far**2).masked_fill(~mask_QT, float('-inf')).softmax(-1)


def span_kl(logits_QTT: Tensor, start_QT: Tensor, end_QT: Tensor) -> Tensor:
    """KL divergence of the softmax over spans from a true distribution.

    Args:
        logits_QTT (Tensor): Of each pair of first and last frame, -inf where
            the last one comes first or is padding.
        start_QT (Tensor): True probabilities of the first frame.
        end_QT (Tensor): True probabilities of the last frame.

    Returns:
        Tensor: Has shape (Q,).
    """
    log_prob = logits_QTT.flatten(1).log_softmax(-1)
    target = (start_QT[:, :, None] * end_QT[:, None]).flatten(1)
    target = target.masked_fill(log_prob.isneginf(), 0.0)
    target = target / target.sum(-1, keepdim=True).clamp(min=1e-9)
    log_prob = log_prob.masked_fill(log_prob.isneginf(), 0.0)
    return F.kl_div(log_prob, target, reduction='none').sum(-1)
