"""Deformable convolution v1 and v2.

Shape legend: B images, C channels, O output channels, G deformable groups,
kh kw kernel, k = kh * kw, H W grid, h w output grid.

mmcv passes stride, padding and dilation as numbers by name (``how`` below),
beside numbers that are known from the weight and work space of the compiled
operators (``columns``, ``ones``), which stay unused.
"""

from functools import partial
from typing import NamedTuple, Optional

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from hero_mm.errors import UserError

from . import common


class _Geometry(NamedTuple):
    """Stride, padding and dilation as (rows, columns), and the groups G."""

    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int


def _geometry(
    how: dict[str, int], stride: str, rows: str, columns: str
) -> _Geometry:
    """From names that are made of these parts."""
    pairs = [
        (how[name + rows], how[name + columns])
        for name in (stride, 'pad', 'dilation')
    ]
    return _Geometry(pairs[0], pairs[1], pairs[2], how['deformable_group'])


def _v1(how: dict[str, int]) -> _Geometry:
    return _geometry(how, 'd', 'H', 'W')


def _v2(how: dict[str, int]) -> _Geometry:
    return _geometry(how, 'stride', '_h', '_w')


def _deform_conv2d(
    features: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Optional[Tensor] = None,
    mask: Optional[Tensor] = None,
    *,
    how: _Geometry,
    size: tuple[int, ...],
) -> Tensor:
    """Deformable convolution as a function, has shape (B, O, h, w).

    The groups of channels follow from the weight; ``size`` is (h, w). Half
    precision is computed in float32: it cannot tell places in a large grid.
    """
    given = features.dtype
    exact = torch.promote_types(given, torch.float32)
    features, weight = features.to(exact), weight.to(exact)
    offset = _first(offset, size).to(exact)
    mask = None if mask is None else _first(mask, size).to(exact)
    bias = None if bias is None else bias.to(exact)
    offset, where = _move(offset, features, weight, how)
    vision = common.torchvision_ops()
    if vision is not None:
        out: Tensor = vision.deform_conv2d(
            features, offset, weight, bias, *how[:3], mask=mask
        )
        return out.to(given)
    sampled = _sample(features, where, mask)
    # A kernel as large as the samples that it takes: one 1 x 1 convolution.
    return conv2d(
        sampled,
        weight.reshape(len(weight), -1, 1, 1),
        bias,
        groups=features.shape[1] // weight.shape[1],
    ).to(given)


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
    output: Tensor,
    groups: int,
    may_be_larger: bool = False,
) -> None:
    """Refuse an offset that is not one of each output and kernel point."""
    channels = groups * 2 * weight.shape[2] * weight.shape[3]
    expected = (len(output), channels, *output.shape[2:])
    fits = offset.shape == expected
    if may_be_larger and offset.shape[:2] == expected[:2]:
        fits = offset[0, 0].numel() >= output[0, 0].numel()
    if not fits:
        raise UserError(
            f'deformable convolution: the offset has shape '
            f'{tuple(offset.shape)}, and {expected} fits the output, the '
            f'kernel and {groups} deformable group(s)'
        )


def deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    output: Tensor,
    columns: Tensor,
    ones: Tensor,
    **how: int,
) -> None:
    """Deformable convolution (arXiv 1703.06211).

    Args:
        input (Tensor): Has shape (B, C, H, W).
        weight (Tensor): Has shape (O, C / group, kh, kw).
        offset (Tensor): Row and column in cells for each point of the
            kernel, has shape (B, G * k * 2, h, w).
        output (Tensor): Written in place, has shape (B, O, h, w).
        columns (Tensor): Unused.
        ones (Tensor): Unused.
        **how: ``dH, dW`` (strides), ``padH, padW``, ``dilationH, dilationW``
            in cells, and ``deformable_group``, which is G.

    Raises:
        ValueError: If the offset does not fit.
    """
    geometry = _v1(how)
    _check_offset(offset, weight, output, geometry.groups)
    with torch.autocast(input.device.type, enabled=False):
        output.copy_(
            _deform_conv2d(
                input, offset, weight, how=geometry, size=output.shape[2:]
            )
        )


def deform_conv_backward_input(
    input: Tensor,
    offset: Tensor,
    gradOutput: Tensor,
    gradInput: Tensor,
    gradOffset: Tensor,
    weight: Tensor,
    columns: Tensor,
    **how: int,
) -> None:
    """Gradients of input and offset, written in place.

    Arguments are those of :func:`deform_conv_forward`.
    """
    function = partial(_deform_conv2d, how=_v1(how), size=gradOutput.shape[2:])
    grads = common.gradients(function, [input, offset, weight], gradOutput)
    common.write([gradInput, gradOffset], grads)


def deform_conv_backward_parameters(
    input: Tensor,
    offset: Tensor,
    gradOutput: Tensor,
    gradWeight: Tensor,
    columns: Tensor,
    ones: Tensor,
    *,
    scale: float,
    **how: int,
) -> None:
    """Gradient of the weight times ``scale``, added to ``gradWeight``.

    Convolution is linear in the weight, so the gradient does not depend on
    it and is taken at zero. Arguments are those of
    :func:`deform_conv_forward`.
    """
    geometry, size = _v1(how), gradOutput.shape[2:]
    (grad,) = common.gradients(
        lambda weight: _deform_conv2d(
            input, offset, weight, how=geometry, size=size
        ),
        [torch.zeros_like(gradWeight)],
        gradOutput,
    )
    assert grad is not None
    gradWeight.add_(grad, alpha=scale)


def modulated_deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    output: Tensor,
    columns: Tensor,
    *,
    with_bias: bool,
    **how: int,
) -> None:
    """Deformable convolution v2 (arXiv 1811.11168): samples have a weight.

    Args:
        input (Tensor): Has shape (B, C, H, W).
        weight (Tensor): Has shape (O, C / group, kh, kw).
        bias (Tensor): Has shape (O,), or anything without ``with_bias``.
        ones (Tensor): Unused.
        offset (Tensor): Row and column in cells for each point of the
            kernel, has shape (B, G * k * 2, h, w); of larger maps the first
            numbers of each image are taken.
        mask (Tensor): Weight of each sample, has shape (B, G * k, h, w).
        output (Tensor): Written in place, has shape (B, O, h, w).
        columns (Tensor): Unused.
        with_bias (bool): Whether the bias is added.
        **how: ``stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w``
            in cells, and ``deformable_group``, which is G.

    Raises:
        ValueError: If the offset does not fit.
    """
    geometry = _v2(how)
    _check_offset(offset, weight, output, geometry.groups, True)
    added, size = bias if with_bias else None, output.shape[2:]
    with torch.autocast(input.device.type, enabled=False):
        output.copy_(
            _deform_conv2d(
                input, offset, weight, added, mask, how=geometry, size=size
            )
        )


def modulated_deform_conv_backward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    columns: Tensor,
    grad_input: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    grad_offset: Tensor,
    grad_mask: Tensor,
    grad_output: Tensor,
    *,
    with_bias: bool,
    **how: int,
) -> None:
    """Gradients of :func:`modulated_deform_conv_forward`, in place.

    Arguments are those of the forward pass.
    """
    function = partial(
        _deform_conv2d, how=_v2(how), size=grad_output.shape[2:]
    )
    grads = common.gradients(
        function,
        [input, offset, weight, bias if with_bias else None, mask],
        grad_output,
    )
    common.write(
        [grad_input, grad_offset, grad_weight, grad_bias, grad_mask], grads
    )
