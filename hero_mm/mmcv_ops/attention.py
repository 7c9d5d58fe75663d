"""Multi-scale deformable attention, by mmcv's own version in Python.

Shape legend: B images, V values, Q queries, M heads, L levels, P points, D
width of a head.
"""

import torch
from torch import Tensor


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
        """Read values at places, in float32 at least.

        Half precision has no numbers for the places.

        Args:
            value (Tensor): Has shape (B, V, M, D).
            shapes (Tensor): H and W of each level, has shape (L, 2).
            starts (Tensor): Known from the shapes, unused.
            locations (Tensor): x and y in [0, 1], has shape
                (B, Q, M, L, P, 2).
            weights (Tensor): Has shape (B, Q, M, L, P).
            im2col_step (int): Of the compiled operator, unused.

        Returns:
            Tensor: Has shape (B, Q, M * D).
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
