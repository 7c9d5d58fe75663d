"""Hierarchical reasoning: decoupled attention in place of the joint one.

The abstract of HERO says that *hierarchical reasoning layers decouple fully
connected multi-head attention and remove redundant interfering
correlations*. We choose a layer of five steps, each linear in frames and in
regions: spatial attention in local windows of a frame, regions to words with
their neighbourhood (pyramid alignment), temporal attention along a window of
frames at an aligned place with some channels shifted a frame (shifted
alignment), one token a frame that sees all frames, and a feed-forward.

Shape legend: B clips, Q queries, T frames, H W grid, L words, D width.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Optional

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from hero_mm.registry import MODELS

from ..features import TextFeatures, VideoFeatures
from ..layers import (
    Attention,
    BoxPosition,
    FeedForward,
    GridPosition,
    JointLayer,
    PyramidAlignment,
    WindowAttention,
    temporal_shift,
)


class FrameTokens(nn.Module):
    """One token a frame: gathers its regions and sees all frames.

    Args:
        embed_dims (int): Width D.
        num_heads (int): Heads.
        ffn_ratio (float): Hidden width of the feed-forward, in units of D.
    """

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
        # How much a frame that lacks the action is left out; see
        # ContrastiveActionHead. Learned, from "a little".
        self.gate = nn.Parameter(torch.tensor(0.5))

    def forward(
        self,
        x_QTHWD: Tensor,
        frames_QTD: Tensor,
        real_QTHW: Tensor,
        consistency_QT: Optional[Tensor],
    ) -> tuple[Tensor, Tensor]:
        """Exchange between regions of a frame and all frames.

        Args:
            x_QTHWD (Tensor): Regions, has shape (Q, T, H, W, D).
            frames_QTD (Tensor): Frame tokens, has shape (Q, T, D).
            real_QTHW (Tensor): True on real regions.
            consistency_QT (Tensor, optional): Logits of action consistency;
                consistent frames weigh more in the temporal attention.

        Returns:
            tuple[Tensor, Tensor]: Regions and frame tokens.
        """
        regions = self.norm_regions(x_QTHWD).flatten(2, 3)
        logits = self.weight(regions).squeeze(-1)
        logits = logits.masked_fill(~real_QTHW.flatten(2), -1e4)
        gathered = torch.einsum('qtn,qtnd->qtd', logits.softmax(-1), regions)
        frames = frames_QTD + self.gather(gathered)
        real_frame = real_QTHW.flatten(2).any(-1)
        # Without an action head every frame counts as consistent.
        agree = torch.zeros_like(frames[..., 0])
        if consistency_QT is not None:
            agree = F.logsigmoid(consistency_QT)
        bias = F.softplus(self.gate) * agree
        bias = bias.masked_fill(~real_frame, -1e4)
        tokens = self.norm_frames(frames)
        frames = frames + self.attention(tokens, tokens, bias[:, None, None])
        frames = frames + self.ffn(self.norm_ffn(frames))
        return x_QTHWD + self.spread(frames)[:, :, None, None], frames


class ReasoningLayer(nn.Module):
    """One layer of decoupled reasoning; every step can be left out.

    Args:
        embed_dims (int): Width D.
        num_heads (int): Heads.
        spatial_window (int): Side of the windows in a frame; 0 leaves the
            spatial attention out.
        temporal_window (int): Frames of a temporal window; 0 leaves it out.
        scales (Sequence[int]): Of the pyramid alignment; empty: the layer
            sees no words.
        shift_windows (bool): Move the windows by half their size.
        shift_div (int): 1/shift_div of the channels look one frame back and
            as many ahead before the temporal attention; 0 leaves it out.
        frame_tokens (bool): One token a frame that sees all frames.
        ffn_ratio (float): Hidden width of the feed-forward, in units of D.
        align (bool): Temporal attention follows the boxes.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        spatial_window: int,
        temporal_window: int,
        scales: Sequence[int],
        shift_windows: bool,
        shift_div: int,
        frame_tokens: bool,
        ffn_ratio: float,
        align: bool,
    ) -> None:
        super().__init__()
        self.spatial = self.temporal = self.pyramid = self.frames = None
        if spatial_window:
            window = (1, spatial_window, spatial_window)
            self.norm_spatial = nn.LayerNorm(embed_dims)
            self.spatial = WindowAttention(
                embed_dims, num_heads, window, shift_windows
            )
        if scales:
            self.pyramid = PyramidAlignment(embed_dims, num_heads, scales)
        self.shift = embed_dims // shift_div if shift_div else 0
        if temporal_window:
            window = (temporal_window, 1, 1)
            self.norm_temporal = nn.LayerNorm(embed_dims)
            self.temporal = WindowAttention(
                embed_dims, num_heads, window, shift_windows, align
            )
        if frame_tokens:
            self.frames = FrameTokens(embed_dims, num_heads, ffn_ratio)
        self.norm_ffn = nn.LayerNorm(embed_dims)
        self.ffn = FeedForward(embed_dims, ffn_ratio)

    def forward(
        self,
        x_QTHWD: Tensor,
        frames_QTD: Tensor,
        video: VideoFeatures,
        text: Optional[TextFeatures] = None,
        consistency_QT: Optional[Tensor] = None,
    ) -> tuple[Tensor, Tensor]:
        """Reason once; shapes as in :class:`FrameTokens`."""
        x, frames = x_QTHWD, frames_QTD
        real_QTHW, is_grid = video.real_BTHW, video.is_grid
        if self.spatial is not None:
            x = x + self.spatial(self.norm_spatial(x), real_QTHW, is_grid)
        if self.pyramid is not None and text is not None:
            x = x + self.pyramid(
                x,
                real_QTHW,
                text.words_QLD,
                text.word_mask_QL,
                video.contexts,
            )
        if self.temporal is not None:
            normed = self.norm_temporal(x)
            # In a set, a place has no meaning from frame to frame.
            if self.shift and is_grid:
                normed = normed * real_QTHW[..., None]
                normed = temporal_shift(normed, self.shift)
            x = x + self.temporal(
                normed, real_QTHW, is_grid, video.geometry_BTHW5
            )
        if self.frames is not None:
            x, frames = self.frames(x, frames, real_QTHW, consistency_QT)
        x = x + self.ffn(self.norm_ffn(x))
        return x, frames


@MODELS.register_module()
class HierarchicalReasoningNeck(BaseModule):
    """Reason over the regions of a clip and the words of a sentence.

    ``num_clip_layers`` layers see the whole grid and no words; then, where
    the grounder selects regions, ``num_region_layers`` layers see those with
    their boxes. Both run once a clip, so that many sentences share them.
    ``num_layers`` layers follow a sentence.

    Args:
        embed_dims (int): Width D.
        num_heads (int): Heads.
        num_clip_layers (int): Layers over the grid, a clip.
        num_region_layers (int): Layers over the selected regions, a clip.
        num_layers (int): Layers with words, a query.
        spatial_window (int): Side of the windows in a frame, in regions.
        temporal_window (int): Frames of a temporal window.
        scales (Sequence[int]): Sides of the neighbourhoods of the pyramid
            alignment, 0 is the frame; ``(1,)`` switches the pyramid off.
        shift_windows (bool): Windows of every second layer are shifted.
        shift_div (int): 1/shift_div of the channels look one frame back and
            as many ahead; 0 switches it off. With ``shift_windows=False``
            this is HERO without shifted alignment.
        frame_tokens (bool): One token a frame that sees all frames.
        ffn_ratio (float): Hidden width of the feed-forward, in units of D.
        align (bool): The temporal attention of the layers over regions
            follows their boxes.
        attention (str): 'hierarchical', or 'joint' for the fully connected
            attention over regions and words that HERO replaces.
        init_cfg (dict, optional): Initialization config.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int = 4,
        num_clip_layers: int = 1,
        num_region_layers: int = 1,
        num_layers: int = 2,
        spatial_window: int = 4,
        temporal_window: int = 8,
        scales: Sequence[int] = (1, 3, 5, 0),
        shift_windows: bool = True,
        shift_div: int = 8,
        frame_tokens: bool = True,
        ffn_ratio: float = 2.0,
        align: bool = True,
        attention: str = 'hierarchical',
        init_cfg: Optional[dict] = None,
    ) -> None:
        super().__init__(init_cfg)
        if attention not in ('hierarchical', 'joint'):
            raise ValueError(
                "attention must be 'hierarchical' or 'joint', got "
                f'{attention!r}'
            )
        if not scales:
            raise ValueError(
                'scales is empty, and regions would not see the words; '
                'scales=(1,) switches the pyramid off'
            )
        self.position = GridPosition(embed_dims)
        self.box_position = BoxPosition(embed_dims)
        self.to_frame = nn.Linear(embed_dims, embed_dims)
        self.fit_in = nn.Linear(2, embed_dims, bias=False)
        self.attention = attention

        def build(
            number: int, before: int, with_words: bool, align: bool
        ) -> nn.ModuleList:
            if attention == 'joint':
                joint = (embed_dims, num_heads, ffn_ratio)
                return nn.ModuleList(JointLayer(*joint) for _ in range(number))
            return nn.ModuleList(
                ReasoningLayer(
                    embed_dims,
                    num_heads,
                    spatial_window,
                    temporal_window,
                    scales if with_words else (),
                    shift_windows and (before + index) % 2 == 1,
                    shift_div,
                    frame_tokens,
                    ffn_ratio,
                    align,
                )
                for index in range(number)
            )

        before = num_clip_layers + num_region_layers
        self.clip_layers = build(num_clip_layers, 0, False, False)
        self.region_layers = build(
            num_region_layers, num_clip_layers, False, align
        )
        self.layers = build(num_layers, before, True, False)

    def _run(self, layers: nn.ModuleList, video: VideoFeatures) -> Tensor:
        """Layers that see no words."""
        x = video.regions_BTHWD
        if self.attention == 'joint':
            tokens, real = x.flatten(1, 3), video.real_BTHW.flatten(1)
            for layer in layers:
                tokens = layer(tokens, real)
            return tokens.view(x.shape)
        frames = x.new_zeros(*x.shape[:2], x.shape[-1])
        for layer in layers:
            x, frames = layer(x, frames, video)
        return x

    def encode_clip(self, video: VideoFeatures) -> VideoFeatures:
        """Add positions and run the layers over the grid.

        Args:
            video (VideoFeatures): B clips.

        Returns:
            VideoFeatures: The same clips.
        """
        x = video.regions_BTHWD
        x = x + self.position(x.shape[1], video.real_BTHW.any(1))
        video = replace(video, regions_BTHWD=x)
        return replace(video, regions_BTHWD=self._run(self.clip_layers, video))

    def encode_regions(self, video: VideoFeatures) -> VideoFeatures:
        """Tell the regions their boxes and run the layers over them.

        Args:
            video (VideoFeatures): B clips with the outputs of the tube head,
                as a grid or as sets of regions.

        Returns:
            VideoFeatures: The same clips.
        """
        x, raw = video.regions_BTHWD, video.raw_boxes_BTHW4
        if raw is not None:
            # Boxes inform here; they are trained where they are told.
            raw = raw.detach()
            centre = video.centres_BTHW2 / raw.new_tensor(video.stride)
            size = raw[..., 2:].clamp(-5, 5).exp()
            boxes = torch.cat([centre + raw[..., :2], size], dim=-1)
            x = x + self.box_position(boxes)
            steps = torch.arange(x.shape[1], device=x.device)
            steps = steps[:, None, None, None].expand(*boxes.shape[:-1], 1)
            geometry = torch.cat([boxes, steps.to(boxes)], dim=-1)
            video = replace(video, geometry_BTHW5=geometry)
        video = replace(video, regions_BTHWD=x)
        return replace(
            video, regions_BTHWD=self._run(self.region_layers, video)
        )

    def contexts(self, video: VideoFeatures) -> dict[int, Tensor]:
        """Neighbourhoods that the pyramid alignment of a set will need.

        Args:
            video (VideoFeatures): B clips, as a grid.

        Returns:
            dict[int, Tensor]: See :meth:`PyramidAlignment.contexts`.
        """
        if self.attention == 'joint' or not len(self.layers):
            return {}
        pyramid = self.layers[0].pyramid
        assert isinstance(pyramid, PyramidAlignment)
        return pyramid.contexts(video.regions_BTHWD, video.real_BTHW)

    def forward(
        self,
        video: VideoFeatures,
        text: TextFeatures,
        consistency_QT: Optional[Tensor] = None,
        fit_QTHW2: Optional[Tensor] = None,
    ) -> tuple[Tensor, Tensor]:
        """Reason with the words.

        Args:
            video (VideoFeatures): Clips, one a query (``of_queries``).
            text (TextFeatures): The queries.
            consistency_QT (Tensor, optional): Logits of action consistency,
                has shape (Q, T).
            fit_QTHW2 (Tensor, optional): How well looks and action of each
                region fit the sentence.

        Returns:
            tuple[Tensor, Tensor]: Regions (Q, T, H, W, D) and frame tokens
            (Q, T, D).
        """
        x, real = video.regions_BTHWD, video.real_BTHW
        if fit_QTHW2 is not None:
            x = x + self.fit_in(fit_QTHW2)
        sentence = self.to_frame(text.sentence_QD)[:, None]
        frames = sentence + self.position.frames(x.shape[1])
        if self.attention == 'joint':
            tokens = torch.cat([x.flatten(1, 3), text.words_QLD], dim=1)
            seen = torch.cat([real.flatten(1), text.word_mask_QL], dim=1)
            for layer in self.layers:
                tokens = layer(tokens, seen)
            x = tokens[:, : x[0, ..., 0].numel()].reshape(x.shape)
            weight = real.flatten(2).to(x.dtype)
            mean = torch.einsum('qtn,qtnd->qtd', weight, x.flatten(2, 3))
            frames = frames + mean / weight.sum(-1, keepdim=True).clamp(min=1)
            return x, frames
        for layer in self.layers:
            x, frames = layer(x, frames, video, text, consistency_QT)
        return x, frames
