"""Positions of regions in space and time, for any grid and any length.

Shape legend: B clips, T frames, H W grid, N steps of an axis, D width.
"""

import math

import torch
from torch import Tensor, nn


def sine_features(positions: Tensor, num_bands: int) -> Tensor:
    """Sines and cosines of positions, wavelengths from 2 to 2 ** num_bands.

    Args:
        positions (Tensor): Positions in steps (frames or cells), shape (N,).
        num_bands (int): Number of wavelengths.

    Returns:
        Tensor: Has shape (N, 2 * num_bands).
    """
    bands = torch.arange(num_bands, device=positions.device)
    angles = positions[:, None] * (2 * math.pi / 2.0 ** (bands + 1))
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


class FramePosition(nn.Module):
    """Learned projection of sine features of the frame number.

    Args:
        embed_dims (int): Width D.
        num_bands (int): Number of wavelengths; 8 reach 256 frames.
    """

    def __init__(self, embed_dims: int, num_bands: int = 8) -> None:
        super().__init__()
        self.num_bands = num_bands
        self.time = nn.Linear(2 * num_bands, embed_dims, bias=False)

    def frames(self, num_frames: int) -> Tensor:
        """Embed frame numbers; returns shape (T, D)."""
        steps = torch.arange(num_frames, device=self.time.weight.device)
        sines = sine_features(steps, self.num_bands)
        return self.time(sines.to(self.time.weight.dtype))


class GridPosition(FramePosition):
    """Learned projection of sine features of frame, row and column.

    Rows and columns are told in steps and as a share of the real part of the
    frame, so that padding does not move a region.

    Args:
        embed_dims (int): Width D.
        num_bands (int): Wavelengths an axis; 8 reach 256 steps.
    """

    def __init__(self, embed_dims: int, num_bands: int = 8) -> None:
        super().__init__(embed_dims, num_bands)
        self.row = nn.Linear(2 * num_bands + 1, embed_dims, bias=False)
        self.column = nn.Linear(2 * num_bands + 1, embed_dims, bias=False)

    def _axis(self, real_BN: Tensor) -> Tensor:
        steps = torch.arange(real_BN.shape[1], device=real_BN.device)
        size = real_BN.sum(1).clamp(min=1)[:, None, None]
        linear = (steps[:, None] + 0.5) / size * 2 - 1
        sines = sine_features(steps, self.num_bands)
        axis = torch.cat([sines.expand(len(size), -1, -1), linear], -1)
        return axis.to(self.row.weight.dtype)

    def forward(self, num_frames: int, region_mask_BHW: Tensor) -> Tensor:
        """Embed grids.

        Args:
            num_frames (int): T.
            region_mask_BHW (Tensor): True on real regions.

        Returns:
            Tensor: Has shape (B, T, H, W, D).
        """
        row = self.row(self._axis(region_mask_BHW.any(2)))
        column = self.column(self._axis(region_mask_BHW.any(1)))
        time = self.frames(num_frames)[None, :, None, None]
        return time + row[:, None, :, None] + column[:, None, None]


class BoxPosition(nn.Module):
    """Embedding of the box that a region would give.

    Where a region is and how large its object is, frame by frame, is what
    motion and neighbourhood are made of.

    Args:
        embed_dims (int): Width D.
        num_bands (int): Wavelengths a coordinate, from 2 regions on.
    """

    def __init__(self, embed_dims: int, num_bands: int = 6) -> None:
        super().__init__()
        self.num_bands = num_bands
        self.project = nn.Sequential(
            nn.Linear(4 * (2 * num_bands + 1), embed_dims),
            nn.GELU(),
            nn.Linear(embed_dims, embed_dims),
        )

    def forward(self, boxes: Tensor) -> Tensor:
        """Embed boxes.

        Args:
            boxes (Tensor): Centre and size (x, y, width, height) in units of
                the stride, has shape (..., 4).

        Returns:
            Tensor: Has shape (..., D).
        """
        waves = sine_features(boxes.flatten(), self.num_bands)
        waves = waves.view(*boxes.shape[:-1], -1)
        return self.project(torch.cat([waves, boxes / 8], dim=-1))
