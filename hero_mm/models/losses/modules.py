"""Losses that configs name; they are called as those of mmdet.

Those that mmdet has, too, are here so that a model is built without importing
it; ``dict(type='mmdet.GIoULoss')`` and the like take their place.

Shape legend: Q queries, V captions, T frames, N regions of a frame.
"""

from typing import Optional

import torch
from torch import Tensor, nn

from hero_mm.registry import MODELS

from .functional import (
    any_positive_cross_entropy,
    boundary_targets,
    box_iou_pairs,
    span_kl,
)


def weighted_mean(
    loss: Tensor, weight: Optional[Tensor], avg_factor: Optional[Tensor]
) -> Tensor:
    """Sum of weighted losses over a number, as mmdet's losses do it.

    Args:
        loss (Tensor): Of any shape.
        weight (Tensor, optional): Of the same shape.
        avg_factor (Tensor, optional): Defaults to the number of losses.
    """
    if weight is not None:
        loss = loss * weight
    if avg_factor is None:
        return loss.mean()
    return loss.sum() / avg_factor


class WeightedLoss(nn.Module):
    """A loss of each element, weighted and summed as by mmdet's losses.

    Args:
        loss_weight (float): Weight. Defaults to 1.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def each(self, pred: Tensor, target: Tensor) -> Tensor:
        """The loss of each element."""
        raise NotImplementedError

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        weight: Optional[Tensor] = None,
        avg_factor: Optional[Tensor] = None,
    ) -> Tensor:
        """Weighted mean.

        Args:
            pred (Tensor): Predictions.
            target (Tensor): Truth, same shape.
            weight (Tensor, optional): Of each element; 0 where nothing is
                asked.
            avg_factor (Tensor, optional): Defaults to the number of elements.
        """
        loss = self.each(pred, target)
        return self.loss_weight * weighted_mean(loss, weight, avg_factor)


@MODELS.register_module()
class GIoULoss(WeightedLoss):
    """1 - GIoU (arXiv 1902.09630) of boxes xyxy, has shape (N,)."""

    def each(self, pred: Tensor, target: Tensor) -> Tensor:
        """The loss of each pair of boxes (N, 4)."""
        return 1 - box_iou_pairs(pred, target)[1]


@MODELS.register_module()
class L1Loss(WeightedLoss):
    """Absolute differences."""

    def each(self, pred: Tensor, target: Tensor) -> Tensor:
        """The loss of each value."""
        return (pred - target).abs()


@MODELS.register_module()
class AnyPositiveLoss(nn.Module):
    """Cross-entropy of a softmax in which any positive is right.

    Args:
        loss_weight (float): Weight. Defaults to 1.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        avg_factor: Optional[Tensor] = None,
    ) -> Tensor:
        """Loss of rows that have a positive; the others count nothing.

        Args:
            pred (Tensor): Logits, very low on padding, has shape (..., N).
            target (Tensor): True on positives, same shape.
            avg_factor (Tensor, optional): Defaults to the number of rows with
                a positive.
        """
        has = target.any(-1)
        # Without a positive the loss is that of the first, times zero.
        safe = target | (~has[..., None] & _first(target))
        loss = any_positive_cross_entropy(pred.float(), safe)
        number = has.sum().clamp(min=1) if avg_factor is None else avg_factor
        return self.loss_weight * weighted_mean(loss, has.to(loss), number)


def _first(like: Tensor) -> Tensor:
    first = torch.zeros_like(like)
    first[..., 0] = True
    return first


@MODELS.register_module()
class SigmoidFocalLoss(WeightedLoss):
    """Focal loss (arXiv 1708.02002) on logits of any shape.

    mmdet's takes class numbers of two axes; this one takes targets in [0, 1],
    0 or 1 or between (quality focal loss, arXiv 2006.04388).

    Args:
        gamma (float): How much easy ones count less. Defaults to 2.
        alpha (float): Weight of positives, 1 - alpha of negatives. Defaults
            to 0.5.
        loss_weight (float): Weight. Defaults to 1.
    """

    def __init__(
        self, gamma: float = 2.0, alpha: float = 0.5, loss_weight: float = 1.0
    ) -> None:
        super().__init__(loss_weight)
        self.gamma = gamma
        self.alpha = alpha

    def each(self, pred: Tensor, target: Tensor) -> Tensor:
        """The loss of each logit; the target is bool or in [0, 1]."""
        target = target.to(pred.dtype)
        bce = nn.functional.binary_cross_entropy_with_logits(
            pred, target, reduction='none'
        )
        miss = (pred.sigmoid() - target).abs()
        half = 1 - self.alpha + (2 * self.alpha - 1) * target
        return half * miss**self.gamma * bce


@MODELS.register_module()
class SpanLoss(nn.Module):
    """KL divergence of the distribution over spans from Gaussian targets.

    Args:
        sigma (float): Width of the targets of start and end, in bins.
            Defaults to 1.
        loss_weight (float): Weight. Defaults to 1.
    """

    def __init__(self, sigma: float = 1.0, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.sigma = sigma
        self.loss_weight = loss_weight

    def forward(
        self,
        pred: Tensor,
        start: Tensor,
        end: Tensor,
        mask: Tensor,
        weight: Optional[Tensor] = None,
        avg_factor: Optional[Tensor] = None,
    ) -> Tensor:
        """Loss of Q queries.

        Args:
            pred (Tensor): Logits of spans, has shape (Q, T, T).
            start (Tensor): True place of the start in bins, has shape (Q,).
            end (Tensor): Of the end, has shape (Q,).
            mask (Tensor): True on real bins, has shape (Q, T).
            weight (Tensor, optional): Of each query, has shape (Q,).
            avg_factor (Tensor, optional): Defaults to Q.
        """
        # The target is centred where the boundary is, not at its bin.
        first = boundary_targets(mask, start - 0.5, self.sigma)
        last = boundary_targets(mask, end - 0.5, self.sigma)
        loss = span_kl(pred, first, last)
        return self.loss_weight * weighted_mean(loss, weight, avg_factor)


@MODELS.register_module()
class ContrastiveLoss(nn.Module):
    """InfoNCE in both directions, with pairs that may be true left out.

    Args:
        loss_weight (float): Weight. Defaults to 1.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(
        self,
        pred: Tensor,
        owner: Tensor,
        ignored: Tensor,
        hard: Tensor,
        mine: slice,
        weight: Optional[Tensor] = None,
    ) -> Tensor:
        """Loss of Q captions, which are some of V.

        Args:
            pred (Tensor): Scaled similarities of V captions and B clips (or
                tubes), has shape (V, B).
            owner (Tensor): The clip of each caption; other numbers are clips
                of other processes. Has shape (V,).
            ignored (Tensor): True where a caption may be true of a clip that
                is not its own, has shape (V, B).
            hard (Tensor): Scaled similarities of each caption's clip with
                captions made from it that are not true, very low where there
                is none; has shape (Q, X).
            mine (slice): The Q captions among the V.
            weight (Tensor, optional): Of each of them, has shape (Q,).
        """
        pred = pred.float()
        clip = owner[mine]
        own = pred[mine].gather(1, clip[:, None])
        columns = torch.arange(pred.shape[1], device=pred.device)
        skip = ignored[mine] & (columns != clip[:, None])
        to_clip = pred[mine].masked_fill(skip, -1e4).logsumexp(1)
        # Other captions of the same clip are true of it as well.
        skip = ignored.t()[clip] | (owner == clip[:, None])
        others = pred.t()[clip].masked_fill(skip, -1e4)
        to_caption = torch.cat([own, others, hard.float()], 1).logsumexp(1)
        loss = (to_clip + to_caption) / 2 - own.squeeze(1)
        total = None if weight is None else weight.sum().clamp(min=1)
        return self.loss_weight * weighted_mean(loss, weight, total)
