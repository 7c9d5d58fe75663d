"""Pyramid alignment: a region asks the words at several sizes of its box.

The abstract of HERO says that a *pyramid alignment* improves the cross-modal
use of neighbouring spatial regions. We choose: what a region shows is read
from the pyramid of the encoder by its box at several sizes (the box, its
surroundings, the frame); each size asks the words, and weights that the
region gives fuse what comes back.

Shape legend: Q queries, T frames, R regions a frame, S sizes, L words, D
width.
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from hero_mm.errors import UserError

from .attention import start_silent


class PyramidAlignment(nn.Module):
    """Cross-attention from regions, at several sizes, to the words.

    The attended words scale and shift the region (as in FiLM, arXiv
    1709.07871, but with words of the region's own choice), so that one layer
    can select.
    """

    def __init__(
        self, embed_dims: int, num_heads: int, num_sizes: int
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm = nn.LayerNorm(embed_dims)
        self.query = nn.Linear(embed_dims, embed_dims)
        # What a size adds to the question; the looks are made once a clip.
        self.look_weight = nn.Parameter(torch.ones(num_sizes, embed_dims))
        self.key_value = nn.Linear(embed_dims, 2 * embed_dims)
        self.fuse = nn.Linear(embed_dims, num_sizes)
        self.out = nn.Linear(embed_dims, 2 * embed_dims)
        start_silent(self.out)

    def forward(
        self,
        x_QTRD: Tensor,
        looks_QTRSD: Tensor,
        words_QLD: Tensor,
        word_mask_QL: Tensor,
    ) -> Tensor:
        """What is to be added to the regions."""
        frames, regions = x_QTRD.shape[1:3]
        sizes = len(self.look_weight)
        if looks_QTRSD.shape[3] not in (1, sizes):
            raise UserError(
                f'regions show {looks_QTRSD.shape[3]} sizes, but the neck is '
                f'built for num_sizes={sizes}: it must be the number of '
                'scales of the region encoder'
            )
        x = self.norm(x_QTRD)
        asks = self.query(x)[..., None, :] + self.look_weight * looks_QTRSD
        heads = self.num_heads
        q = rearrange(asks.flatten(1, 3), 'q l (h d) -> q h l d', h=heads)
        k, v = rearrange(
            self.key_value(words_QLD),
            'q l (c h d) -> c q h l d',
            c=2,
            h=heads,
        )
        found = F.scaled_dot_product_attention(
            q, k, v, attn_mask=word_mask_QL[:, None, None]
        )
        found = rearrange(
            found, 'q h (t r s) d -> q t r s (h d)', t=frames, r=regions
        )
        weights = self.fuse(x).softmax(-1)
        fused = (weights[..., None] * found).sum(-2)
        scale_by, move_by = self.out(fused).chunk(2, dim=-1)
        return x * scale_by + move_by
