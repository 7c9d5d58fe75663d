"""What each region shows, in space and time, without words: once a clip.

A region is read from the pyramid by its box at several sizes, which is what
the *pyramid alignment* of HERO asks the words with; part of what it reads is
of the frame before and after. Layers over the regions of a clip follow, and a
correction of their boxes.

Shape legend: B clips, T frames, N slots a frame, S sizes, M annotated
objects, D width. Boxes are xyxy in pixels of the input.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from typing import Any, Optional

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from hero_mm.errors import UserError
from hero_mm.registry import MODELS, TASK_UTILS

from .features import Pyramid
from .layers import (
    BoxPosition,
    Context,
    FeedForward,
    StepPosition,
    reasoning_layers,
)
from .losses import box_iou_pairs
from .regions import Regions, read_cells, region_points
from .targets import Tracks


class PointProjection(FeedForward):
    """Project what was read at all points of a region.

    As a :class:`FeedForward` of (..., C * P), channel by channel, of values
    (..., P, C), point by point: the weights are reordered, which costs less.
    """

    def forward(self, read: Tensor) -> Tensor:
        """Values (..., P, C) to (..., D)."""
        parts: Any = self
        first, *rest = parts
        weight = first.weight.unflatten(1, (read.shape[-1], -1)).mT
        x = F.linear(read.flatten(-2), weight.flatten(1), first.bias)
        for layer in rest:
            x = layer(x)
        return x


class RegionReader(nn.Module):
    """Read a level of the pyramid at points in and around each box.

    ``scale`` 0 reads the mean of the frame. The level is projected to ``dims``
    channels before; 1/shift_div of them are read one frame back, too, and as
    many one ahead.
    """

    def __init__(
        self,
        embed_dims: int,
        scale: float,
        level: int,
        points: int,
        dims: int,
        shift_div: int,
    ) -> None:
        super().__init__()
        self.scale = scale
        self.level = level
        self.points = points
        self.shift = dims // shift_div if shift_div and scale else 0
        self.reduce = nn.Linear(embed_dims, dims, bias=False)
        read = dims + 2 * self.shift
        if scale:
            read *= points**2
        project = PointProjection if scale else FeedForward
        self.project = project(read, embed_dims / read, embed_dims)

    def forward(self, pyramid: Pyramid, regions: Regions) -> Tensor:
        """What the regions show at this size, has shape (B, T, N or 1, D)."""
        if not self.scale:
            means = pyramid.means(self.level)
            return self.project(self.reduce(means))[:, :, None]
        level, stride = pyramid.level(self.level)
        # Without a bias padding stays zero, as what lies outside is.
        cells = self.reduce(level.permute(0, 1, 3, 4, 2))
        points = region_points(regions.boxes_BTN4, self.scale, self.points)
        read = read_cells(cells, stride, points, self.shift)
        return self.project(read.to(self.reduce.weight.dtype))


@MODELS.register_module()
class RegionEncoder(BaseModule):
    """Encode the slots of a clip.

    Args:
        embed_dims (int): Width D.
        scales (Sequence[float]): Sides of what a region is read from, in
            sides of its box; 0 is the frame. One alone leaves the pyramid
            out.
        levels (Sequence[int]): The level of the pyramid for each of them.
        points (Sequence[int]): Points a side for each of them.
        read_dims (int): Channels that are read. Defaults to 16.
        num_layers (int): Layers over the slots, without words.
        num_heads (int): Heads.
        ffn_ratio (float): Hidden width of the feed-forward, in units of D.
        temporal_window (int): Frames of a window along a slot.
        shift (bool): Shifted alignment: in every second layer windows begin
            half a window earlier, and channels look a frame back and ahead.
        shift_div (int): 1/shift_div of the channels look back and as many
            ahead, where regions are read and along the slots.
        attention (str): 'hierarchical', or 'joint' for the baseline.
        temporal_layer (dict, optional): Config of a layer along each slot in
            place of the attention in windows; ``temporal_window`` then has
            no effect. It is built with ``embed_dims``.
        bbox_coder (dict): Config of the coder of the correction.
        assigner (dict): Config of the assigner of regions to objects.
        loss_bbox (dict): Config of the loss of the corrected boxes.
        loss_l1 (dict): Config of the loss of the correction itself.
        init_cfg (dict, optional): Initialization config.
    """

    def __init__(
        self,
        embed_dims: int,
        scales: Sequence[float] = (1.25, 3.0, 0.0),
        levels: Sequence[int] = (0, -1, -1),
        points: Sequence[int] = (7, 3, 1),
        read_dims: int = 16,
        num_layers: int = 1,
        num_heads: int = 4,
        ffn_ratio: float = 2.0,
        temporal_window: int = 8,
        shift: bool = True,
        shift_div: int = 4,
        attention: str = 'hierarchical',
        temporal_layer: Optional[dict] = None,
        bbox_coder: Optional[dict] = None,
        assigner: Optional[dict] = None,
        loss_bbox: Optional[dict] = None,
        loss_l1: Optional[dict] = None,
        init_cfg: Optional[dict] = None,
    ) -> None:
        super().__init__(init_cfg)
        if not scales or min(scales) < 0:
            raise UserError(
                'scales are sides of what a region is read from, in sides of '
                f'its box, or 0 for the frame; got {tuple(scales)}'
            )
        if not len(scales) <= min(len(levels), len(points)):
            raise UserError(
                f'{len(scales)} scales need as many levels and points; got '
                f'{len(levels)} and {len(points)}'
            )
        self.readers = nn.ModuleList(
            RegionReader(
                embed_dims,
                scale,
                level,
                number,
                read_dims,
                shift_div * shift,
            )
            for scale, level, number in zip(scales, levels, points)
        )
        self.norm = nn.LayerNorm(embed_dims)
        self.box_position = BoxPosition(embed_dims)
        self.time_position = StepPosition(embed_dims)
        self.slot_position = StepPosition(embed_dims)
        self.layers = reasoning_layers(
            embed_dims,
            num_layers,
            num_heads,
            ffn_ratio,
            0,
            temporal_window,
            shift,
            shift_div,
            attention,
            temporal_layer=temporal_layer,
        )
        self.correct_norm = nn.LayerNorm(embed_dims)
        self.correct = FeedForward(embed_dims, 2, out_dims=4)
        # An untrained encoder leaves the boxes as they are.
        for parameter in list(self.correct.parameters())[-2:]:
            nn.init.zeros_(parameter)
        self.bbox_coder: Any = TASK_UTILS.build(
            bbox_coder or dict(type='DeltaCoder')
        )
        self.assigner: Any = TASK_UTILS.build(
            assigner or dict(type='RegionAssigner')
        )
        self.loss_bbox = MODELS.build(
            loss_bbox or dict(type='GIoULoss', loss_weight=10.0)
        )
        self.loss_l1 = MODELS.build(
            loss_l1 or dict(type='L1Loss', loss_weight=2.0)
        )

    def forward(self, regions: Regions, pyramid: Pyramid) -> Regions:
        """Slots with features, looks and corrected boxes."""
        shape = regions.boxes_BTN4.shape[:3]
        looks = [reader(pyramid, regions) for reader in self.readers]
        unit = pyramid.unit(-1).to(regions.boxes_BTN4)
        slots = torch.arange(shape[2], device=unit.device)
        x = self.norm(reduce(torch.add, looks).expand(*shape, -1))
        x = x + self.box_position(regions.boxes_BTN4, unit)
        x = x + self.time_position(regions.times_BT)[:, :, None]
        x = x + self.slot_position(slots)
        x = x * regions.mask_BTN[..., None]
        frames = self.time_position(regions.times_BT)
        context = Context(
            regions.mask_BTN, regions.times_BT, regions.frame_mask_BT
        )
        for layer in self.layers:
            x, frames = layer(x, frames, context)
        delta = self.correct(self.correct_norm(x)).float()
        boxes = self.bbox_coder.decode(
            regions.boxes_BTN4.reshape(-1, 4), delta.reshape(-1, 4)
        )
        return replace(
            regions,
            boxes_BTN4=boxes.view(regions.boxes_BTN4.shape),
            features_BTND=x,
            looks_BTNSD=torch.stack(
                [one.expand(*shape, -1) for one in looks], 3
            ),
        )

    def loss(
        self, proposed: Regions, encoded: Regions, tracks: Tracks
    ) -> dict[str, Tensor]:
        """Losses of the corrected boxes, on every annotated object.

        Of what :meth:`forward` got and gave: ``loss_region_bbox``,
        ``loss_region_l1``, and ``region_iou``, the mean IoU of these boxes.
        """
        shows, _ = self.assigner(proposed, tracks.boxes_BTM4, tracks.valid_BTM)
        share = shows.to(encoded.boxes_BTN4) / shows.sum(
            2, keepdim=True
        ).clamp(min=1)
        # All pairs of a slot and an object; most of them weigh nothing.
        shape = (*shows.shape, 4)
        old, new, truth = (
            boxes.expand(shape).reshape(-1, 4)
            for boxes in (
                proposed.boxes_BTN4[..., None, :],
                encoded.boxes_BTN4[..., None, :],
                tracks.boxes_BTM4[:, :, None],
            )
        )
        share = share.flatten()
        number = tracks.valid_BTM.sum().clamp(min=1)
        iou, _ = box_iou_pairs(new.detach(), truth)
        wanted = self.bbox_coder.encode(old, truth)
        pred = self.bbox_coder.encode(old, new)
        return dict(
            loss_region_bbox=self.loss_bbox(
                new, truth, share, avg_factor=number
            ),
            loss_region_l1=self.loss_l1(
                pred, wanted, share[:, None].expand(-1, 4), avg_factor=number
            ),
            region_iou=(iou * share).sum() / number,
        )
