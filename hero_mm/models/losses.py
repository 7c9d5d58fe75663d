"""Losses that configs name, called as those of mmdet, which is not imported.

Shape legend: Q queries, V captions, B clips, T frames, N boxes, M others.
Boxes are xyxy.
"""

from collections.abc import Sequence
from typing import Optional

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hero_mm.registry import MODELS


def box_iou_pairs(a_N4: Tensor, b_N4: Tensor) -> tuple[Tensor, Tensor]:
    """IoU and generalised IoU (arXiv 1902.09630) pair by pair, (..., N)."""
    a, b = a_N4.unbind(-1), b_N4.unbind(-1)
    inter, union = _overlaps(a, b)
    union = union.clamp(min=1e-6)
    low = [torch.minimum(*pair) for pair in zip(a[:2], b[:2])]
    high = [torch.maximum(*pair) for pair in zip(a[2:], b[2:])]
    hull = _areas((*low, *high)).clamp(min=1e-6)
    iou = inter / union
    return iou, iou - (hull - union) / hull


def pairwise_iou(a_N4: Tensor, b_M4: Tensor) -> Tensor:
    """IoU of every box with every other one, (..., N, M)."""
    a = tuple(side[..., :, None] for side in a_N4.unbind(-1))
    b = tuple(side[..., None, :] for side in b_M4.unbind(-1))
    inter, union = _overlaps(a, b)
    return inter / union.clamp(min=1e-6)


def _areas(sides: Sequence[Tensor]) -> Tensor:
    """By their sides: operations on axes of four numbers are slow."""
    x1, y1, x2, y2 = sides
    return (x2 - x1).clamp(min=0) * (y2 - y1).clamp(min=0)


def _overlaps(
    a: Sequence[Tensor], b: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """Areas of intersection and union of boxes by their sides."""
    low = [torch.maximum(*pair) for pair in zip(a[:2], b[:2])]
    high = [torch.minimum(*pair) for pair in zip(a[2:], b[2:])]
    inter = _areas((*low, *high))
    return inter, _areas(a) + _areas(b) - inter


class WeightedLoss(nn.Module):
    """A loss of each element, weighted and summed as by mmdet's losses."""

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
        """Sum of the weighted losses over ``avg_factor``, or their number."""
        loss = self.each(pred, target)
        if weight is not None:
            loss = loss * weight
        mean = loss.mean() if avg_factor is None else loss.sum() / avg_factor
        return self.loss_weight * mean


@MODELS.register_module()
class GIoULoss(WeightedLoss):
    """1 - GIoU (arXiv 1902.09630) of boxes (N, 4)."""

    def each(self, pred: Tensor, target: Tensor) -> Tensor:
        """The loss of each pair of boxes."""
        return 1 - box_iou_pairs(pred, target)[1]


@MODELS.register_module()
class L1Loss(WeightedLoss):
    """Absolute differences."""

    def each(self, pred: Tensor, target: Tensor) -> Tensor:
        """The loss of each value."""
        return (pred - target).abs()


@MODELS.register_module()
class SigmoidFocalLoss(WeightedLoss):
    """Focal loss (arXiv 1708.02002) on logits of any shape.

    Of targets in [0, 1] (quality focal loss, arXiv 2006.04388). ``alpha`` is
    the weight of positives, 1 - alpha of negatives.
    """

    def __init__(
        self, gamma: float = 2.0, alpha: float = 0.5, loss_weight: float = 1.0
    ) -> None:
        super().__init__(loss_weight)
        self.gamma = gamma
        self.alpha = alpha

    def each(self, pred: Tensor, target: Tensor) -> Tensor:
        """The loss of each logit."""
        target = target.to(pred.dtype)
        bce = F.binary_cross_entropy_with_logits(
            pred, target, reduction='none'
        )
        miss = (pred.sigmoid() - target).abs()
        half = 1 - self.alpha + (2 * self.alpha - 1) * target
        return half * miss**self.gamma * bce


@MODELS.register_module()
class AnyPositiveLoss(WeightedLoss):
    """Cross-entropy of a softmax over (..., N) in which any positive is right.

    Rows without a positive count nothing.
    """

    def each(self, pred: Tensor, target: Tensor) -> Tensor:
        """The loss of each row; the target is True on positives."""
        has = target.any(-1)
        # Without a positive the loss is that of all of them: zero.
        safe = target | ~has[..., None]
        chosen = pred.float().masked_fill(~safe, float('-inf'))
        return pred.float().logsumexp(-1) - chosen.logsumexp(-1)


@MODELS.register_module()
class SpanLoss(WeightedLoss):
    """KL divergence of the distribution over spans from Gaussian targets.

    ``sigma`` is the width of the targets of start and end, in bins.
    """

    def __init__(self, sigma: float = 1.0, loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight)
        self.sigma = sigma

    def each(self, pred: Tensor, target: Tensor) -> Tensor:
        """The loss of each query.

        ``pred`` are logits of spans (Q, T, T), -inf where there is none,
        ``target`` true places of start and end in bins (Q, 2).
        """
        log_prob = pred.flatten(1).log_softmax(-1)
        steps = torch.arange(pred.shape[1], device=pred.device) + 0.5
        # Centred where the boundary is, not at its bin.
        far = (steps - target[..., None]) / self.sigma
        first, last = (-0.5 * far**2).unbind(1)
        wanted = (first[:, :, None] + last[:, None]).flatten(1)
        hidden = log_prob.isneginf()
        wanted = wanted.masked_fill(hidden, float('-inf')).softmax(-1)
        log_prob = log_prob.masked_fill(hidden, 0.0)
        return F.kl_div(log_prob, wanted, reduction='none').sum(-1)


@MODELS.register_module()
class ContrastiveLoss(WeightedLoss):
    """InfoNCE in both directions, with pairs that may be true left out."""

    def forward(  # type: ignore[override]
        self,
        pred: Tensor,
        owner: Tensor,
        ignored: Tensor,
        hard: Tensor,
        mine: slice,
        weight: Optional[Tensor] = None,
    ) -> Tensor:
        """Loss of Q captions, which are some (``mine``) of V.

        Of similarities (V, B) of captions and clips (or tubes), the clip of
        each caption (V,), pairs (V, B) that may be true beside, similarities
        (Q, X) of clips and captions that are not true, and weights (Q,).
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
        if weight is None:
            return self.loss_weight * loss.mean()
        total = (loss * weight).sum() / weight.sum().clamp(min=1)
        return self.loss_weight * total
