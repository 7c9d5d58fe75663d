"""Deformable convolution v1 and v2, multi-scale deformable attention.

Shape legend: B images, C channels, O output channels, G deformable groups,
kh kw kernel, k = kh * kw, H W grid, h w output grid. Of the attention: V
values, Q queries, M heads, L levels, P points, D width of a head.
"""

from typing import Optional, Union

import torch
from torch import Tensor
from torch.nn.functional import conv2d
from torch.nn.modules.utils import _pair

from hero_mm.errors import UserError

from . import common

Pair = Union[int, tuple[int, int]]
# Stride, padding and dilation as (rows, columns).
Geometry = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]


def deform_conv2d(
    features: Tensor,
    offset: Tensor,
    weight: Tensor,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
    deform_groups: int = 1,
    bias: bool = False,
    im2col_step: int = 32,
) -> Tensor:
    """Deformable convolution (arXiv 1703.06211).

    As :func:`modulated_deform_conv2d`, without mask and bias.
    ``im2col_step`` is one of the compiled operator and unused.
    """
    return modulated_deform_conv2d(
        features,
        offset,
        None,
        weight,
        None,
        stride,
        padding,
        dilation,
        groups,
        deform_groups,
    )


def modulated_deform_conv2d(
    features: Tensor,
    offset: Tensor,
    mask: Optional[Tensor],
    weight: Tensor,
    bias: Optional[Tensor] = None,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
    deform_groups: int = 1,
) -> Tensor:
    """Deformable convolution v2 (arXiv 1811.11168): samples have a weight.

    Args:
        features (Tensor): Has shape (B, C, H, W).
        offset (Tensor): Row and column in cells for each point of the
            kernel, has shape (B, G * k * 2, h, w).
        mask (Tensor): Weight of each sample, has shape (B, G * k, h, w). Of
            larger offsets and masks the first numbers of each image are
            taken, as compiled mmcv does and mmdet's DyHead learns with.
        weight (Tensor): Has shape (O, C / groups, kh, kw).
        bias (Tensor, optional): Has shape (O,).
        stride (int | tuple): In cells, as padding and dilation.
        padding (int | tuple): Zeros around the grid.
        dilation (int | tuple): Between the points of the kernel.
        groups (int): Known from the weight.
        deform_groups (int): Groups G of channels with offsets of their own.

    Returns:
        Tensor: Has shape (B, O, h, w) and the type of the offset. ValueError
        where that does not fit.
    """
    how = (_pair(stride), _pair(padding), _pair(dilation))
    axes = zip(features.shape[2:], weight.shape[2:], *how)
    size = tuple(
        (length + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
        for length, kernel, stride, padding, dilation in axes
    )
    wanted = (deform_groups * 2 * weight[0, 0].numel(), *size)
    larger = mask is not None and offset[0, 0].numel() >= size[0] * size[1]
    fits = offset.shape[2:] == size or larger
    if offset.shape[1] != wanted[0] or not fits:
        raise UserError(
            f'deformable convolution: the offset has shape '
            f'{tuple(offset.shape)}, and {(len(offset), *wanted)} fits the '
            f'output, the kernel and {deform_groups} deformable group(s)'
        )
    given = offset.dtype
    # Half precision cannot tell places in a large grid.
    exact = torch.promote_types(given, torch.float32)
    features, weight = features.to(exact), weight.to(exact)
    offset = _first(offset, size).to(exact)
    mask = None if mask is None else _first(mask, size).to(exact)
    bias = None if bias is None else bias.to(exact)
    with torch.autocast(features.device.type, enabled=False):
        offset, where = _move(offset, features, weight, how, deform_groups)
        vision = common.torchvision_ops()
        if vision is not None:
            out: Tensor = vision.deform_conv2d(
                features, offset, weight, bias, *how, mask=mask
            )
            return out.to(given)
        # A kernel as large as the samples that it takes: one 1 x 1 one.
        return conv2d(
            _sample(features, where, mask),
            weight.reshape(len(weight), -1, 1, 1),
            bias,
            groups=features.shape[1] // weight.shape[1],
        ).to(given)


def _first(value: Tensor, size: tuple[int, ...]) -> Tensor:
    """The first numbers of each image as maps of a size (h, w)."""
    if value.shape[2:] == size:
        return value
    batch, channels = value.shape[:2]
    number = channels * size[0] * size[1]
    return value.flatten(1)[:, :number].reshape(batch, channels, *size)


def _move(
    offset: Tensor,
    features: Tensor,
    weight: Tensor,
    how: Geometry,
    groups: int,
) -> tuple[Tensor, Tensor]:
    """Offsets, and the row and column that each reads, (B, G, k, 2, h, w).

    A place on the border, a cell outside of the grid, reads zero, and the
    compiled operator gives it no gradient either; both ways of computing here
    would, at exactly -1. Zero offsets and padding put samples there.
    """
    places = []
    for axis, length in enumerate(offset.shape[-2:]):
        stride, padding, dilation = (pair[axis] for pair in how)
        taps = torch.arange(weight.shape[2 + axis], device=offset.device)
        start = torch.arange(length, device=offset.device) * stride
        places.append((taps * dilation)[:, None] + start - padding)
    rows, columns = places
    shape = (len(rows), len(columns), *offset.shape[-2:])
    grid = torch.stack(
        [
            rows[:, None, :, None].expand(shape),
            columns[None, :, None, :].expand(shape),
        ],
        2,
    ).flatten(0, 1)
    split = offset.view(len(offset), groups, *grid.shape)
    where = split.detach() + grid
    ends = where.new_tensor(features.shape[-2:]).view(2, 1, 1)
    inside = ((where > -1) & (where < ends)).all(3, keepdim=True)
    split = torch.where(inside, split, split.detach())
    return split.view_as(offset), split + grid


def _sample(features: Tensor, where: Tensor, mask: Optional[Tensor]) -> Tensor:
    """What each point of the kernel reads, has shape (B, C * k, h, w)."""
    batch, channels, height, width = features.shape
    _, groups, points, _, high, wide = where.shape
    cell, share = common.corners(
        where[:, :, :, 0], where[:, :, :, 1], height, width
    )
    if mask is not None:
        share = share * mask.reshape(batch, groups, points, high, wide, 1)
    image = torch.arange(batch * groups, device=where.device)
    cell = cell + image.view(batch, groups, 1, 1, 1, 1) * (height * width)
    table = common.as_table(
        features.reshape(batch * groups, channels // groups, height, width)
    )
    read = common.weighted_rows(
        table, cell.reshape(-1, 4), share.reshape(-1, 4)
    ).view(batch, groups, points, high, wide, channels // groups)
    return read.permute(0, 1, 5, 2, 3, 4).reshape(
        batch, channels * points, high, wide
    )


class MultiScaleDeformableAttnFunction:
    """What mmcv calls on an accelerator (arXiv 2010.04159)."""

    @staticmethod
    def apply(
        value: Tensor,
        shapes: Tensor,
        starts: Tensor,
        locations: Tensor,
        weights: Tensor,
        im2col_step: int,
    ) -> Tensor:
        """Read values by mmcv's own version in Python, in float32 at least.

        ``value`` has shape (B, V, M, D), ``shapes`` (L, 2), ``locations``
        (B, Q, M, L, P, 2), ``weights`` (B, Q, M, L, P), what is returned
        (B, Q, M * D); ``starts`` and ``im2col_step`` are unused.
        """
        from mmcv.ops.multi_scale_deform_attn import (
            multi_scale_deformable_attn_pytorch,
        )

        exact = torch.promote_types(value.dtype, torch.float32)
        output: Tensor = multi_scale_deformable_attn_pytorch(
            value.to(exact),
            shapes.cpu(),
            locations.to(exact),
            weights.to(exact),
        )
        return output.to(value.dtype)
