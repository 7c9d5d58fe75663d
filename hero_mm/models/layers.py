"""Layers of hierarchical reasoning, and the joint one that they replace.

They *decouple fully connected multi-head attention*. We choose space (regions
of a frame), words (the *pyramid alignment*), time (along a slot, the *shifted
alignment*) and one token a frame. The cost is linear in frames.

Shape legend: N sequences, Q queries, T frames, R regions (slots) a frame, W
frames of a window, S sizes, L words or tokens, D width.
"""

import math
from dataclasses import dataclass
from typing import Optional

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from hero_mm.errors import UserError
from hero_mm.registry import MODELS

# Hidden width of feed-forwards, in widths of the tokens.
FFN_RATIO = 2.0
# One channel in so many looks a frame back, as many look ahead.
SHIFT_DIV = 4
# einops finds torch at its first call, for which torch.compile would build
# one more graph.
rearrange(torch.zeros(1), 'a -> a')


def start_silent(linear: nn.Module) -> None:
    """What an untrained layer adds to its input is zero."""
    for parameter in linear.parameters():
        nn.init.zeros_(parameter)


class Attention(nn.Module):
    """Multi-head attention, on torch's fused kernel."""

    def __init__(self, embed_dims: int, num_heads: int) -> None:
        super().__init__()
        if embed_dims % num_heads:
            raise UserError(f'{embed_dims=} is no multiple of {num_heads=}')
        self.num_heads = num_heads
        self.query_key_value = nn.Linear(embed_dims, 3 * embed_dims)
        self.out = nn.Linear(embed_dims, embed_dims)
        start_silent(self.out)

    def forward(self, x: Tensor, bias: Optional[Tensor] = None) -> Tensor:
        """Tokens (N, L, D) attend to each other; a bool bias hides."""
        heads = self.num_heads
        q, k, v = (
            rearrange(part, 'n l (h d) -> n h l d', h=heads)
            for part in self.query_key_value(x).chunk(3, dim=-1)
        )
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return self.out(rearrange(out, 'n h l d -> n l (h d)'))


class FeedForward(nn.Sequential):
    """Two linear layers with GELU between, ``ratio`` times as wide."""

    def __init__(self, dims: int, ratio: float, out_dims: int = 0) -> None:
        hidden = int(dims * ratio)
        first = nn.Linear(dims, hidden)
        last = nn.Linear(hidden, out_dims or dims)
        super().__init__(first, nn.GELU(), last)


def sine_features(positions: Tensor, num_bands: int) -> Tensor:
    """Sines and cosines of wavelengths from 2 to 2 ** num_bands."""
    bands = torch.arange(num_bands, device=positions.device)
    angles = positions[..., None] * (2 * math.pi / 2.0 ** (bands + 1))
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


class StepPosition(nn.Module):
    """Projection of sines of a number of steps; 8 bands reach 256."""

    def __init__(self, embed_dims: int) -> None:
        super().__init__()
        self.project = nn.Linear(2 * 8, embed_dims, bias=False)

    def forward(self, steps: Tensor) -> Tensor:
        """Steps (...) to (..., D)."""
        sines = sine_features(steps.float(), 8)
        return self.project(sines.to(self.project.weight.dtype))


class BoxPosition(nn.Module):
    """Embedding of a box by its place and size."""

    def __init__(self, embed_dims: int) -> None:
        super().__init__()
        self.project = nn.Sequential(
            nn.Linear(4 * (2 * 6 + 1), embed_dims),
            nn.GELU(),
            nn.Linear(embed_dims, embed_dims),
        )

    def forward(self, boxes: Tensor, unit: Tensor) -> Tensor:
        """Boxes (..., 4) to (..., D); unit: pixels that count as one."""
        centre = (boxes[..., :2] + boxes[..., 2:]) / 2 / unit
        size = (boxes[..., 2:] - boxes[..., :2]) / unit
        place = torch.cat([centre, size], -1)
        waves = sine_features(place, 6).flatten(-2)
        features = torch.cat([waves, place / 8], dim=-1)
        dtype = next(self.project.parameters()).dtype
        return self.project(features.to(dtype))


def temporal_shift(x: Tensor, channels: int, dim: int = -1) -> Tensor:
    """Some channels of (B, T, ...) come from the frames before and after."""
    rest = x.shape[dim] - 2 * channels
    back, ahead, same = x.split([channels, channels, rest], dim=dim)
    zero = torch.zeros_like(back[:, :1])
    back = torch.cat([zero, back[:, :-1]], dim=1)
    ahead = torch.cat([ahead[:, 1:], zero], dim=1)
    return torch.cat([back, ahead, same], dim=dim)


@dataclass
class Context:
    """What a layer reads and does not change, as of the neck."""

    mask_QTR: Tensor
    times_QT: Tensor
    frame_mask_QT: Tensor
    looks_QTRSD: Optional[Tensor] = None
    words_QLD: Optional[Tensor] = None
    word_mask_QL: Optional[Tensor] = None
    gate_QT: Optional[Tensor] = None


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


class PyramidAlignment(nn.Module):
    """Cross-attention from regions, at several sizes, to the words.

    What they find scales and shifts the region (FiLM, arXiv 1709.07871).
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
        heads, sizes = self.num_heads, len(self.look_weight)
        if looks_QTRSD.shape[3] not in (1, sizes):
            raise UserError(
                f'regions show {looks_QTRSD.shape[3]} sizes: set num_sizes='
                f'{sizes} of the neck to the scales of the region encoder'
            )
        x = self.norm(x_QTRD)
        pairs = self.key_value(words_QLD)
        k, v = rearrange(pairs, 'q l (c h d) -> c q 1 h l d', c=2, h=heads)
        k = k / k.shape[-1] ** 0.5
        # The question of region and look, taken apart: nothing as wide as the
        # looks is made. Words before regions, where softmax is fast.
        own = rearrange(self.query(x), 'q t r (h d) -> q 1 h d (t r)', h=heads)
        own = (k @ own).masked_fill(
            ~word_mask_QL[:, None, None, :, None], -1e4
        )
        looks = rearrange(
            looks_QTRSD, 'q t r s (h d) -> q s h d (t r)', h=heads
        )
        weight = self.look_weight.unflatten(1, (heads, 1, -1))
        found = (own + (k * weight) @ looks).softmax(-2)
        # Sizes are fused before the words are read.
        weights = self.fuse(x).softmax(-1)
        weights = rearrange(weights, 'q t r s -> q s 1 1 (t r)')
        found = v.mT @ (weights * found).sum(1, keepdim=True)
        fused = rearrange(found, 'q 1 h d n -> q n (h d)').view(x.shape)
        scale_by, move_by = self.out(fused).chunk(2, dim=-1)
        return x * scale_by + move_by


class TimeBias(nn.Module):
    """Bias of attention between frames by the time between them.

    Of four heads one starts to look back, one ahead, one stays, one sees all.
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


@MODELS.register_module()
class SlotAttention(nn.Module):
    """Attention along each slot, in windows of frames.

    With ``halfway`` they begin half a window earlier (Swin, arXiv 2103.14030),
    with ``shift`` some channels come from beside (TSM, arXiv 1811.08383).
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        window: int,
        shift: bool,
        halfway: bool,
    ) -> None:
        super().__init__()
        if window < 2:
            raise UserError(f'temporal_window={window}: 2 frames or more')
        self.norm = nn.LayerNorm(embed_dims)
        self.attention = Attention(embed_dims, num_heads)
        self.bias = TimeBias(num_heads)
        self.window = window
        self.begin = window // 2 if halfway else 0
        self.shift = embed_dims // SHIFT_DIV if shift else 0

    def forward(
        self, x_QTRD: Tensor, mask_QTR: Tensor, times_QT: Tensor
    ) -> Tensor:
        """What is to be added to the regions."""
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
            x, mask, times = (v.roll(-self.begin, 1) for v in (x, mask, times))
        tokens = rearrange(x, 'q (n w) r d -> (q n r) w d', w=window)
        mask = rearrange(mask, 'q (n w) r -> q n r 1 1 w', w=window)
        times = rearrange(times, 'q (n w) -> q n w', w=window)
        number = number.roll(-self.begin).view(-1, window)
        same = number[:, :, None] == number[:, None]
        # A missing region sees itself, which keeps softmax finite.
        eye = torch.eye(window, dtype=torch.bool, device=x.device)
        seen = mask & same[:, None, None] | eye
        bias = self.bias(times)[:, :, None].to(x.dtype)
        bias = bias.masked_fill(~seen, -1e4).flatten(0, 2)
        out = self.attention(tokens, bias)
        out = rearrange(
            out, '(q n r) w d -> q (n w) r d', r=x.shape[2], q=len(x)
        )
        if self.begin:
            out = out.roll(self.begin, 1)
        if not torch.compiler.is_compiling():
            return out[:, :frames]
        # Contiguous, whatever was padded: one graph serves all lengths.
        return out.index_select(1, torch.arange(frames, device=out.device))


class FrameTokens(nn.Module):
    """One token a frame: gathers its regions and sees all frames."""

    def __init__(self, embed_dims: int, num_heads: int) -> None:
        super().__init__()
        self.norm_regions = nn.LayerNorm(embed_dims)
        self.weight = nn.Linear(embed_dims, 1)
        self.gather = nn.Linear(embed_dims, embed_dims)
        self.norm_frames = nn.LayerNorm(embed_dims)
        self.attention = Attention(embed_dims, num_heads)
        self.norm_ffn = nn.LayerNorm(embed_dims)
        self.ffn = FeedForward(embed_dims, FFN_RATIO)
        self.spread = nn.Linear(embed_dims, embed_dims)
        start_silent(self.ffn[-1])
        start_silent(self.spread)
        # How much a frame that lacks the action is left out; see
        # ContrastiveActionHead. Learned, from "a little".
        self.gate = nn.Parameter(torch.tensor([0.5]))

    def forward(
        self, x_QTRD: Tensor, frames_QTD: Tensor, context: Context
    ) -> tuple[Tensor, Tensor]:
        """Exchange between regions of a frame and all frames."""
        regions = self.norm_regions(x_QTRD)
        logits = self.weight(regions).squeeze(-1)
        logits = logits.masked_fill(~context.mask_QTR, -1e4)
        gathered = torch.einsum('qtr,qtrd->qtd', logits.softmax(-1), regions)
        frames = frames_QTD + self.gather(gathered)
        # Without an action head every frame counts as consistent.
        agree = torch.zeros_like(frames[..., 0])
        if context.gate_QT is not None:
            agree = F.logsigmoid(context.gate_QT).to(agree)
        bias = F.softplus(self.gate) * agree
        bias = bias.masked_fill(~context.frame_mask_QT, -1e4)
        tokens = self.norm_frames(frames)
        frames = frames + self.attention(tokens, bias[:, None, None])
        frames = frames + self.ffn(self.norm_ffn(frames))
        return x_QTRD + self.spread(frames)[:, :, None], frames


class HierarchicalLayer(nn.Module):
    """Space, words (with ``num_sizes`` > 0), time, frames: decoupled."""

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        num_sizes: int,
        temporal_layer: dict,
    ) -> None:
        super().__init__()
        self.space = SpatialAttention(embed_dims, num_heads)
        self.words = None
        if num_sizes:
            self.words = PyramidAlignment(embed_dims, num_heads, num_sizes)
        self.time = MODELS.build({'embed_dims': embed_dims, **temporal_layer})
        self.frames = FrameTokens(embed_dims, num_heads)
        self.norm_ffn = nn.LayerNorm(embed_dims)
        self.ffn = FeedForward(embed_dims, FFN_RATIO)
        start_silent(self.ffn[-1])

    def forward(
        self, x_QTRD: Tensor, frames_QTD: Tensor, context: Context
    ) -> tuple[Tensor, Tensor]:
        """Reason once."""
        x = x_QTRD + self.space(x_QTRD, context.mask_QTR)
        if self.words is not None and context.words_QLD is not None:
            x = x + self.words(
                x,
                context.looks_QTRSD,
                context.words_QLD,
                context.word_mask_QL,
            )
        x = x + self.time(x, context.mask_QTR, context.times_QT)
        x, frames = self.frames(x, frames_QTD, context)
        return x + self.ffn(self.norm_ffn(x)), frames


class JointReasoningLayer(nn.Module):
    """The baseline of equal size: regions, words, frames see each other."""

    def __init__(
        self, embed_dims: int, num_heads: int, with_words: bool
    ) -> None:
        super().__init__()
        # Of time, frame tokens and words, in units of D squared.
        saved = 4 + 6 + 2 * FFN_RATIO + 5 * with_words
        self.norm_attention = nn.LayerNorm(embed_dims)
        self.attention = Attention(embed_dims, num_heads)
        self.norm_ffn = nn.LayerNorm(embed_dims)
        self.ffn = FeedForward(embed_dims, FFN_RATIO + saved / 2)
        start_silent(self.ffn[-1])

    def forward(
        self, x_QTRD: Tensor, frames_QTD: Tensor, context: Context
    ) -> tuple[Tensor, Tensor]:
        """As :meth:`HierarchicalLayer.forward`."""
        parts = [x_QTRD.flatten(1, 2), frames_QTD]
        real = [context.mask_QTR.flatten(1), context.frame_mask_QT]
        if context.words_QLD is not None and context.word_mask_QL is not None:
            parts.append(context.words_QLD)
            real.append(context.word_mask_QL)
        tokens, seen = torch.cat(parts, 1), torch.cat(real, 1)[:, None, None]
        tokens = tokens + self.attention(self.norm_attention(tokens), seen)
        tokens = tokens + self.ffn(self.norm_ffn(tokens))
        number = parts[0].shape[1]
        regions = tokens[:, :number].reshape(x_QTRD.shape)
        return regions, tokens[:, number : number + frames_QTD.shape[1]]


def reasoning_layers(
    embed_dims: int,
    num_layers: int,
    num_heads: int,
    num_sizes: int,
    temporal_window: int,
    shift: bool,
    attention: str,
    temporal_layer: Optional[dict] = None,
    first: int = 0,
) -> nn.ModuleList:
    """Layers of one kind, of which windows of every second begin halfway."""
    if attention == 'joint' and not temporal_layer:
        return nn.ModuleList(
            JointReasoningLayer(embed_dims, num_heads, bool(num_sizes))
            for _ in range(num_layers)
        )
    if attention != 'hierarchical':
        raise UserError(
            "attention must be 'hierarchical', or 'joint' without a "
            f'temporal_layer; got {attention!r} and {temporal_layer}'
        )
    layers = nn.ModuleList()
    for number in range(first, first + num_layers):
        time = temporal_layer or dict(
            type=SlotAttention,
            num_heads=num_heads,
            window=temporal_window,
            shift=shift,
            halfway=shift and number % 2 == 1,
        )
        layers.append(
            HierarchicalLayer(embed_dims, num_heads, num_sizes, time)
        )
    return layers
