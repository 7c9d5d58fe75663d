"""Deformable convolution v1 and v2.

Shape legend: B images, C channels, O output channels, G deformable groups,
kh kw kernel, k = kh * kw, H W grid, h w output grid.
"""

from typing import NamedTuple, Optional

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from . import common


class _Geometry(NamedTuple):
    """Stride, padding and dilation as (rows, columns)."""

    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]


def _deform_conv2d(
    features: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Optional[Tensor],
    mask: Optional[Tensor],
    how: _Geometry,
    deform_groups: int,
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
    vision = common.torchvision_ops()
    if vision is not None:
        out: Tensor = vision.deform_conv2d(
            features, offset, weight, bias, *how, mask=mask
        )
        return out.to(given)
    sampled = _sample(features, offset, mask, weight, how, deform_groups)
    batch, channels, points, high, wide = sampled.shape
    # A kernel as large as the samples that it takes: one 1 x 1 convolution.
    return conv2d(
        sampled.reshape(batch, channels * points, high, wide),
        weight.reshape(len(weight), -1, 1, 1),
        bias,
        groups=channels // weight.shape[1],
    ).to(given)


def _sample(
    features: Tensor,
    offset: Tensor,
    mask: Optional[Tensor],
    weight: Tensor,
    how: _Geometry,
    groups: int,
) -> Tensor:
    """What each point of the kernel reads, has shape (B, C, k, h, w)."""
    batch, channels, height, width = features.shape
    high, wide = offset.shape[-2:]
    places = []
    for axis, length in enumerate((high, wide)):
        taps = torch.arange(weight.shape[2 + axis], device=offset.device)
        start = torch.arange(length, device=offset.device) * how.stride[axis]
        places.append(
            (taps * how.dilation[axis])[:, None] + start - how.padding[axis]
        )
    rows, cols = places
    points = len(rows) * len(cols)
    shape = (len(rows), len(cols), high, wide)
    grid = torch.stack(
        [
            rows[:, None, :, None].expand(shape),
            cols[None, :, None, :].expand(shape),
        ],
        2,
    ).view(points, 2, high, wide)
    where = offset.reshape(batch, groups, points, 2, high, wide) + grid
    cell, share = common.corners(
        where[:, :, :, 0], where[:, :, :, 1], height, width
    )
    if mask is not None:
        share = share * mask.reshape(batch, groups, points, high, wide, 1)
    image = torch.arange(batch * groups, device=offset.device)
    cell = cell + image.view(batch, groups, 1, 1, 1, 1) * (height * width)
    table = common.as_table(
        features.reshape(batch * groups, channels // groups, height, width)
    )
    read = common.weighted_rows(
        table, cell.reshape(-1, 4), share.reshape(-1, 4)
    ).view(batch, groups, points, high, wide, channels // groups)
    return read.permute(0, 1, 5, 2, 3, 4).reshape(
        batch, channels, points, high, wide
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
        raise ValueError(
            f'deformable convolution: the offset has shape '
            f'{tuple(offset.shape)}, and {expected} fits the output, the '
            f'kernel and {groups} deformable group(s)'
        )


def _gradients(
    inputs: list[Optional[Tensor]],
    grad_output: Tensor,
    how: _Geometry,
    deform_groups: int,
) -> list[Optional[Tensor]]:
    """Gradients of the inputs of :func:`_deform_conv2d`, None of a None."""
    with common.differentiable(grad_output.device):
        leaves = [
            None if value is None else value.detach().requires_grad_()
            for value in inputs
        ]
        features, offset, weight, bias, mask = leaves
        assert features is not None and offset is not None
        assert weight is not None
        output = _deform_conv2d(
            features,
            offset,
            weight,
            bias,
            mask,
            how,
            deform_groups,
            grad_output.shape[2:],
        )
        wanted = [leaf for leaf in leaves if leaf is not None]
        grads = iter(torch.autograd.grad(output, wanted, grad_output))
    return [None if leaf is None else next(grads) for leaf in leaves]


def deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    output: Tensor,
    columns: Tensor,
    ones: Tensor,
    kW: int,
    kH: int,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    group: int,
    deformable_group: int,
    im2col_step: int,
) -> None:
    """Deformable convolution (arXiv 1703.06211).

    Args:
        input (Tensor): Has shape (B, C, H, W).
        weight (Tensor): Has shape (O, C / group, kh, kw).
        offset (Tensor): Row and column in cells for each point of the
            kernel, has shape (B, G * k * 2, h, w).
        output (Tensor): Written in place, has shape (B, O, h, w).
        columns (Tensor): Work space of the compiled operator, unused.
        ones (Tensor): Work space of the compiled operator, unused.
        kW (int): Width of the kernel, known from the weight.
        kH (int): Height of the kernel, known from the weight.
        dW (int): Stride along a row.
        dH (int): Stride along a column.
        padW (int): Zeros left and right.
        padH (int): Zeros above and below.
        dilationW (int): Cells between points of the kernel along a row.
        dilationH (int): Cells between points of the kernel along a column.
        group (int): Groups of channels, known from the weight.
        deformable_group (int): Groups G with offsets of their own.
        im2col_step (int): Images at a time in the compiled operator, unused.
    """
    how = _Geometry((dH, dW), (padH, padW), (dilationH, dilationW))
    _check_offset(offset, weight, output, deformable_group)
    with torch.autocast(input.device.type, enabled=False):
        output.copy_(
            _deform_conv2d(
                input,
                offset,
                weight,
                None,
                None,
                how,
                deformable_group,
                output.shape[2:],
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
    kW: int,
    kH: int,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    group: int,
    deformable_group: int,
    im2col_step: int,
) -> None:
    """Gradients of input and offset, written in place.

    Arguments are those of :func:`deform_conv_forward`.
    """
    how = _Geometry((dH, dW), (padH, padW), (dilationH, dilationW))
    grads = _gradients(
        [input, offset, weight, None, None], gradOutput, how, deformable_group
    )
    common.write([gradInput, gradOffset], grads[:2])


def deform_conv_backward_parameters(
    input: Tensor,
    offset: Tensor,
    gradOutput: Tensor,
    gradWeight: Tensor,
    columns: Tensor,
    ones: Tensor,
    kW: int,
    kH: int,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    group: int,
    deformable_group: int,
    scale: float,
    im2col_step: int,
) -> None:
    """Gradient of the weight times ``scale``, added to ``gradWeight``.

    Convolution is linear in the weight, so the gradient does not depend on
    it and is taken at zero. Arguments are those of
    :func:`deform_conv_forward`.
    """
    how = _Geometry((dH, dW), (padH, padW), (dilationH, dilationW))
    with common.differentiable(input.device):
        point = torch.zeros_like(gradWeight, requires_grad=True)
        output = _deform_conv2d(
            input,
            offset,
            point,
            None,
            None,
            how,
            deformable_group,
            gradOutput.shape[2:],
        )
        (grad,) = torch.autograd.grad(output, point, gradOutput)
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
    kernel_h: int,
    kernel_w: int,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    group: int,
    deformable_group: int,
    with_bias: bool,
) -> None:
    """Deformable convolution v2 (arXiv 1811.11168): samples have a weight.

    Args:
        input (Tensor): Has shape (B, C, H, W).
        weight (Tensor): Has shape (O, C / group, kh, kw).
        bias (Tensor): Has shape (O,), or anything without ``with_bias``.
        ones (Tensor): Work space of the compiled operator, unused.
        offset (Tensor): Row and column in cells for each point of the
            kernel, has shape (B, G * k * 2, h, w); of larger maps the first
            numbers of each image are taken.
        mask (Tensor): Weight of each sample, has shape (B, G * k, h, w).
        output (Tensor): Written in place, has shape (B, O, h, w).
        columns (Tensor): Work space of the compiled operator, unused.
        kernel_h (int): Height of the kernel, known from the weight.
        kernel_w (int): Width of the kernel, known from the weight.
        stride_h (int): Stride along a column.
        stride_w (int): Stride along a row.
        pad_h (int): Zeros above and below.
        pad_w (int): Zeros left and right.
        dilation_h (int): Cells between points of the kernel along a column.
        dilation_w (int): Cells between points of the kernel along a row.
        group (int): Groups of channels, known from the weight.
        deformable_group (int): Groups G with offsets of their own.
        with_bias (bool): Whether the bias is added.
    """
    how = _Geometry(
        (stride_h, stride_w), (pad_h, pad_w), (dilation_h, dilation_w)
    )
    added = bias if with_bias else None
    _check_offset(offset, weight, output, deformable_group, True)
    with torch.autocast(input.device.type, enabled=False):
        output.copy_(
            _deform_conv2d(
                input,
                offset,
                weight,
                added,
                mask,
                how,
                deformable_group,
                output.shape[2:],
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
    kernel_h: int,
    kernel_w: int,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    group: int,
    deformable_group: int,
    with_bias: bool,
) -> None:
    """Gradients of :func:`modulated_deform_conv_forward`, in place.

    Arguments are those of the forward pass.
    """
    how = _Geometry(
        (stride_h, stride_w), (pad_h, pad_w), (dilation_h, dilation_w)
    )
    added = bias if with_bias else None
    grads = _gradients(
        [input, offset, weight, added, mask],
        grad_output,
        how,
        deformable_group,
    )
    outputs = [grad_input, grad_offset, grad_weight, grad_bias, grad_mask]
    common.write(outputs, grads)
