"""Positions of regions in space and time, for any grid and any length.

Shape legend: T frames, H W grid, D width.
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


class GridPosition(nn.Module):
    """Learned projection of sine features of frame, row and column.

    Args:
        embed_dims (int): Width D.
        num_bands (int): Wavelengths an axis; 8 reach 256 steps.
    """

    def __init__(self, embed_dims: int, num_bands: int = 8) -> None:
        super().__init__()
        self.num_bands = num_bands
        self.time = nn.Linear(2 * num_bands, embed_dims, bias=False)
        self.row = nn.Linear(2 * num_bands + 1, embed_dims, bias=False)
        self.column = nn.Linear(2 * num_bands + 1, embed_dims, bias=False)

    def _axis(self, size: int) -> Tensor:
        steps = torch.arange(size, device=self.time.weight.device)
        linear = (steps[:, None] + 0.5) / size * 2 - 1
        return torch.cat([sine_features(steps, self.num_bands), linear], -1)

    def frames(self, num_frames: int) -> Tensor:
        """Embed frame numbers; returns shape (T, D)."""
        steps = torch.arange(num_frames, device=self.time.weight.device)
        return self.time(sine_features(steps, self.num_bands))

    def forward(self, num_frames: int, height: int, width: int) -> Tensor:
        """Embed a grid; returns shape (T, H, W, D)."""
        time = self.frames(num_frames)[:, None, None]
        row = self.row(self._axis(height))[None, :, None]
        return time + row + self.column(self._axis(width))[None, None]
