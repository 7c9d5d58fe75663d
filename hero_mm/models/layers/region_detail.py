"""Details of regions: what a finer level of the pyramid shows in their boxes.

The abstract of HERO names a *pyramid* and a *shifted alignment*, which use
neighbouring regions and frames. We choose that a region, before it meets the
others, reads a finer level at points in and around its box, and part of the
channels at the same place one frame back and one ahead: what moves, turns or
grows differs between the three.

Shape legend: B clips, T frames, N regions a frame, P points a region, C
channels of the finer level, H W grid, D width.
"""

from dataclasses import replace
from typing import Optional

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from hero_mm.registry import MODELS

from ..features import VideoFeatures
from .shift import temporal_shift


@MODELS.register_module()
class RegionDetail(BaseModule):
    """Add to each region what the finer level shows in its box.

    Args:
        in_dims (int): Channels of the finer level.
        embed_dims (int): Width D of the regions.
        dims (int): Channels C that it is projected to before it is read.
            Defaults to 32.
        size (int): Points a side of a region. Defaults to 5.
        scale (float): Side of what is read, in sides of the box. Defaults to
            1.25, a little of what is around it.
        shift_div (int): 1/shift_div of the channels are read one frame back,
            too, and as many one ahead; 0 leaves this out. Defaults to 4.
        init_cfg (dict, optional): Initialization config.
    """

    def __init__(
        self,
        in_dims: int,
        embed_dims: int,
        dims: int = 32,
        size: int = 5,
        scale: float = 1.25,
        shift_div: int = 4,
        init_cfg: Optional[dict] = None,
    ) -> None:
        super().__init__(init_cfg)
        if size < 1 or scale <= 0 or shift_div < 0:
            raise ValueError(
                'size must be at least 1, scale positive and shift_div at '
                f'least 0; got {size}, {scale} and {shift_div}'
            )
        self.size = size
        self.scale = scale
        self.shift = dims // shift_div if shift_div else 0
        # Without a bias padding stays zero, as what lies outside is.
        self.reduce = nn.Conv2d(in_dims, dims, 1, bias=False)
        self.project = nn.Sequential(
            nn.Linear(size**2 * (dims + 2 * self.shift), embed_dims),
            nn.GELU(),
            nn.Linear(embed_dims, embed_dims),
        )

    def _points(self, video: VideoFeatures) -> Tensor:
        """Places to read, in [-1, 1] of a frame of details, (B*T, N, P, 2)."""
        assert video.details is not None
        # Boxes say where to look; they are trained where they are told.
        boxes = video.boxes().detach().flatten(2, 3).flatten(0, 1)
        centre = (boxes[..., :2] + boxes[..., 2:]) / 2
        reach = (boxes[..., 2:] - boxes[..., :2]) * (self.scale / 2)
        steps = torch.arange(self.size, device=boxes.device) + 0.5
        steps = (2 / self.size * steps - 1).to(boxes)
        y, x = torch.meshgrid(steps, steps, indexing='ij')
        offsets = torch.stack([x, y], dim=-1).flatten(0, 1)
        points = centre[..., None, :] + reach[..., None, :] * offsets
        height, width = video.details.map_BTCHW.shape[-2:]
        across, down = video.details.stride
        whole = points.new_tensor([width * across, height * down])
        return 2 * points / whole - 1

    def forward(self, video: VideoFeatures) -> VideoFeatures:
        """Read the details of regions.

        Args:
            video (VideoFeatures): B clips with ``details`` and boxes.

        Returns:
            VideoFeatures: The same regions with what they show, without the
            details.

        Raises:
            ValueError: The clips have no details.
        """
        if video.details is None:
            raise ValueError(
                'these clips have no details: the video encoder needs a '
                'detail_level, and details are read once'
            )
        finer = video.details.map_BTCHW
        clips, frames = finer.shape[:2]
        finer = self.reduce(finer.flatten(0, 1)).unflatten(0, (clips, frames))
        if self.shift:
            beside = finer[:, :, : 2 * self.shift]
            beside = temporal_shift(beside, self.shift, dim=2)
            finer = torch.cat([finer, beside], dim=2)
        read = F.grid_sample(
            finer.flatten(0, 1), self._points(video), align_corners=False
        )
        read = self.project(read.permute(0, 2, 1, 3).flatten(2))
        regions = video.regions_BTHWD
        return replace(
            video, regions_BTHWD=regions + read.view_as(regions), details=None
        )
