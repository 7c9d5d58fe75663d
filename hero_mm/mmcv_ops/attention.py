"""Multi-scale deformable attention.

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
    common.write(
        [grad_value, grad_sampling_loc, grad_attn_weight], list(grads)
    )
