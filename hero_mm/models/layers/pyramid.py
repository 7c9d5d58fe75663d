"""Pyramid alignment: regions meet the words with their neighbourhood.

The abstract of HERO says that a *pyramid alignment* improves the cross-modal
use of neighbouring spatial regions. We choose: a region asks the words once
for itself and once for each of several growing neighbourhoods; what comes
back is fused by weights that the region gives.

Shape legend: Q queries, T frames, H W grid, L words, D width, S scales.
"""

from collections.abc import Sequence
from typing import Optional

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn


def box_matrix(size: int, scale: int, device: torch.device) -> Tensor:
    """Matrix that sums over a window round each step of an axis.

    Args:
        size (int): Length of the axis.
        scale (int): Steps of the window, odd.
        device (torch.device): Where the matrix lives.

    Returns:
        Tensor: Zeros and ones, has shape (size, size).
    """
    steps = torch.arange(size, device=device)
    near = (steps[:, None] - steps).abs() <= scale // 2
    return near.float()


def neighbourhood_mean(
    x_QTHWD: Tensor, real_QTHW: Tensor, scale: int
) -> Tensor:
    """Average over a window round each region, padding left out.

    Two small matrix products, one an axis, are several times faster on a CPU
    than average pooling and its gradient.

    Args:
        x_QTHWD (Tensor): Features, zero on padding.
        real_QTHW (Tensor): 1.0 on real regions.
        scale (int): Side of the window in regions, odd; 0 means the frame.

    Returns:
        Tensor: Has the shape of ``x_QTHWD``, or (Q, T, 1, 1, D) for scale 0.
    """
    if scale == 0:
        count = real_QTHW.sum((2, 3)).clamp(min=1)[:, :, None, None, None]
        return x_QTHWD.sum((2, 3), keepdim=True) / count
    height, width = real_QTHW.shape[2:]
    rows = box_matrix(height, scale, x_QTHWD.device).to(x_QTHWD.dtype)
    columns = box_matrix(width, scale, x_QTHWD.device).to(x_QTHWD.dtype)
    count = (rows @ real_QTHW @ columns).clamp(min=1)[..., None]
    total = (rows @ x_QTHWD.flatten(3)).view_as(x_QTHWD)
    return (columns @ total) / count


class PyramidAlignment(nn.Module):
    """Cross-attention from neighbourhoods of growing size to the words.

    The attended words scale and shift the region (as in FiLM, arXiv
    1709.07871, but with words of the region's own choice), so that one layer
    can already select.

    Args:
        embed_dims (int): Width D.
        num_heads (int): Heads.
        scales (Sequence[int]): Odd sides of the neighbourhoods; 0 is the
            whole frame. ``(1,)`` switches the pyramid off.
    """

    def __init__(
        self, embed_dims: int, num_heads: int, scales: Sequence[int]
    ) -> None:
        super().__init__()
        if not scales or any(s < 0 or (s and s % 2 == 0) for s in scales):
            raise ValueError(
                'scales must be odd sides of a neighbourhood, or 0 for the '
                f'whole frame; got {tuple(scales)}'
            )
        self.num_heads = num_heads
        self.scales = tuple(scales)
        self.norm = nn.LayerNorm(embed_dims)
        self.query = nn.Linear(embed_dims, embed_dims)
        self.key_value = nn.Linear(embed_dims, 2 * embed_dims)
        self.fuse = nn.Linear(embed_dims, len(scales))
        self.out = nn.Linear(embed_dims, 2 * embed_dims)

    def contexts(
        self, x_QTHWD: Tensor, real_QTHW: Tensor
    ) -> dict[int, Tensor]:
        """Means over the neighbourhoods of a grid, one a scale but 1.

        Args:
            x_QTHWD (Tensor): Regions, has shape (Q, T, H, W, D).
            real_QTHW (Tensor): True on real regions.

        Returns:
            dict[int, Tensor]: Of the shape of ``x_QTHWD``, or
            (Q, T, 1, 1, D) for scale 0.
        """
        if self.scales == (1,):
            return {}
        real = real_QTHW.to(x_QTHWD.dtype)
        x = x_QTHWD * real[..., None]
        return {
            s: neighbourhood_mean(x, real, s) for s in self.scales if s != 1
        }

    def forward(
        self,
        x_QTHWD: Tensor,
        real_QTHW: Tensor,
        words_QLD: Tensor,
        word_mask_QL: Tensor,
        contexts: Optional[dict[int, Tensor]] = None,
    ) -> Tensor:
        """Align regions with words.

        Args:
            x_QTHWD (Tensor): Regions, has shape (Q, T, H, W, D).
            real_QTHW (Tensor): True on real regions, shape (Q, T, H, W).
            words_QLD (Tensor): Words, has shape (Q, L, D).
            word_mask_QL (Tensor): True on real words, has shape (Q, L).
            contexts (dict[int, Tensor], optional): For a set of regions, the
                neighbourhoods in the grid that it was chosen from.

        Returns:
            Tensor: What is to be added to the regions, same shape.
        """
        q, t, h, w, _ = x_QTHWD.shape
        heads = self.num_heads
        x = self.norm(x_QTHWD)
        own = self.query(x)
        if contexts is None:
            # The mean of projections is the projection of the mean.
            around = self.contexts(own, real_QTHW)
        else:
            around = {s: self.query(self.norm(c)) for s, c in contexts.items()}
        around[1] = own
        queries = [around[scale].flatten(1, 3) for scale in self.scales]
        sizes = [part.shape[1] for part in queries]
        split = 'q s (h d) -> q h s d'
        k, v = self.key_value(words_QLD).chunk(2, dim=-1)
        found = F.scaled_dot_product_attention(
            rearrange(torch.cat(queries, 1), split, h=heads),
            rearrange(k, split, h=heads),
            rearrange(v, split, h=heads),
            attn_mask=word_mask_QL[:, None, None],
        )
        parts = rearrange(found, 'q h s d -> q s (h d)').split(sizes, dim=1)
        weights = self.fuse(x).softmax(-1)
        fused = torch.zeros_like(x)
        for index, (scale, part) in enumerate(zip(self.scales, parts)):
            grid = (t, 1, 1) if scale == 0 else (t, h, w)
            part = part.unflatten(1, grid)
            fused = fused + weights[..., index : index + 1] * part
        scale_by, move_by = self.out(fused).chunk(2, dim=-1)
        return x * scale_by + move_by
