"""The truth of a batch as padded tensors, for assigners and losses.

Shape legend: B clips, Q queries, T frames, M annotated objects, N regions.
Boxes are xyxy in pixels of the input.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Optional

import torch
import torch.nn.functional as F
from torch import Tensor

from hero_mm.errors import UserError
from hero_mm.registry import TASK_UTILS
from hero_mm.structures import GroundingDataSample

from .losses import pairwise_iou
from .regions import Regions, take_frames

Samples = Sequence[GroundingDataSample]
DELTA_SCALE = 0.2


def padded(value: Tensor, rows: int, columns: int) -> Tensor:
    """Zeros (False) behind the first two axes, up to these sizes."""
    grow = (0, columns - value.shape[1], 0, rows - value.shape[0])
    return F.pad(value, (*[0, 0] * (value.dim() - 2), *grow))


@dataclass
class Tracks:
    """Annotated objects of B clips; boxes are zeros where there is none."""

    boxes_BTM4: Tensor
    valid_BTM: Tensor
    # Where not every object is annotated, the rest of a picture is unknown.
    complete_B: Tensor

    @classmethod
    def of(cls, samples: Samples, num_frames: int) -> 'Tracks':
        """``gt_tracks``, padded to T frames; ValueError without them."""
        for sample in samples:
            if 'gt_tracks' not in sample:
                raise UserError(
                    'regions are trained on annotated objects, and the clip '
                    f'of video {sample.get("video_id")!r} has no gt_tracks: '
                    'train with LoadTubes'
                )
        tracks = [sample.gt_tracks for sample in samples]
        size = max(1, *map(len, tracks)), num_frames
        boxes = torch.stack([padded(one.bboxes, *size) for one in tracks])
        valid = torch.stack([padded(one.valid, *size) for one in tracks])
        complete = [
            valid.new_full((), bool(sample.get('tracks_complete', False)))
            for sample in samples
        ]
        return cls(
            boxes.transpose(1, 2).float(),
            valid.transpose(1, 2),
            torch.stack(complete),
        )


@dataclass
class Tubes:
    """True tubes of Q queries: boxes inside the spans, zeros elsewhere.

    Spans are ``[start, end)`` in native frames; ``known_Q`` is True where the
    tube may be learned from.
    """

    boxes_QT4: Tensor
    valid_QT: Tensor
    spans_Q2: Tensor
    known_Q: Tensor

    @classmethod
    def of(cls, samples: Samples, num_frames: int) -> 'Tubes':
        """``gt_queries``, padded to T frames; tracks alone where not known."""
        boxes, valid, known = [], [], []
        for sample in samples:
            one = sample.gt_queries
            size = len(one.valid), num_frames
            boxes.append(padded(one.bboxes, *size))
            valid.append(padded(one.valid, *size))
            is_known = sample.get('spans_known', True)
            known.append(one.valid.new_full(size[:1], is_known))
        known_Q = torch.cat(known)
        return cls(
            torch.cat(boxes).float(),
            torch.cat(valid) & known_Q[:, None],
            torch.cat([one.gt_queries.spans for one in samples]).float(),
            known_Q,
        )

    def frames(self, kept: Optional[tuple[Tensor, Tensor]]) -> 'Tubes':
        """Some frames (Q, K) of each query, and which of them are meant."""
        if kept is None:
            return self
        return replace(
            self,
            boxes_QT4=take_frames(self.boxes_QT4, kept[0]),
            valid_QT=take_frames(self.valid_QT, kept[0]) & kept[1],
        )


@TASK_UTILS.register_module()
class RegionAssigner:
    """Which regions show an annotated box, in all frames of a batch at once.

    Regions that overlap the box by ``pos_iou`` show it, or the one that
    overlaps it most; from ``neg_iou`` on they are no negatives.
    """

    def __init__(self, pos_iou: float = 0.5, neg_iou: float = 0.3) -> None:
        self.pos_iou = pos_iou
        self.neg_iou = neg_iou

    def __call__(
        self, regions: Regions, boxes_BTM4: Tensor, valid_BTM: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Which show a box, and which may be taken for it, (B, T, N, M)."""
        iou = pairwise_iou(regions.boxes_BTN4, boxes_BTM4)
        asked = regions.mask_BTN[..., None] & valid_BTM[..., None, :]
        iou = iou.masked_fill(~asked, 0.0)
        best = iou.amax(-2, keepdim=True)
        near = iou >= self.neg_iou
        shows = (iou >= self.pos_iou) | (near & (iou == best))
        return shows, near


@TASK_UTILS.register_module()
class DeltaCoder:
    """Corrections of boxes, called as mmdet's ``DeltaXYWHBBoxCoder``.

    In fifths of the sides of a box, and of logarithms of their growth.
    """

    def encode(self, bboxes: Tensor, gt_bboxes: Tensor) -> Tensor:
        """Corrections that lead from boxes to others, both (N, 4)."""
        old, new = _centre_size(bboxes), _centre_size(gt_bboxes)
        side, wanted = old[1].clamp(min=1e-3), new[1].clamp(min=1e-3)
        move, grow = (new[0] - old[0]) / side, (wanted / side).log()
        return torch.cat([move, grow], -1) / DELTA_SCALE

    def decode(self, bboxes: Tensor, pred_bboxes: Tensor) -> Tensor:
        """Corrected boxes, (N, 4); a side changes by e^2 at most."""
        centre, size = _centre_size(bboxes)
        move, grow = (pred_bboxes * DELTA_SCALE).chunk(2, -1)
        centre = centre + move * size
        half = size * grow.clamp(-2, 2).exp() / 2
        return torch.cat([centre - half, centre + half], -1)


def _centre_size(boxes: Tensor) -> tuple[Tensor, Tensor]:
    size = boxes[..., 2:] - boxes[..., :2]
    return (boxes[..., :2] + boxes[..., 2:]) / 2, size


def with_annotated(regions: Regions, tracks: Tracks, jitter: float) -> Regions:
    """Put annotated boxes that no region shows beside the regions.

    So each object has a region in training. Each edge is moved by up to a
    share ``jitter`` of the side. In score, these boxes come first, then the
    region that shows each of the other objects best.
    """
    iou = pairwise_iou(regions.boxes_BTN4, tracks.boxes_BTM4)
    iou = iou.masked_fill(~regions.mask_BTN[..., None], 0.0)
    best = iou.amax(-2)
    missed = tracks.valid_BTM & (best < 0.5)
    found = tracks.valid_BTM & ~missed
    shows = (found[..., None, :] & (iou == best[..., None, :])).any(-1)
    regions = replace(regions, scores_BTN=regions.scores_BTN + shows)
    boxes = tracks.boxes_BTM4
    sides = (boxes[..., 2:] - boxes[..., :2]).repeat(1, 1, 1, 2)
    boxes = boxes + jitter * (2 * torch.rand_like(boxes) - 1) * sides
    return replace(
        regions,
        boxes_BTN4=torch.cat([regions.boxes_BTN4, boxes], 2),
        scores_BTN=torch.cat([regions.scores_BTN, 2.0 * missed], 2),
        mask_BTN=torch.cat([regions.mask_BTN, missed], 2),
    )
