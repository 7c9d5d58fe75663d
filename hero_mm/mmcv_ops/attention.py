"""Multi-scale deformable attention, by mmcv's own version in Python.

Shape legend: B images, V values, Q queries, M heads, L levels, P points, D
width of a head.
"""

import torch
from torch import Tensor

from . import common


def ms_deform_attn_forward(
    value: Tensor,
    value_spatial_shapes: Tensor,
    value_level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    im2col_step: int,
) -> Tensor:
    """Multi-scale deformable attention (arXiv 2010.04159).

    mmcv calls it on an accelerator, and the version in Python on a CPU.

    Args:
        value (Tensor): Has shape (B, V, M, D).
        value_spatial_shapes (Tensor): H and W of each level, has shape
            (L, 2).
        value_level_start_index (Tensor): First value of each level, known
            from the shapes.
        sampling_locations (Tensor): x and y in [0, 1], has shape
            (B, Q, M, L, P, 2).
        attention_weights (Tensor): Has shape (B, Q, M, L, P).
        im2col_step (int): Images at a time in the compiled operator, unused.

    Returns:
        Tensor: Has shape (B, Q, M * D).
    """
    return _attend(
        value, value_spatial_shapes, sampling_locations, attention_weights
    )


def _attend(
    value: Tensor, shapes: Tensor, locations: Tensor, weights: Tensor
) -> Tensor:
    """In float32 at least: half precision has no numbers for the places."""
    from mmcv.ops.multi_scale_deform_attn import (
        multi_scale_deformable_attn_pytorch,
    )

    exact = torch.promote_types(value.dtype, torch.float32)
    output: Tensor = multi_scale_deformable_attn_pytorch(
        value.to(exact), shapes.cpu(), locations.to(exact), weights.to(exact)
    )
    return output.to(value.dtype)


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
    grads = common.gradients(
        lambda *leaves: _attend(leaves[0], value_spatial_shapes, *leaves[1:]),
        [value, sampling_locations, attention_weights],
        grad_output,
    )
    common.write([grad_value, grad_sampling_loc, grad_attn_weight], grads)
