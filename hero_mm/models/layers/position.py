"""Positions of regions in space and time, for any size and any length.

Shape legend: T frames, R slots, D width.
"""

import math

import torch
from torch import Tensor, nn


def sine_features(positions: Tensor, num_bands: int) -> Tensor:
    """Sines and cosines of positions, wavelengths from 2 to 2 ** num_bands.

    Args:
        positions (Tensor): Positions in steps, has shape (...).
        num_bands (int): Number of wavelengths.

    Returns:
        Tensor: Has shape (..., 2 * num_bands).
    """
    bands = torch.arange(num_bands, device=positions.device)
    angles = positions[..., None] * (2 * math.pi / 2.0 ** (bands + 1))
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


class StepPosition(nn.Module):
    """Learned projection of sine features of a number of steps.

    Args:
        embed_dims (int): Width D.
        num_bands (int): Number of wavelengths; 8 reach 256 steps.
    """

    def __init__(self, embed_dims: int, num_bands: int = 8) -> None:
        super().__init__()
        self.num_bands = num_bands
        self.project = nn.Linear(2 * num_bands, embed_dims, bias=False)

    def forward(self, steps: Tensor) -> Tensor:
        """Embed steps of shape (...): has shape (..., D)."""
        sines = sine_features(steps.float(), self.num_bands)
        return self.project(sines.to(self.project.weight.dtype))


class BoxPosition(nn.Module):
    """Embedding of a box.

    Where a region is and how large, frame by frame, is what motion and
    neighbourhood are made of.

    Args:
        embed_dims (int): Width D.
        num_bands (int): Wavelengths a coordinate, from 2 units on.
    """

    def __init__(self, embed_dims: int, num_bands: int = 6) -> None:
        super().__init__()
        self.num_bands = num_bands
        self.project = nn.Sequential(
            nn.Linear(4 * (2 * num_bands + 1), embed_dims),
            nn.GELU(),
            nn.Linear(embed_dims, embed_dims),
        )

    def forward(self, boxes: Tensor, unit: Tensor) -> Tensor:
        """Embed boxes.

        Args:
            boxes (Tensor): xyxy in pixels, has shape (..., 4).
            unit (Tensor): Pixels that count as one, x and y, (2,).

        Returns:
            Tensor: Has shape (..., D).
        """
        centre = (boxes[..., :2] + boxes[..., 2:]) / 2 / unit
        size = (boxes[..., 2:] - boxes[..., :2]) / unit
        place = torch.cat([centre, size], -1)
        waves = sine_features(place, self.num_bands).flatten(-2)
        features = torch.cat([waves, place / 8], dim=-1)
        dtype = next(self.project.parameters()).dtype
        return self.project(features.to(dtype))
