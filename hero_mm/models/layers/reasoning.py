"""One layer of hierarchical reasoning, and the joint one that it replaces.

A layer is: space (regions of one frame), words (pyramid alignment), time
(along a slot, in shifted windows), one token a frame that sees all frames,
and a feed-forward. Its cost is linear in frames.

Shape legend: Q queries, T frames, R regions (slots) a frame, S sizes, L
words, D width.
"""

from dataclasses import dataclass
from typing import Optional

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hero_mm.errors import UserError

from .attention import (
    Attention,
    FeedForward,
    JointLayer,
    SlotAttention,
    SpatialAttention,
    start_silent,
)
from .pyramid import PyramidAlignment


@dataclass
class Context:
    """What a layer reads and does not change.

    Attributes:
        mask_QTR (Tensor): True on regions.
        times_QT (Tensor): Places of the frames.
        frame_mask_QT (Tensor): True on real frames.
        looks_QTRSD (Tensor, optional): What regions show at several sizes.
        words_QLD (Tensor, optional): Words.
        word_mask_QL (Tensor, optional): True on real words.
        gate_QT (Tensor, optional): Logits of action consistency.
    """

    mask_QTR: Tensor
    times_QT: Tensor
    frame_mask_QT: Tensor
    looks_QTRSD: Optional[Tensor] = None
    words_QLD: Optional[Tensor] = None
    word_mask_QL: Optional[Tensor] = None
    gate_QT: Optional[Tensor] = None


class FrameTokens(nn.Module):
    """One token a frame: gathers its regions and sees all frames."""

    def __init__(
        self, embed_dims: int, num_heads: int, ffn_ratio: float
    ) -> None:
        super().__init__()
        self.norm_regions = nn.LayerNorm(embed_dims)
        self.weight = nn.Linear(embed_dims, 1)
        self.gather = nn.Linear(embed_dims, embed_dims)
        self.norm_frames = nn.LayerNorm(embed_dims)
        self.attention = Attention(embed_dims, num_heads)
        self.norm_ffn = nn.LayerNorm(embed_dims)
        self.ffn = FeedForward(embed_dims, ffn_ratio)
        self.spread = nn.Linear(embed_dims, embed_dims)
        start_silent(self.ffn[-1])
        start_silent(self.spread)
        # How much a frame that lacks the action is left out; see
        # ContrastiveActionHead. Learned, from "a little".
        self.gate = nn.Parameter(torch.tensor(0.5))

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
    """Space, words, time, frames: decoupled, each linear in frames.

    Args:
        embed_dims (int): Width D.
        num_heads (int): Heads.
        ffn_ratio (float): Hidden width of the feed-forward, in units of D.
        num_sizes (int): Sizes S at which regions ask the words; 0: the layer
            sees no words.
        temporal_window (int): Frames of a window.
        shifted (bool): Windows begin half a window earlier.
        shift_div (int): 1/shift_div of the channels look a frame back along
            the slot and as many ahead; 0 leaves it out.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        ffn_ratio: float,
        num_sizes: int,
        temporal_window: int,
        shifted: bool,
        shift_div: int,
    ) -> None:
        super().__init__()
        self.space = SpatialAttention(embed_dims, num_heads)
        self.words = None
        if num_sizes:
            self.words = PyramidAlignment(embed_dims, num_heads, num_sizes)
        self.time = SlotAttention(
            embed_dims, num_heads, temporal_window, shifted, shift_div
        )
        self.frames = FrameTokens(embed_dims, num_heads, ffn_ratio)
        self.norm_ffn = nn.LayerNorm(embed_dims)
        self.ffn = FeedForward(embed_dims, ffn_ratio)
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
    """The baseline: regions of all frames, words and frame tokens in one.

    Its feed-forward is wider, so that it has as many parameters as a
    :class:`HierarchicalLayer` of this ``ffn_ratio``.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        ffn_ratio: float,
        with_words: bool,
    ) -> None:
        super().__init__()
        # Of time, frame tokens and words, in units of D squared.
        saved = 4 + 6 + 2 * ffn_ratio + 5 * with_words
        self.layer = JointLayer(embed_dims, num_heads, ffn_ratio + saved / 2)

    def forward(
        self, x_QTRD: Tensor, frames_QTD: Tensor, context: Context
    ) -> tuple[Tensor, Tensor]:
        """As :meth:`HierarchicalLayer.forward`."""
        parts = [x_QTRD.flatten(1, 2), frames_QTD]
        real = [context.mask_QTR.flatten(1), context.frame_mask_QT]
        if context.words_QLD is not None and context.word_mask_QL is not None:
            parts.append(context.words_QLD)
            real.append(context.word_mask_QL)
        tokens = self.layer(torch.cat(parts, 1), torch.cat(real, 1))
        number = parts[0].shape[1]
        regions = tokens[:, :number].reshape(x_QTRD.shape)
        return regions, tokens[:, number : number + frames_QTD.shape[1]]


def reasoning_layers(
    number: int,
    attention: str,
    embed_dims: int,
    num_heads: int,
    ffn_ratio: float,
    num_sizes: int,
    temporal_window: int,
    shift: bool,
    shift_div: int,
    first: int = 0,
) -> nn.ModuleList:
    """Layers of one kind; windows of every second one are shifted.

    Args:
        number (int): Layers.
        attention (str): 'hierarchical' or 'joint'; else a ValueError.
        embed_dims (int): See :class:`HierarchicalLayer`.
        num_heads (int): The same.
        ffn_ratio (float): The same.
        num_sizes (int): The same.
        temporal_window (int): The same.
        shift (bool): Shifted alignment; False leaves windows and channels
            where they are.
        shift_div (int): See :class:`SlotAttention`.
        first (int): Layers before these.
    """
    if attention == 'joint':
        return nn.ModuleList(
            JointReasoningLayer(
                embed_dims, num_heads, ffn_ratio, bool(num_sizes)
            )
            for _ in range(number)
        )
    if attention != 'hierarchical':
        raise UserError(
            f"attention must be 'hierarchical' or 'joint', got {attention!r}"
        )
    return nn.ModuleList(
        HierarchicalLayer(
            embed_dims,
            num_heads,
            ffn_ratio,
            num_sizes,
            temporal_window,
            shift and (first + index) % 2 == 1,
            shift_div if shift else 0,
        )
        for index in range(number)
    )
