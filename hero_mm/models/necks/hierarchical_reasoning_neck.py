"""Hierarchical reasoning with the words: once a sentence.

The layers of :mod:`hero_mm.models.layers`, over slots. Tensors go in and come
out: the regions may be those of any detector or recogniser.

Shape legend: Q queries, T frames, N slots a frame, S sizes, L words, D width.
"""

from typing import Optional

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from hero_mm.registry import MODELS

from ..layers import Context, StepPosition, reasoning_layers


@MODELS.register_module()
class HierarchicalReasoningNeck(BaseModule):
    """Reason over slots and words; docs/configs.md lists the options."""

    def __init__(
        self,
        embed_dims: int,
        num_heads: int = 4,
        num_layers: int = 2,
        num_sizes: int = 3,
        temporal_window: int = 8,
        shift: bool = True,
        words: bool = True,
        attention: str = 'hierarchical',
        temporal_layer: Optional[dict] = None,
        init_cfg: Optional[dict] = None,
    ) -> None:
        super().__init__(init_cfg)
        self.words = words
        self.to_frame = nn.Linear(embed_dims, embed_dims)
        self.time_position = StepPosition(embed_dims)
        self.fit_in = nn.Linear(2, embed_dims, bias=False)
        self.layers = reasoning_layers(
            embed_dims,
            num_layers,
            num_heads,
            num_sizes if words else 0,
            temporal_window,
            shift,
            attention,
            temporal_layer,
            # The regions went through one before: see RegionEncoder.
            first=1,
        )

    def forward(
        self,
        regions_QTND: Tensor,
        mask_QTN: Tensor,
        words_QLD: Tensor,
        word_mask_QL: Tensor,
        sentence_QD: Tensor,
        looks_QTNSD: Optional[Tensor] = None,
        times_QT: Optional[Tensor] = None,
        frame_mask_QT: Optional[Tensor] = None,
        fit_QTN2: Optional[Tensor] = None,
        gate_QT: Optional[Tensor] = None,
    ) -> tuple[Tensor, Tensor]:
        """Reason: gives regions and frame tokens (Q, T, D).

        Masks are True on what is real. Looks are what regions show at S sizes
        (by default the regions themselves), ``fit_QTN2`` says how well their
        looks and action fit, ``gate_QT`` are logits of action consistency.
        """
        if times_QT is None:
            steps = torch.arange(mask_QTN.shape[1], device=mask_QTN.device)
            times_QT = steps.expand(mask_QTN.shape[:2])
        if frame_mask_QT is None:
            frame_mask_QT = mask_QTN.any(-1)
        if looks_QTNSD is None:
            looks_QTNSD = regions_QTND[..., None, :]
        x = regions_QTND
        if fit_QTN2 is not None:
            x = x + self.fit_in(fit_QTN2)
        frames = self.to_frame(sentence_QD)[:, None]
        frames = frames + self.time_position(times_QT)
        context = Context(
            mask_QTN,
            times_QT,
            frame_mask_QT,
            looks_QTNSD,
            words_QLD if self.words else None,
            word_mask_QL if self.words else None,
            gate_QT,
        )
        for layer in self.layers:
            x, frames = layer(x, frames, context)
        return x, frames
