"""Attention inside frames and along slots, in place of the joint one.

The abstract of HERO says that its layers *decouple fully connected multi-head
attention*. We choose attention among the regions of one frame, and attention
along each slot in windows of frames, shifted from layer to layer.

Shape legend: N sequences, Q queries, T frames, R regions (slots) a frame, W
frames of a window, L tokens, D width.
"""

from typing import Optional

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from hero_mm.errors import UserError


def start_silent(linear: nn.Module) -> None:
    """What an untrained layer adds to its input is zero."""
    for parameter in linear.parameters():
        nn.init.zeros_(parameter)


class Attention(nn.Module):
    """Multi-head attention, on torch's fused kernel."""

    def __init__(self, embed_dims: int, num_heads: int) -> None:
        super().__init__()
        if embed_dims % num_heads:
            raise UserError(
                f'embed_dims={embed_dims} is not divisible by '
                f'num_heads={num_heads}'
            )
        self.num_heads = num_heads
        self.query_key_value = nn.Linear(embed_dims, 3 * embed_dims)
        self.out = nn.Linear(embed_dims, embed_dims)
        start_silent(self.out)

    def forward(self, x: Tensor, bias: Optional[Tensor] = None) -> Tensor:
        """Let tokens (N, L, D) attend to each other.

        A bias that broadcasts to (N, heads, L, L) is added to the logits;
        where it is bool, False hides.
        """
        heads = self.num_heads
        q, k, v = rearrange(
            self.query_key_value(x), 'n l (c h d) -> c n h l d', c=3, h=heads
        )
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return self.out(rearrange(out, 'n h l d -> n l (h d)'))


class FeedForward(nn.Sequential):
    """Two linear layers with GELU between, ``ratio`` times as wide."""

    def __init__(
        self, embed_dims: int, ratio: float, out_dims: Optional[int] = None
    ) -> None:
        hidden = int(embed_dims * ratio)
        super().__init__(
            nn.Linear(embed_dims, hidden),
            nn.GELU(),
            nn.Linear(hidden, out_dims or embed_dims),
        )


class JointLayer(nn.Module):
    """A transformer layer: every token sees every other one."""

    def __init__(
        self, embed_dims: int, num_heads: int, ffn_ratio: float
    ) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(embed_dims)
        self.attention = Attention(embed_dims, num_heads)
        self.norm_ffn = nn.LayerNorm(embed_dims)
        self.ffn = FeedForward(embed_dims, ffn_ratio)
        start_silent(self.ffn[-1])

    def forward(self, tokens: Tensor, real: Tensor) -> Tensor:
        """Tokens (N, L, D); those that are real, (N, L), are seen."""
        x = self.norm_attention(tokens)
        x = tokens + self.attention(x, real[:, None, None])
        return x + self.ffn(self.norm_ffn(x))


class SpatialAttention(nn.Module):
    """Attention among the regions of a frame."""

    def __init__(self, embed_dims: int, num_heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(embed_dims)
        self.attention = Attention(embed_dims, num_heads)

    def forward(self, x_QTRD: Tensor, mask_QTR: Tensor) -> Tensor:
        """What is to be added to the regions."""
        x = self.norm(x_QTRD).flatten(0, 1)
        # A frame without regions sees its padding, which keeps softmax finite.
        seen = mask_QTR | ~mask_QTR.any(-1, keepdim=True)
        seen = seen.flatten(0, 1)[:, None, None]
        return self.attention(x, seen).view(x_QTRD.shape)


class TimeBias(nn.Module):
    """Bias of attention between frames by the time between them.

    Each head learns how fast it forgets and whether it looks back or ahead; of
    four heads one looks back, one ahead, one stays, one sees all alike.
    """

    def __init__(self, num_heads: int) -> None:
        super().__init__()
        kind = torch.arange(num_heads) % 4
        self.decay = nn.Parameter(torch.tensor([-1.0, -1.0, 0.0, -4.0])[kind])
        self.ahead = nn.Parameter(torch.tensor([-1.0, 1.0, 0.0, 0.0])[kind])

    def forward(self, times: Tensor) -> Tensor:
        """Places of frames (..., W) to a bias (..., heads, W, W)."""
        apart = (times[..., None, :] - times[..., None])[..., None, :, :]
        decay = F.softplus(self.decay)[:, None, None]
        ahead = self.ahead[:, None, None]
        return ahead * apart.clamp(-2, 2) - decay * apart.abs()


class SlotAttention(nn.Module):
    """Attention along each slot, in windows of frames.

    Args:
        embed_dims (int): Width D.
        num_heads (int): Heads.
        window (int): Frames W of a window.
        shifted (bool): Windows begin half a window earlier, so that what one
            layer cuts the next one joins (Swin, arXiv 2103.14030).
        shift_div (int): 1/shift_div of the channels come from the frame
            before along the slot and as many from the one after (TSM, arXiv
            1811.08383); 0 leaves it out.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        window: int,
        shifted: bool,
        shift_div: int,
    ) -> None:
        super().__init__()
        if window < 2:
            raise UserError(
                f'a temporal window holds 2 frames or more, got {window}'
            )
        self.norm = nn.LayerNorm(embed_dims)
        self.attention = Attention(embed_dims, num_heads)
        self.bias = TimeBias(num_heads)
        self.window = window
        self.begin = window // 2 if shifted else 0
        self.shift = embed_dims // shift_div if shift_div else 0

    def forward(
        self, x_QTRD: Tensor, mask_QTR: Tensor, times_QT: Tensor
    ) -> Tensor:
        """What is to be added to the regions.

        Place R is one slot in all frames; ``times_QT`` are their places.
        """
        x = self.norm(x_QTRD)
        if self.shift:
            x = temporal_shift(x * mask_QTR[..., None], self.shift)
        frames, window = x.shape[1], self.window
        pad = (0, -frames % window)
        x = F.pad(x, (0, 0, 0, 0, *pad))
        mask = F.pad(mask_QTR, (0, 0, *pad))
        times = F.pad(times_QT.to(x.dtype), pad)
        # The window of each frame; a cyclic shift brings them together.
        number = torch.arange(x.shape[1], device=x.device) + window
        number = (number - self.begin).div(window, rounding_mode='floor')
        if self.begin:
            x, mask = x.roll(-self.begin, 1), mask.roll(-self.begin, 1)
            times = times.roll(-self.begin, 1)
            number = number.roll(-self.begin)
        slots = x.shape[2]
        tokens = rearrange(x, 'q (n w) r d -> (q n r) w d', w=window)
        mask = rearrange(mask, 'q (n w) r -> q n r 1 1 w', w=window)
        times = rearrange(times, 'q (n w) -> q n w', w=window)
        number = number.view(-1, window)
        same = number[:, :, None] == number[:, None]
        # A missing region sees itself, which keeps softmax finite.
        eye = torch.eye(window, dtype=torch.bool, device=x.device)
        seen = mask & same[:, None, None] | eye
        bias = self.bias(times)[:, :, None].to(x.dtype)
        bias = bias.masked_fill(~seen, -1e4).flatten(0, 2)
        out = self.attention(tokens, bias)
        out = rearrange(
            out, '(q n r) w d -> q (n w) r d', r=slots, q=len(x_QTRD)
        )
        if self.begin:
            out = out.roll(self.begin, 1)
        if not torch.compiler.is_compiling():
            return out[:, :frames]
        # Contiguous, whatever was padded: one graph serves all lengths.
        return out.index_select(1, torch.arange(frames, device=out.device))


def temporal_shift(x: Tensor, channels: int, dim: int = -1) -> Tensor:
    """Some channels come from the frame before, as many from the one after.

    Of features (B, T, ...) whose channels lie on axis ``dim``; what would come
    from outside the clip is zero.
    """
    rest = x.shape[dim] - 2 * channels
    back, ahead, same = x.split([channels, channels, rest], dim=dim)
    zero = torch.zeros_like(back[:, :1])
    back = torch.cat([zero, back[:, :-1]], dim=1)
    ahead = torch.cat([ahead[:, 1:], zero], dim=1)
    return torch.cat([back, ahead, same], dim=dim)
