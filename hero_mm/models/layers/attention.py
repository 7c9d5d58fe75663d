"""Attention in windows of space and time: the decoupled form of HERO.

The abstract of HERO says that its layers *decouple fully connected multi-head
attention*; we choose windows. One class does them all: a window (1, 4, 4) is
spatial, (8, 1, 1) is temporal, None is the fully connected baseline.

Shape legend: N sequences, Q queries, T frames, H W grid, S tokens of a
window, D width.
"""

from typing import Optional

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

Size3 = tuple[int, int, int]


class Attention(nn.Module):
    """Multi-head attention on torch's fused kernel.

    Args:
        embed_dims (int): Width D.
        num_heads (int): Heads; D must be divisible by it.
    """

    def __init__(self, embed_dims: int, num_heads: int) -> None:
        super().__init__()
        if embed_dims % num_heads:
            raise ValueError(
                f'embed_dims={embed_dims} is not divisible by '
                f'num_heads={num_heads}'
            )
        self.num_heads = num_heads
        self.query = nn.Linear(embed_dims, embed_dims)
        self.key_value = nn.Linear(embed_dims, 2 * embed_dims)
        self.out = nn.Linear(embed_dims, embed_dims)

    def forward(
        self,
        query: Tensor,
        source: Tensor,
        bias: Optional[Tensor] = None,
    ) -> Tensor:
        """Attend from ``query`` to ``source``.

        Args:
            query (Tensor): Has shape (N, S, D).
            source (Tensor): Keys and values, has shape (N, S', D).
            bias (Tensor, optional): Added to the logits, -inf hides; or
                bool, False hides. Broadcasts to (N, heads, S, S').

        Returns:
            Tensor: Has shape (N, S, D).
        """
        heads = self.num_heads
        q = rearrange(self.query(query), 'n s (h d) -> n h s d', h=heads)
        k, v = self.key_value(source).chunk(2, dim=-1)
        k = rearrange(k, 'n s (h d) -> n h s d', h=heads)
        v = rearrange(v, 'n s (h d) -> n h s d', h=heads)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return self.out(rearrange(out, 'n h s d -> n s (h d)'))


class FeedForward(nn.Sequential):
    """Two linear layers with GELU between.

    Args:
        embed_dims (int): Width D.
        ratio (float): Hidden width, in units of D.
        out_dims (int, optional): Width of the result. Defaults to D.
    """

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
    """A transformer layer: every token sees every other one.

    Over all regions and words this is the fully connected baseline that HERO
    replaces; over the frames of a query it is cheap.

    Args:
        embed_dims (int): Width D.
        num_heads (int): Heads.
        ffn_ratio (float): Hidden width of the feed-forward, in units of D.
    """

    def __init__(
        self, embed_dims: int, num_heads: int, ffn_ratio: float
    ) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(embed_dims)
        self.attention = Attention(embed_dims, num_heads)
        self.norm_ffn = nn.LayerNorm(embed_dims)
        self.ffn = FeedForward(embed_dims, ffn_ratio)

    def forward(self, tokens_QSD: Tensor, real_QS: Tensor) -> Tensor:
        """Let every token see every real token; shape (Q, S, D)."""
        x = self.norm_attention(tokens_QSD)
        mask = None if real_QS.all() else real_QS[:, None, None]
        x = tokens_QSD + self.attention(x, x, mask)
        return x + self.ffn(self.norm_ffn(x))


def split_windows(x: Tensor, window: Size3) -> Tensor:
    """Cut (Q, T, H, W, D) into windows: (Q, number, S, D)."""
    t, h, w = window
    return rearrange(
        x,
        'q (nt t) (nh h) (nw w) d -> q (nt nh nw) (t h w) d',
        t=t,
        h=h,
        w=w,
    )


def join_windows(x: Tensor, window: Size3, size: Size3) -> Tensor:
    """Undo :func:`split_windows`; ``size`` is (T, H, W)."""
    (t, h, w), (big_t, big_h, big_w) = window, size
    return rearrange(
        x,
        'q (nt nh nw) (t h w) d -> q (nt t) (nh h) (nw w) d',
        t=t,
        h=h,
        w=w,
        nt=big_t // t,
        nh=big_h // h,
        nw=big_w // w,
    )


class AlignmentBias(nn.Module):
    """Draws the attention of a region to where its object is in other frames.

    A set of regions has no places that a window could follow through time;
    boxes say which regions show the same object. The bias falls with the
    distance of two boxes, in units of their size, and the more slowly, the
    more frames lie between them; each head learns how fast, and whether it
    looks back or ahead, so that motion is what its heads disagree about.

    Args:
        num_heads (int): Heads.
    """

    def __init__(self, num_heads: int) -> None:
        super().__init__()
        # Of four heads two follow an object, one back and one ahead in
        # time, one stays with it, and one sees all.
        sharpness = torch.tensor([4.0, 4.0, 4.0, -3.0])
        direction = torch.tensor([-1.5, 1.5, 0.0, 0.0])
        decay = torch.tensor([-1.0, -1.0, -1.0, -4.0])
        kind = torch.arange(num_heads) % 4
        self.sharpness = nn.Parameter(sharpness[kind])
        self.direction = nn.Parameter(direction[kind])
        self.decay = nn.Parameter(decay[kind])
        self.reach = nn.Parameter(torch.zeros(num_heads))

    def forward(self, geometry_NS5: Tensor) -> Tensor:
        """Bias of each pair of regions.

        Args:
            geometry_NS5 (Tensor): Centre and size of the box (x, y, width,
                height) and frame number of each region.

        Returns:
            Tensor: Added to the logits of attention, (N, heads, S, S).
        """
        x, y, width, height, frame = geometry_NS5.unbind(-1)

        def apart(v: Tensor) -> Tensor:
            return v[:, None] - v[:, :, None]

        scale = (width * height).clamp(min=1e-4).sqrt()
        mean = (scale[:, :, None] + scale[:, None]) / 2
        far = (apart(x).square() + apart(y).square()) / mean.square()
        far = (far + apart(scale.log()).square()).clamp(max=50.0)
        steps = apart(frame)[:, None]
        away = steps.abs()
        reach = F.softplus(self.reach)[:, None, None]
        sharpness = F.softplus(self.sharpness)[:, None, None]
        decay = F.softplus(self.decay)[:, None, None]
        bias = -sharpness * far[:, None] / (1 + reach * away) - decay * away
        return bias + self.direction[:, None, None] * steps.clamp(-2, 2)


class WindowAttention(nn.Module):
    """Self-attention inside windows of a (T, H, W) grid.

    Args:
        embed_dims (int): Width D.
        num_heads (int): Heads.
        window (tuple[int, int, int] | None): Frames, rows and columns of a
            window; None attends over the whole grid.
        shift (bool): Move the windows by half their size, so that what one
            layer cuts the next one joins (Swin, arXiv 2103.14030).
        align (bool): Follow the boxes, see :class:`AlignmentBias`.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        window: Optional[Size3],
        shift: bool,
        align: bool = False,
    ) -> None:
        super().__init__()
        self.attention = Attention(embed_dims, num_heads)
        self.alignment = AlignmentBias(num_heads) if align else None
        self.window = window
        self.shift = shift

    def _layout(
        self, size: Size3, is_grid: bool
    ) -> tuple[Size3, Size3, Size3]:
        """Window, shift and padding for a grid of (T, H, W)."""
        wanted = self.window or size
        if not is_grid:
            wanted = (wanted[0], *size[1:])
        moves = self.shift and self.window is not None
        # The first edge of a shifted window lies at half a window, whatever
        # the size: padding must not decide who sees whom. Sets have no edge.
        shift = tuple(
            w // 2 if can and w // 2 < s else 0
            for w, s, can in zip(
                wanted, size, (moves, moves and is_grid, moves and is_grid)
            )
        )
        # A window that holds the whole axis need not be larger than it.
        window = tuple(
            w if by else min(w, s) for w, by, s in zip(wanted, shift, size)
        )
        pad = tuple(-s % w for w, s in zip(window, size))
        return window, shift, pad  # type: ignore[return-value]

    @staticmethod
    def _areas(size: Size3, window: Size3, shift: Size3) -> Tensor:
        """Number the areas that a cyclic shift brings into one window."""
        areas = torch.zeros(size, dtype=torch.long)
        for axis, (s, w, by) in enumerate(zip(size, window, shift)):
            number = torch.zeros(s, dtype=torch.long)
            if by:
                number[s - w : s - by] = 1
                number[s - by :] = 2
            shape = [1, 1, 1]
            shape[axis] = s
            areas = areas * 3 + number.view(shape)
        return areas

    def _mask(
        self, real_QTHW: Tensor, window: Size3, shift: Size3
    ) -> Optional[Tensor]:
        """Which tokens of a window may see each other, or None for all."""
        mask = None
        if any(shift):
            size: Size3 = tuple(real_QTHW.shape[1:])  # type: ignore
            areas = self._areas(size, window, shift).to(real_QTHW.device)
            areas = split_windows(areas[None, ..., None], window)[..., 0]
            mask = areas[..., :, None] == areas[..., None, :]
        if not real_QTHW.all():
            real = split_windows(real_QTHW[..., None], window)[..., 0]
            seen = real[..., None, :]
            mask = seen if mask is None else mask & seen
            # A token of padding sees itself, which keeps softmax finite.
            eye = torch.eye(real.shape[-1], dtype=torch.bool)
            mask = mask | eye.to(real.device)
        return mask

    def forward(
        self,
        x_QTHWD: Tensor,
        real_QTHW: Tensor,
        is_grid: bool = True,
        geometry_QTHW5: Optional[Tensor] = None,
    ) -> Tensor:
        """Attend inside windows.

        Args:
            x_QTHWD (Tensor): Has shape (Q, T, H, W, D).
            real_QTHW (Tensor): True on real tokens, has shape (Q, T, H, W).
            is_grid (bool): False for a set of regions, which has no
                neighbourhood: a window then holds all regions of its frames.
            geometry_QTHW5 (Tensor, optional): Boxes and frame numbers, see
                :class:`AlignmentBias`.

        Returns:
            Tensor: Has the shape of the input; padding holds no meaning.
        """
        old_size: Size3 = tuple(real_QTHW.shape[1:])  # type: ignore
        window, shift, pad = self._layout(old_size, is_grid)
        x, real, geometry = x_QTHWD, real_QTHW, geometry_QTHW5
        if self.alignment is None:
            geometry = None
        if any(pad):
            spread = (0, pad[2], 0, pad[1], 0, pad[0])
            x = F.pad(x, (0, 0, *spread))
            real = F.pad(real, spread)
            if geometry is not None:
                geometry = F.pad(geometry, (0, 0, *spread), value=1.0)
        if any(shift):
            back = tuple(-s for s in shift)
            x = x.roll(back, dims=(1, 2, 3))
            real = real.roll(back, dims=(1, 2, 3))
            if geometry is not None:
                geometry = geometry.roll(back, dims=(1, 2, 3))
        size: Size3 = tuple(real.shape[1:])  # type: ignore
        mask = self._mask(real, window, shift)
        tokens = split_windows(x, window)
        num_clips, num_windows = tokens.shape[:2]
        if mask is not None:
            mask = mask.expand(num_clips, num_windows, -1, -1)
            mask = mask.flatten(0, 1)[:, None]
        tokens = tokens.flatten(0, 1)
        if geometry is not None and self.alignment is not None:
            bias = self.alignment(
                split_windows(geometry, window).flatten(0, 1)
            )
            bias = bias.to(tokens.dtype)
            mask = bias if mask is None else bias.masked_fill(~mask, -1e4)
        tokens = self.attention(tokens, tokens, mask)
        tokens = tokens.unflatten(0, (num_clips, num_windows))
        x = join_windows(tokens, window, size)
        if any(shift):
            x = x.roll(shift, dims=(1, 2, 3))
        if any(pad):
            t, h, w = old_size
            x = x[:, :t, :h, :w]
        return x
