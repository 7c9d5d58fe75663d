"""Pyramid alignment: regions meet the words with their neighbourhood.

The abstract of HERO says that a *pyramid alignment* improves the cross-modal
use of neighbouring spatial regions. We choose: a region asks the words once
for itself and once for each of several growing neighbourhoods; what comes
back is fused by weights that the region gives.

Shape legend: Q queries, T frames, H W grid, L words, D width, S scales.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn


def neighbourhood_mean(
    x_NDHW: Tensor, real_N1HW: Tensor, scale: int
) -> Tensor:
    """Average over a window round each region, padding left out.

    Args:
        x_NDHW (Tensor): Features, zero on padding, has shape (N, D, H, W).
        real_N1HW (Tensor): 1.0 on real regions, has shape (N, 1, H, W).
        scale (int): Side of the window in regions, odd; 0 means the frame.

    Returns:
        Tensor: Has the shape of ``x_NDHW``, or (N, D, 1, 1) for scale 0.
    """
    if scale == 0:
        count = real_N1HW.sum((2, 3), keepdim=True).clamp(min=1)
        return x_NDHW.sum((2, 3), keepdim=True) / count
    pool = dict(kernel_size=scale, stride=1, padding=scale // 2)
    total = F.avg_pool2d(x_NDHW, **pool)  # type: ignore[arg-type]
    share = F.avg_pool2d(real_N1HW, **pool)  # type: ignore[arg-type]
    return total / share.clamp(min=1e-6)


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

    def _queries(self, q_QTHWD: Tensor, real_QTHW: Tensor) -> list[Tensor]:
        """One query a region and scale, each of shape (Q, tokens, D)."""
        num = len(q_QTHWD)
        if self.scales == (1,):
            return [q_QTHWD.flatten(1, 3)]
        real = real_QTHW.flatten(0, 1)[:, None].to(q_QTHWD.dtype)
        flat = rearrange(q_QTHWD, 'q t h w d -> (q t) d h w') * real
        queries = []
        for scale in self.scales:
            mean = flat if scale == 1 else neighbourhood_mean(flat, real, scale)
            queries.append(
                rearrange(mean, '(q t) d h w -> q (t h w) d', q=num)
            )
        return queries

    def forward(
        self,
        x_QTHWD: Tensor,
        real_QTHW: Tensor,
        words_QLD: Tensor,
        word_mask_QL: Tensor,
    ) -> Tensor:
        """Align regions with words.

        Args:
            x_QTHWD (Tensor): Regions, has shape (Q, T, H, W, D).
            real_QTHW (Tensor): True on real regions, shape (Q, T, H, W).
            words_QLD (Tensor): Words, has shape (Q, L, D).
            word_mask_QL (Tensor): True on real words, has shape (Q, L).

        Returns:
            Tensor: What is to be added to the regions, same shape.
        """
        q, t, h, w, _ = x_QTHWD.shape
        heads = self.num_heads
        x = self.norm(x_QTHWD)
        queries = self._queries(self.query(x), real_QTHW)
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
