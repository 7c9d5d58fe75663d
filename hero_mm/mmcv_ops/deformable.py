"""Deformable convolution v1 and v2 and multi-scale deformable attention.

Shape legend: B images, C channels, O output channels, G deformable groups,
kh kw kernel, k = kh * kw, H W grid, h w output grid, V values, Q queries,
M heads, L levels, P points, D width of a head.
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
) -> Tensor:
    """Deformable convolution as a function, has shape (B, O, h, w).

    The groups of channels follow from the weight.
    """
    vision = common.torchvision_ops()
    if vision is not None:
        return vision.deform_conv2d(
            features, offset, weight, bias, *how, mask=mask
        )
    sampled = _sample(features, offset, mask, weight, how, deform_groups)
    batch, channels, points, high, wide = sampled.shape
    # A kernel as large as the samples that it takes: one 1 x 1 convolution.
    return conv2d(
        sampled.reshape(batch, channels * points, high, wide),
        weight.reshape(len(weight), -1, 1, 1),
        bias,
        groups=channels // weight.shape[1],
    )


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


def _check_offset(
    offset: Tensor, weight: Tensor, output: Tensor, groups: int
) -> None:
    """Refuse an offset that is not one of each output and kernel point."""
    channels = groups * 2 * weight.shape[2] * weight.shape[3]
    expected = (len(output), channels, *output.shape[2:])
    if offset.shape != expected:
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
            features, offset, weight, bias, mask, how, deform_groups
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
                input, offset, weight, None, None, how, deformable_group
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
    _write([gradInput, gradOffset], grads[:2])


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
            input, offset, point, None, None, how, deformable_group
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
            kernel, has shape (B, G * k * 2, h, w).
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
    _check_offset(offset, weight, output, deformable_group)
    with torch.autocast(input.device.type, enabled=False):
        output.copy_(
            _deform_conv2d(
                input, offset, weight, added, mask, how, deformable_group
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
    _write(outputs, grads)


def _write(outputs: list[Tensor], values: list[Optional[Tensor]]) -> None:
    """Copy values into the outputs, but those that are None."""
    for output, value in zip(outputs, values):
        if value is not None:
            output.copy_(value)


def ms_deform_attn_forward(
    value: Tensor,
    value_spatial_shapes: Tensor,
    value_level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    im2col_step: int,
) -> Tensor:
    """Multi-scale deformable attention (arXiv 2010.04159).

    mmcv calls it on an accelerator, and its own version in Python on a CPU.

    Args:
        value (Tensor): Has shape (B, V, M, D).
        value_spatial_shapes (Tensor): H and W of each level, has shape
            (L, 2).
        value_level_start_index (Tensor): First value of each level, has
            shape (L,).
        sampling_locations (Tensor): x and y in [0, 1], has shape
            (B, Q, M, L, P, 2).
        attention_weights (Tensor): Has shape (B, Q, M, L, P).
        im2col_step (int): Images at a time in the compiled operator, unused.

    Returns:
        Tensor: Has shape (B, Q, M * D).
    """
    batch, values, heads, width = value.shape
    queries = sampling_locations.shape[1]
    exact = torch.promote_types(sampling_locations.dtype, torch.float32)
    locations = sampling_locations.to(exact)
    cells, shares = [], []
    levels = zip(
        value_spatial_shapes.tolist(), value_level_start_index.tolist()
    )
    for level, ((high, wide), start) in enumerate(levels):
        # Locations count from the edge of the first cell, not its centre.
        xs = locations[:, :, :, level, :, 0] * wide - 0.5
        ys = locations[:, :, :, level, :, 1] * high - 0.5
        cell, share = common.corners(ys, xs, high, wide)
        cells.append(cell + start)
        shares.append(share * attention_weights[:, :, :, level, :, None])
    # Rows of the table are (image, value, head).
    image = torch.arange(batch, device=value.device).view(-1, 1, 1, 1)
    head = torch.arange(heads, device=value.device).view(1, 1, -1, 1)
    cell = torch.stack(cells, 3).flatten(3)
    row = (image * values + cell) * heads + head
    output = common.weighted_rows(
        value.reshape(-1, width),
        row.flatten(0, 2),
        torch.stack(shares, 3).flatten(3).flatten(0, 2),
    )
    return output.view(batch, queries, heads * width)


def ms_deform_attn_backward(
    value: Tensor,
    value_spatial_shapes: Tensor,
    value_level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    grad_output: Tensor,
    grad_value: Tensor,
    grad_sampling_loc: Tensor,
    grad_attn_weight: Tensor,
    im2col_step: int,
) -> None:
    """Gradients of :func:`ms_deform_attn_forward`, written in place.

    Arguments are those of the forward pass.
    """
    with common.differentiable(value.device):
        leaves = [
            leaf.detach().requires_grad_()
            for leaf in (value, sampling_locations, attention_weights)
        ]
        output = ms_deform_attn_forward(
            leaves[0],
            value_spatial_shapes,
            value_level_start_index,
            leaves[1],
            leaves[2],
            im2col_step,
        )
        grads = torch.autograd.grad(output, leaves, grad_output)
    _write([grad_value, grad_sampling_loc, grad_attn_weight], list(grads))
