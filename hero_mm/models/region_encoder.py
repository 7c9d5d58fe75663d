"""What each region shows, in space and time, without words: once a clip.

A region is read from the pyramid at several sizes of its box. Layers over the
regions of a clip follow, and a correction of their boxes.

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
    SHIFT_DIV,
    BoxPosition,
    Context,
    FeedForward,
    StepPosition,
    reasoning_layers,
    start_silent,
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

    ``scale`` 0 reads the mean of the frame. With ``shift`` some channels are
    read one frame back, too, and as many one ahead.
    """

    def __init__(
        self,
        embed_dims: int,
        scale: float,
        level: int,
        points: int,
        dims: int,
        shift: bool,
    ) -> None:
        super().__init__()
        self.scale = scale
        self.level = level
        self.points = points
        self.shift = dims // SHIFT_DIV if shift and scale else 0
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


class ColourReader(nn.Module):
    """Read the frames themselves at ``points`` a side within each box.

    Features that are learned from scratch tell colours late.
    """

    def __init__(self, embed_dims: int, points: int) -> None:
        super().__init__()
        self.points = points
        read = 3 * points**2
        self.project = FeedForward(read, embed_dims / read, embed_dims)

    def forward(self, pyramid: Pyramid, regions: Regions) -> Tensor:
        """What the regions show, has shape (B, T, N, D)."""
        if pyramid.picture_BT3HW is None:
            raise UserError(
                'region_encoder.colour_points reads the frames, and the video '
                'encoder gives none: set it to 0'
            )
        across, down = pyramid.level(0)[1]
        read = read_cells(
            pyramid.picture_BT3HW.permute(0, 1, 3, 4, 2),
            (across / 2, down / 2),
            region_points(regions.boxes_BTN4, 0.6, self.points),
        )
        return self.project(read.flatten(-2).to(pyramid.levels[0]))


@MODELS.register_module()
class RegionEncoder(BaseModule):
    """Encode the slots of a clip. docs/configs.md lists its options."""

    def __init__(
        self,
        embed_dims: int,
        scales: Sequence[float] = (1.25, 3.0, 0.0),
        levels: Sequence[int] = (0, -1, -1),
        points: Sequence[int] = (7, 3, 1),
        read_dims: int = 16,
        colour_points: int = 3,
        num_layers: int = 1,
        num_heads: int = 4,
        temporal_window: int = 8,
        shift: bool = True,
        attention: str = 'hierarchical',
        temporal_layer: Optional[dict] = None,
        bbox_coder: Optional[dict] = None,
        assigner: Optional[dict] = None,
        loss_bbox: Optional[dict] = None,
        loss_l1: Optional[dict] = None,
        init_cfg: Optional[dict] = None,
    ) -> None:
        super().__init__(init_cfg)
        if not 0 < len(scales) <= min(len(levels), len(points)):
            raise UserError(
                f'{len(scales)} scales need as many levels and points; got '
                f'{len(levels)} and {len(points)}'
            )
        if read_dims % SHIFT_DIV:
            raise UserError(f'{read_dims=} is no multiple of {SHIFT_DIV}')
        self.readers = nn.ModuleList(
            RegionReader(embed_dims, scale, level, number, read_dims, shift)
            for scale, level, number in zip(scales, levels, points)
        )
        self.colours = None
        if colour_points:
            self.colours = ColourReader(embed_dims, colour_points)
        self.norm = nn.LayerNorm(embed_dims)
        self.box_position = BoxPosition(embed_dims)
        self.time_position = StepPosition(embed_dims)
        self.slot_position = StepPosition(embed_dims)
        self.layers = reasoning_layers(
            embed_dims,
            num_layers,
            num_heads,
            0,
            temporal_window,
            shift,
            attention,
            temporal_layer,
        )
        self.correct_norm = nn.LayerNorm(embed_dims)
        self.correct = FeedForward(embed_dims, 2, out_dims=4)
        # An untrained encoder leaves the boxes as they are.
        start_silent(self.correct[-1])
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
        if self.colours is not None:
            looks[0] = looks[0] + self.colours(pyramid, regions)
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
        looks = [one.expand(*shape, -1) for one in looks]
        return replace(
            regions,
            boxes_BTN4=boxes.view(regions.boxes_BTN4.shape),
            features_BTND=x,
            looks_BTNSD=torch.stack(looks, 3),
        )

    def loss(
        self, proposed: Regions, encoded: Regions, tracks: Tracks
    ) -> dict[str, Tensor]:
        """Losses, and the IoU, of the corrected boxes of annotated objects.

        Of what :meth:`forward` got and gave.
        """
        shows, _ = self.assigner(proposed, tracks.boxes_BTM4, tracks.valid_BTM)
        count = shows.sum(2, keepdim=True).clamp(min=1)
        share = shows.to(encoded.boxes_BTN4) / count
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
