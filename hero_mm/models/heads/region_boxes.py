"""Boxes of regions: from what a region regresses to what it answers for.

Shape legend: Q queries, T frames, N regions, X boxes. Boxes are xyxy in
pixels of the input unless a name says raw.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from hero_mm.structures import GroundingDataSample

from ..features import VideoFeatures
from ..losses import box_iou_pairs


def positive_regions(
    boxes: Tensor,
    centres: Tensor,
    stride: tuple[float, float],
    radius: float,
) -> Tensor:
    """Regions that should answer for a box.

    The region that holds the centre of the box, so that the smallest box has
    one, and those whose centre is near it, measured in sizes of the box.

    Args:
        boxes (Tensor): Boxes xyxy in pixels, has shape (..., 4).
        centres (Tensor): Centres of the regions, has shape (..., N, 2).
        stride (tuple[float, float]): Pixels a region covers, (x, y).
        radius (float): Nearness, 0.5 reaches to the edge of the box.

    Returns:
        Tensor: Bool, has shape (..., N).
    """
    middle = (boxes[..., None, :2] + boxes[..., None, 2:]) / 2
    reach = (boxes[..., None, 2:] - boxes[..., None, :2]) * radius
    half = boxes.new_tensor(stride) / 2
    return ((centres - middle).abs() <= torch.maximum(reach, half)).all(-1)


def overlapping_regions(
    boxes: Tensor, proposals: Tensor, threshold: float
) -> Tensor:
    """Proposals that should answer for a box.

    Args:
        boxes (Tensor): Boxes xyxy in pixels, has shape (..., 4).
        proposals (Tensor): Boxes xyxy, has shape (..., N, 4).
        threshold (float): IoU from which on a proposal answers.

    Returns:
        Tensor: Bool, has shape (..., N).
    """
    iou, _ = box_iou_pairs(proposals, boxes[..., None, :])
    return iou >= threshold


def true_boxes(
    samples: Sequence[GroundingDataSample], video: VideoFeatures
) -> tuple[Tensor, Tensor]:
    """Boxes and validity of the true tubes, padded to T frames.

    Args:
        samples (Sequence[GroundingDataSample]): With ``gt_queries``.
        video (VideoFeatures): Tells T.

    Returns:
        tuple[Tensor, Tensor]: Has shapes (Q, T, 4) and (Q, T).
    """
    num_frames = video.frame_mask_BT.shape[1]
    boxes, valid = [], []
    for sample in samples:
        truth = sample.gt_queries
        grow = num_frames - truth.bboxes.shape[1]
        boxes.append(F.pad(truth.bboxes, (0, 0, 0, grow)))
        valid.append(F.pad(truth.valid, (0, grow)))
    return torch.cat(boxes), torch.cat(valid)


def frame_sizes(
    samples: Sequence[GroundingDataSample], device: torch.device
) -> Tensor:
    """Width and height of the frames of clips, without their padding.

    Args:
        samples (Sequence[GroundingDataSample]): B samples.
        device (torch.device): Where the result lives.

    Returns:
        Tensor: In pixels of the input, has shape (B, 2).
    """
    sizes = [sample.img_shape[::-1] for sample in samples]
    return torch.tensor(sizes, dtype=torch.float32, device=device)


def box_distances(
    told_XN4: Tensor,
    truth_X4: Tensor,
    positive_XN: Tensor,
    share_XN: Tensor,
    size_X2: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Distances of told boxes from true ones, at the regions that answer.

    Args:
        told_XN4 (Tensor): The box of each region.
        truth_X4 (Tensor): The true boxes.
        positive_XN (Tensor): True on the regions that answer for a box.
        share_XN (Tensor): Weight of each of them.
        size_X2 (Tensor): Width and height of the frame of each box, without
            its padding.

    Returns:
        tuple[Tensor, Tensor, Tensor]: Sums of L1 (in frame sizes), of
        1 - GIoU and of IoU.
    """
    rows = positive_XN.nonzero(as_tuple=True)[0]
    told, truth = told_XN4[positive_XN], truth_X4[rows]
    share = share_XN[positive_XN]
    size = size_X2[rows].to(told).repeat(1, 2)
    l1 = ((told - truth).abs() / size).sum(-1)
    iou, giou = box_iou_pairs(told, truth)
    return (
        (l1 * share).sum(),
        ((1 - giou) * share).sum(),
        (iou * share).sum(),
    )
