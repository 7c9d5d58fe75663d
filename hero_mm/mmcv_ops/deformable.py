"""Deformable convolution v1 and v2.

Shape legend: B images, C channels, O output channels, G deformable groups,
kh kw kernel, k = kh * kw, H W grid, h w output grid.
"""

from typing import NamedTuple, Optional, Union

import torch
from torch import Tensor
from torch.nn.functional import conv2d
from torch.nn.modules.utils import _pair

from hero_mm.errors import UserError

from . import common

Pair = Union[int, tuple[int, int]]


class _Geometry(NamedTuple):
    """Stride, padding and dilation as (rows, columns), and the groups G."""

    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int


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

    Args:
        features (Tensor): Has shape (B, C, H, W).
        offset (Tensor): Row and column in cells for each point of the
            kernel, has shape (B, G * k * 2, h, w).
        weight (Tensor): Has shape (O, C / groups, kh, kw).
        stride (int | tuple): In cells, as padding and dilation.
        padding (int | tuple): Zeros around the grid.
        dilation (int | tuple): Between the points of the kernel.
        groups (int): Known from the weight.
        deform_groups (int): Groups G of channels with offsets of their own.
        bias (bool): False, as in mmcv.
        im2col_step (int): Of the compiled operator, unused.

    Returns:
        Tensor: Has shape (B, O, h, w) and the type of the offset.

    Raises:
        ValueError: If the offset does not fit.
    """
    how = _geometry(stride, padding, dilation, deform_groups)
    return _deform_conv2d(features, offset, None, weight, None, how)


def modulated_deform_conv2d(
    features: Tensor,
    offset: Tensor,
    mask: Tensor,
    weight: Tensor,
    bias: Optional[Tensor] = None,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
    deform_groups: int = 1,
) -> Tensor:
    """Deformable convolution v2 (arXiv 1811.11168): samples have a weight.

    As :func:`deform_conv2d`. ``mask`` is the weight of each sample, has shape
    (B, G * k, h, w), ``bias`` has shape (O,). Of larger offsets and masks the
    first numbers of each image are taken.
    """
    how = _geometry(stride, padding, dilation, deform_groups)
    return _deform_conv2d(features, offset, mask, weight, bias, how)


def _geometry(
    stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> _Geometry:
    return _Geometry(_pair(stride), _pair(padding), _pair(dilation), groups)


def _deform_conv2d(
    features: Tensor,
    offset: Tensor,
    mask: Optional[Tensor],
    weight: Tensor,
    bias: Optional[Tensor],
    how: _Geometry,
) -> Tensor:
    """Half precision is in float32: it cannot tell places in a large grid."""
    size = _output_size(features, weight, how)
    _check_offset(offset, weight, size, how.groups, mask is not None)
    given = offset.dtype
    exact = torch.promote_types(given, torch.float32)
    features, weight = features.to(exact), weight.to(exact)
    offset = _first(offset, size).to(exact)
    mask = None if mask is None else _first(mask, size).to(exact)
    bias = None if bias is None else bias.to(exact)
    with torch.autocast(features.device.type, enabled=False):
        offset, where = _move(offset, features, weight, how)
        vision = common.torchvision_ops()
        if vision is not None:
            out: Tensor = vision.deform_conv2d(
                features, offset, weight, bias, *how[:3], mask=mask
            )
            return out.to(given)
        # A kernel as large as the samples that it takes: one 1 x 1 one.
        return conv2d(
            _sample(features, where, mask),
            weight.reshape(len(weight), -1, 1, 1),
            bias,
            groups=features.shape[1] // weight.shape[1],
        ).to(given)


def _output_size(
    features: Tensor, weight: Tensor, how: _Geometry
) -> tuple[int, ...]:
    """Rows h and columns w of the output."""
    axes = zip(features.shape[2:], weight.shape[2:], *how[:3])
    return tuple(
        (length + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
        for length, kernel, stride, padding, dilation in axes
    )


def _first(value: Tensor, size: tuple[int, ...]) -> Tensor:
    """The first numbers of each image as maps of a size (h, w).

    Compiled mmcv reads offsets and masks that are larger than the output so,
    which is what mmdet's DyHead learns with.
    """
    if value.shape[2:] == size:
        return value
    batch, channels = value.shape[:2]
    number = channels * size[0] * size[1]
    return value.flatten(1)[:, :number].reshape(batch, channels, *size)


def _move(
    offset: Tensor, features: Tensor, weight: Tensor, how: _Geometry
) -> tuple[Tensor, Tensor]:
    """Offsets, and the row and column that each reads, (B, G, k, 2, h, w).

    A place on the border, a cell outside of the grid, reads zero, and the
    compiled operator gives it no gradient either; both ways of computing here
    would, at exactly -1. Zero offsets and padding put samples there.
    """
    high, wide = offset.shape[-2:]
    places = []
    for axis, length in enumerate((high, wide)):
        taps = torch.arange(weight.shape[2 + axis], device=offset.device)
        start = torch.arange(length, device=offset.device) * how.stride[axis]
        places.append(
            (taps * how.dilation[axis])[:, None] + start - how.padding[axis]
        )
    rows, columns = places
    shape = (len(rows), len(columns), high, wide)
    grid = torch.stack(
        [
            rows[:, None, :, None].expand(shape),
            columns[None, :, None, :].expand(shape),
        ],
        2,
    ).flatten(0, 1)
    split = offset.view(len(offset), how.groups, *grid.shape)
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


def _check_offset(
    offset: Tensor,
    weight: Tensor,
    size: tuple[int, ...],
    groups: int,
    may_be_larger: bool,
) -> None:
    """Refuse an offset that is not one of each output and kernel point."""
    channels = groups * 2 * weight.shape[2] * weight.shape[3]
    fits = tuple(offset.shape[1:]) == (channels, *size)
    if may_be_larger and offset.shape[1] == channels:
        fits = offset[0, 0].numel() >= size[0] * size[1]
    if not fits:
        raise UserError(
            f'deformable convolution: the offset has shape '
            f'{tuple(offset.shape)}, and {(len(offset), channels, *size)} '
            f'fits the output, the kernel and {groups} deformable group(s)'
        )
