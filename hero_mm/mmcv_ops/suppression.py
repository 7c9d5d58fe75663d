"""Non-maximum suppression: greedy and soft.

Shape legend: N boxes, K kept boxes. Boxes are xyxy in pixels.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from . import common

SOFT_NMS_NAIVE, SOFT_NMS_GAUSSIAN = 0, 2
# Boxes that are compared at once: one trip from the accelerator a block.
BLOCK = 256


def nms(
    boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int = 0
) -> Tensor:
    """Greedy non-maximum suppression: indices of the kept boxes, best first.

    A box (N, 4) is dropped when its IoU with one of a better score (N,) is
    above the threshold; ``offset`` is 1 when ``x2`` is inclusive.
    """
    boxes = boxes + boxes.new_tensor([0, 0, offset, offset])
    vision = common.torchvision_ops()
    if vision is not None:
        return vision.nms(boxes, scores, iou_threshold)
    alive = scores.argsort(descending=True, stable=True)
    kept = [alive[:0]]
    while alive.numel():
        head, tail = alive[:BLOCK], alive[BLOCK:]
        over = _iou(boxes[head], boxes[head]) > iou_threshold
        best = head[_greedy(over.cpu().numpy())]
        drops = _iou(boxes[best], boxes[tail]) > iou_threshold
        alive = tail[~drops.any(0)]
        kept.append(best)
    return torch.cat(kept)


def _greedy(over: NDArray[np.bool_]) -> list[int]:
    """Positions that survive when each kept one drops those it is over."""
    kept: list[int] = []
    dropped = np.zeros(len(over), bool)
    for at, row in enumerate(over):
        if not dropped[at]:
            kept.append(at)
            dropped |= row
    return kept


def _iou(ones: Tensor, others: Tensor) -> Tensor:
    """IoU of each pair, has shape (N, M); 0 where both are empty."""
    least = torch.minimum(ones[:, None, 2:], others[None, :, 2:])
    inner = least - torch.maximum(ones[:, None, :2], others[None, :, :2])
    inter = inner.clamp(min=0).prod(-1)
    areas = [
        (boxes[:, 2:] - boxes[:, :2]).prod(-1) for boxes in (ones, others)
    ]
    union = areas[0][:, None] + areas[1] - inter
    return inter / union.clamp(min=torch.finfo(inter.dtype).tiny)


def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    """Soft non-maximum suppression (arXiv 1704.04503).

    Arguments are those of :func:`nms`, and ``dets`` (N, 5), written in place:
    kept boxes with their new scores, best first; ``sigma`` of the gaussian
    method; ``min_score``, below which boxes are dropped; ``method``: 0 naive,
    1 linear, 2 gaussian. Gives the indices of ``dets``.
    """
    padded = boxes + boxes.new_tensor([0, 0, offset, offset])
    order, left = torch.arange(len(boxes)), scores.clone()
    kept = 0
    while kept < len(order):
        best = kept + int(left[kept:].argmax())
        for values in (order, left):
            values[[kept, best]] = values[[best, kept]]
        index = order[kept]
        dets[kept, :4], dets[kept, 4] = boxes[index], left[kept]
        kept += 1
        iou = _iou(padded[index][None], padded[order[kept:]])[0]
        if method == SOFT_NMS_GAUSSIAN:
            left[kept:] *= torch.exp(-(iou**2) / sigma)
        else:
            drop = torch.ones_like(iou) if method == SOFT_NMS_NAIVE else iou
            left[kept:] *= torch.where(iou >= iou_threshold, 1 - drop, 1)
        stay = _filled(left >= min_score, kept)
        order, left = order[stay], left[stay]
    return order


def _filled(stays: Tensor, kept: int) -> Tensor:
    """Places of the boxes that stay, as mmcv moves them.

    Of equal scores the first one wins: the last box that stays takes the
    place of the first that is dropped, and so on.
    """
    stays[:kept] = True
    number = int(stays.sum())
    places = torch.arange(number)
    gaps = (~stays[:number]).nonzero()[:, 0]
    places[gaps] = number + stays[number:].nonzero()[:, 0].flip(0)
    return places
