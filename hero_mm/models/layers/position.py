"""Positions of regions in space and time, for any size and any length.

Shape legend: T frames, R slots, D width.
"""

import math

import torch
from torch import Tensor, nn


def sine_features(positions: Tensor, num_bands: int) -> Tensor:
    """Sines and cosines of wavelengths from 2 to 2 ** num_bands."""
    bands = torch.arange(num_bands, device=positions.device)
    angles = positions[..., None] * (2 * math.pi / 2.0 ** (bands + 1))
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


class StepPosition(nn.Module):
    """Projection of sines of a number of steps; 8 bands reach 256."""

    def __init__(self, embed_dims: int, num_bands: int = 8) -> None:
        super().__init__()
        self.num_bands = num_bands
        self.project = nn.Linear(2 * num_bands, embed_dims, bias=False)

    def forward(self, steps: Tensor) -> Tensor:
        """Steps (...) to (..., D)."""
        sines = sine_features(steps.float(), self.num_bands)
        return self.project(sines.to(self.project.weight.dtype))


class BoxPosition(nn.Module):
    """Embedding of a box by its place and size.

    Where a region is and how large, frame by frame, is what motion and
    neighbourhood are made of.
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
        """Boxes (..., 4) to (..., D); unit: pixels that count as one."""
        centre = (boxes[..., :2] + boxes[..., 2:]) / 2 / unit
        size = (boxes[..., 2:] - boxes[..., :2]) / unit
        place = torch.cat([centre, size], -1)
        waves = sine_features(place, self.num_bands).flatten(-2)
        features = torch.cat([waves, place / 8], dim=-1)
        dtype = next(self.project.parameters()).dtype
        return self.project(features.to(dtype))
