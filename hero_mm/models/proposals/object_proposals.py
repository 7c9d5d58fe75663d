"""HERO's own proposals: a class-agnostic head on a level of the pyramid.

Every cell regresses the box of the object that is centred near it, and says
how well that box will fit, 0 where there is no object.

Shape legend: B clips, T frames, P = H W cells of the level, M annotated
objects, K proposals a frame, D width. Boxes are xyxy in pixels of the input.
"""

import math
from dataclasses import replace
from typing import Any, Optional

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hero_mm.errors import UserError
from hero_mm.registry import MODELS

from ..features import Pyramid
from ..losses import box_iou_pairs
from ..regions import Regions
from ..targets import Tracks
from .base import ProposalGenerator, Samples


@MODELS.register_module()
class ObjectProposals(ProposalGenerator):
    """Propose peaks of an objectness; docs/configs.md lists the options."""

    def __init__(
        self,
        embed_dims: int,
        level: int = 0,
        num_proposals: int = 32,
        head_dims: Optional[int] = None,
        min_score: float = 0.05,
        centre_radius: float = 0.3,
        start_size: float = 1.0,
        average: str = 'objects',
        loss_object: Optional[dict] = None,
        loss_bbox: Optional[dict] = None,
        init_cfg: Optional[dict] = None,
    ) -> None:
        super().__init__(init_cfg)
        if average not in ('objects', 'cells') or num_proposals < 1:
            raise UserError(
                "average must be 'objects' or 'cells', and num_proposals "
                f'positive; got {average!r} and {num_proposals}'
            )
        self.level = level
        self.num_proposals = num_proposals
        self.min_score = min_score
        self.centre_radius = centre_radius
        self.average = average
        hidden = head_dims or embed_dims // 2
        self.head = nn.Sequential(
            nn.Linear(embed_dims, hidden), nn.GELU(), nn.Linear(hidden, 5)
        )
        # Few cells hold the centre of an object.
        last: Any = self.head[-1]
        nn.init.constant_(last.bias[:1], -4.0)
        with torch.no_grad():
            last.bias[3:] += math.log(start_size)
        self.loss_object = MODELS.build(
            loss_object or dict(type='SigmoidFocalLoss', loss_weight=5.0)
        )
        self.loss_bbox = MODELS.build(
            loss_bbox or dict(type='GIoULoss', loss_weight=10.0)
        )

    def _dense(
        self, pyramid: Pyramid
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Logits (B, T, P), boxes (B, T, P, 4), centres (P, 2), unit (2,)."""
        level, _ = pyramid.level(self.level)
        out = self.head(level.flatten(3).transpose(2, 3)).float()
        unit = pyramid.unit(self.level)
        height, width = level.shape[-2:]
        y = torch.arange(height, device=out.device) + 0.5
        x = torch.arange(width, device=out.device) + 0.5
        grid = torch.stack(torch.meshgrid(y, x, indexing='ij')[::-1], -1)
        centres = grid.flatten(0, 1) * unit
        middle = centres + out[..., 1:3] * unit
        half = out[..., 3:].clamp(-5, 5).exp() * unit / 2
        boxes = torch.cat([middle - half, middle + half], -1)
        return out[..., 0], boxes, centres, unit

    @torch.no_grad()
    def _peaks(
        self, pyramid: Pyramid, logits_BTP: Tensor, boxes_BTP4: Tensor
    ) -> Regions:
        """The best cells, peaks first, so that objects do not crowd."""
        real = pyramid.real_cells(self.level)[:, None]
        real = real & pyramid.frame_mask_BT[:, :, None, None]
        prob = logits_BTP.sigmoid().view(real.shape) * real
        around = prob
        for _ in range(2):
            # A row and a column at a time: max_pool2d is slow here.
            around = F.pad(around, (1, 1))
            sides = torch.maximum(around[..., :-2], around[..., 2:])
            around = torch.maximum(around[..., 1:-1], sides).mT
        rank = prob + (prob == around) * real
        # Stable: what is equally sure must not depend on the padding.
        order = rank.flatten(2).sort(dim=-1, descending=True, stable=True)
        chosen = order.indices[..., : self.num_proposals]
        whole = Regions.from_boxes(
            boxes_BTP4,
            prob.flatten(2),
            (real & (prob >= self.min_score)).flatten(2),
            pyramid.frame_mask_BT,
        )
        best = whole.pick(chosen)
        # The best of a frame stays, however unlikely.
        mask = best.mask_BTN.clone()
        mask[..., 0] |= pyramid.frame_mask_BT
        boxes = best.boxes_BTN4 * mask[..., None]
        return replace(best, mask_BTN=mask, boxes_BTN4=boxes)

    @torch.no_grad()
    def forward(
        self, pyramid: Pyramid, inputs: dict[str, Tensor], samples: Samples
    ) -> Regions:
        """See :meth:`ProposalGenerator.forward`."""
        logits, boxes, _, _ = self._dense(pyramid)
        return self._peaks(pyramid, logits, boxes)

    def loss_and_predict(
        self, pyramid: Pyramid, inputs: dict[str, Tensor], samples: Samples
    ) -> tuple[dict[str, Tensor], Regions]:
        """See :meth:`ProposalGenerator.loss_and_predict`.

        Where tracks are not complete, cells outside of boxes are not asked.
        """
        logits, boxes, centres, unit = self._dense(pyramid)
        tracks = Tracks.of(samples, logits.shape[1])
        near = _near(tracks, centres, unit, self.centre_radius)
        real = pyramid.real_cells(self.level).flatten(1)[:, None]
        real = real & pyramid.frame_mask_BT[..., None]
        positive = near.any(2) & real
        # Of two objects in a cell, the smaller one.
        sides = tracks.boxes_BTM4[..., 2:] - tracks.boxes_BTM4[..., :2]
        area = sides.prod(-1)[..., None].expand(near.shape)
        owner = area.masked_fill(~near, float('inf')).min(2).indices
        share = (1.0 / near.sum(-1).clamp(min=1)).gather(2, owner)
        truth = tracks.boxes_BTM4.gather(2, owner[..., None].expand_as(boxes))
        number = tracks.valid_BTM.sum().clamp(min=1)
        loss_bbox = self.loss_bbox(
            boxes.flatten(0, -2),
            truth.flatten(0, -2),
            (share * positive).flatten(),
            avg_factor=number,
        )
        quality = positive * box_iou_pairs(boxes.detach(), truth)[0]
        within = _near(tracks, centres, unit, 0.5).any(2)
        asked = (within | tracks.complete_B[:, None, None]) & real
        if self.average == 'cells':
            number = positive.sum().clamp(min=1)
        loss_object = self.loss_object(
            logits, quality, asked.to(logits), avg_factor=number
        )
        losses = dict(loss_object=loss_object, loss_object_bbox=loss_bbox)
        return losses, self._peaks(pyramid, logits, boxes)


def _near(
    tracks: Tracks, centres_P2: Tensor, unit: Tensor, radius: float
) -> Tensor:
    """Cells near the centres of annotated boxes, has shape (B, T, M, P)."""
    boxes = tracks.boxes_BTM4[..., None, :]
    middle = (boxes[..., :2] + boxes[..., 2:]) / 2
    reach = (boxes[..., 2:] - boxes[..., :2]) * radius
    reach = torch.maximum(reach, unit / 2)
    near = ((centres_P2 - middle).abs() <= reach).all(-1)
    return near & tracks.valid_BTM[..., None]
