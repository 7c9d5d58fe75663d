"""What the plain operators share: torchvision and bilinear reading.

Shape legend: n points, m outputs, s samples an output, K rows, C channels,
H W grid.
"""

import functools
from types import ModuleType
from typing import Optional

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag


@functools.cache
def torchvision_ops() -> Optional[ModuleType]:
    """The module ``torchvision.ops``, or None where it does not import.

    One that was built for CUDA beside a CPU torch raises RuntimeError or
    OSError.
    """
    try:
        import torchvision.ops
    except (ImportError, OSError, RuntimeError, AttributeError):
        return None
    return torchvision.ops


def corners(
    ys: Tensor, xs: Tensor, height: int, width: int
) -> tuple[Tensor, Tensor]:
    """The four cells (n, 4) around points (n,), and their weights (n, 4).

    Cells are ``row * W + column``; those outside of the grid weigh nothing: it
    is surrounded by zeros. Differentiable in the points, which are in cells.
    """
    top, left = ys.detach().floor(), xs.detach().floor()
    down, right = ys - top, xs - left
    row = torch.stack([top, top, top + 1, top + 1], -1)
    column = torch.stack([left, left + 1, left, left + 1], -1)
    weight = torch.stack([1 - down, 1 - down, down, down], -1) * torch.stack(
        [1 - right, right, 1 - right, right], -1
    )
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    cell = row.clamp(0, height - 1) * width + column.clamp(0, width - 1)
    return cell.long(), weight * inside


def weighted_rows(table: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
    """Weighted sums (m, C) of rows (m, s) of a table (K, C), without a copy.

    Differentiable in the table and in the weights (m, s).
    """
    weights = weights.to(table.dtype).contiguous()
    return embedding_bag(rows, table, mode='sum', per_sample_weights=weights)


def as_table(features: Tensor) -> Tensor:
    """Feature maps (B, C, H, W) as one row a cell, (B * H * W, C)."""
    return features.permute(0, 2, 3, 1).reshape(-1, features.shape[1])
