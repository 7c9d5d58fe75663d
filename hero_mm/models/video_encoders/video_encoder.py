"""Video encoder: any backbone and neck of the MM family, a clip at a time.

The abstract of HERO says *end to end*; we choose that the backbone may be a
2-D one that sees frames or a 3-D one that sees clips, and that a neck may
follow. One level of the result becomes the grid that is reasoned on.

Shape legend: B clips, T frames, C channels, H W grid, D width.
"""

from typing import Optional

import torch
import torch.nn.functional as F
from einops import rearrange
from mmengine.model import BaseModule
from torch import Tensor, nn

from hero_mm.registry import MODELS

from ..features import VideoFeatures

_NO_MAP = (
    '{name} gives a feature of shape {shape}; grounding needs a map with '
    'height and width a frame. Choose a backbone that keeps the map (ResNet, '
    'Swin, SlowOnly, MViT ...), or switch its pooling off.'
)


@MODELS.register_module()
class VideoEncoder(BaseModule):
    """Encode clips into a grid of regions a frame.

    Args:
        backbone (dict): Config of a backbone. Its layout is read from an
            attribute ``input_layout`` ('clip': (B, T, 3, H, W) with masks;
            'frame': (N, 3, H, W); 'video': (B, 3, T, H, W)); without one it
            is 'video' if the backbone holds a 3-D convolution, else 'frame'.
        embed_dims (int): Width D of the result.
        neck (dict, optional): Config of a neck over the levels.
        level (int): The level of the neck (else of the backbone) that becomes
            the grid. Defaults to -1, the last.
        in_channels (int, optional): Channels of that level; found by a trial
            run where it is not given.
        init_cfg (dict, optional): Initialization config.
    """

    def __init__(
        self,
        backbone: dict,
        embed_dims: int,
        neck: Optional[dict] = None,
        level: int = -1,
        in_channels: Optional[int] = None,
        init_cfg: Optional[dict] = None,
    ) -> None:
        super().__init__(init_cfg)
        self.backbone = MODELS.build(backbone)
        self.neck = MODELS.build(neck) if neck is not None else None
        self.level = level
        has_3d = any(isinstance(m, nn.Conv3d) for m in self.modules())
        self.input_layout = getattr(
            self.backbone, 'input_layout', 'video' if has_3d else 'frame'
        )
        channels = in_channels or self._find_channels()
        self.project = nn.Conv2d(channels, embed_dims, 1)
        self.norm = nn.LayerNorm(embed_dims)

    @torch.no_grad()
    def _find_channels(self) -> int:
        was_training = self.training
        self.eval()
        level = self._level(
            torch.zeros(1, 8, 3, 64, 64),
            torch.ones(1, 8, dtype=torch.bool),
            torch.ones(1, 64, 64, dtype=torch.bool),
        )
        self.train(was_training)
        return level.shape[2]

    def _level(
        self, imgs: Tensor, frame_mask: Tensor, pixel_mask: Tensor
    ) -> Tensor:
        """Run backbone and neck; returns one level, (B, T, C, H, W)."""
        num_clips, num_frames = frame_mask.shape
        if self.input_layout == 'clip':
            levels = self.backbone(imgs, frame_mask, pixel_mask)
            flat = [level.flatten(0, 1) for level in levels]
        elif self.input_layout == 'frame':
            levels = self.backbone(imgs.flatten(0, 1))
            flat = [levels] if isinstance(levels, Tensor) else list(levels)
        else:
            levels = self.backbone(imgs.transpose(1, 2))
            levels = [levels] if isinstance(levels, Tensor) else levels
            flat = [self._align_time(level, num_frames) for level in levels]
        if self.neck is not None:
            flat = list(self.neck(tuple(flat)))
        feature = flat[self.level]
        if feature.dim() != 4:
            name = type(self.backbone).__name__
            raise ValueError(
                _NO_MAP.format(name=name, shape=tuple(feature.shape))
            )
        return feature.unflatten(0, (num_clips, num_frames))

    def _align_time(self, level: Tensor, num_frames: int) -> Tensor:
        """Bring a 3-D level (B, C, T', H, W) to the T sampled frames."""
        if not isinstance(level, Tensor) or level.dim() != 5:
            shape = getattr(level, 'shape', type(level).__name__)
            name = type(self.backbone).__name__
            raise ValueError(_NO_MAP.format(name=name, shape=shape))
        if level.shape[2] != num_frames:
            size = (num_frames, *level.shape[3:])
            level = F.interpolate(level, size=size, mode='trilinear')
        return rearrange(level, 'b c t h w -> (b t) c h w')

    def forward(
        self, imgs: Tensor, frame_mask: Tensor, pixel_mask: Tensor
    ) -> VideoFeatures:
        """Encode clips.

        Args:
            imgs (Tensor): Normalised frames, has shape (B, T, 3, H, W).
            frame_mask (Tensor): True on real frames, has shape (B, T).
            pixel_mask (Tensor): True on real pixels, has shape (B, H, W).

        Returns:
            VideoFeatures: Normalised regions of width D, zero on padding.
        """
        level = self._level(imgs, frame_mask, pixel_mask)
        height, width = level.shape[-2:]
        stride = (imgs.shape[-1] / width, imgs.shape[-2] / height)
        centres = region_centres(height, width, stride, imgs.device)
        # A region is real where its first pixel is.
        first = (centres - 0.5 * centres.new_tensor(stride)).long()
        real = pixel_mask[:, first[..., 1], first[..., 0]]
        real = frame_mask[:, :, None, None] & real[:, None]
        grid = self.project(level.flatten(0, 1))
        grid = grid.permute(0, 2, 3, 1).contiguous()
        grid = self.norm(grid).unflatten(0, frame_mask.shape)
        if not real.all():
            grid = grid * real[..., None]
        return VideoFeatures(
            regions_BTHWD=grid,
            frame_mask_BT=frame_mask,
            real_BTHW=real,
            centres_BTHW2=centres.expand(*real.shape, 2),
            stride=stride,
            frame_size=(imgs.shape[-1], imgs.shape[-2]),
        )


def region_centres(
    height: int, width: int, stride: tuple[float, float], device: torch.device
) -> Tensor:
    """Centres of the regions of a grid in pixels.

    Args:
        height (int): Rows of the grid.
        width (int): Columns of the grid.
        stride (tuple[float, float]): Pixels a region covers, (x, y).
        device (torch.device): Where the result lives.

    Returns:
        Tensor: x before y, has shape (H, W, 2).
    """
    ys = (torch.arange(height, device=device) + 0.5) * stride[1]
    xs = (torch.arange(width, device=device) + 0.5) * stride[0]
    y, x = torch.meshgrid(ys, xs, indexing='ij')
    return torch.stack([x, y], dim=-1)
