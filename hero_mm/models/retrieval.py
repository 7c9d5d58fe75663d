"""Retrieval: frames for the reasoning, or for the whole encoder.

Frames of low action consistency can be left out of the reasoning, in training
as at test time; the others keep their places in time. Or a scout looks at all
frames after the first layers, and those that it finds consistent go on.

Shape legend: B clips, Q sentences, T frames, K kept frames, D width.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Optional

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from hero_mm.errors import UserError
from hero_mm.registry import MODELS

from .features import Pyramid
from .regions import take_frames

DEPTHS = ('weigh', 'reason', 'scout')
# What is added to the consistency in training, in its standard deviations.
NOISE = 0.5


class Glance(NamedTuple):
    """What a scout saw: a pyramid of the first layers, and what it chose."""

    pyramid: Pyramid
    # Frames for the whole encoder, by number, and which of these are meant.
    kept_BK: Tensor
    meant_BK: Tensor
    # So many neighbours are encoded as a clip.
    run: int


def encode_runs(
    encoder: nn.Module, inputs: dict[str, Any], glance: Glance
) -> Pyramid:
    """Encode the chosen frames; the others stay as the scout saw them."""
    _, kept, meant, run = glance
    number = kept.shape[1] // run
    mask = take_frames(inputs['frame_mask'], kept) & meant
    imgs = take_frames(inputs['imgs'], kept)
    runs: Pyramid = encoder(
        imgs.unflatten(1, (number, run)).flatten(0, 1),
        mask.unflatten(1, (number, run)).flatten(0, 1),
        inputs['pixel_mask'].repeat_interleave(number, 0),
    )
    frames = inputs['frame_mask'].shape[1]
    # What is not meant is written behind the last frame.
    places = kept.masked_fill(~meant, frames)[:, :, None, None, None]

    def written(old: Tensor, new: Tensor) -> Tensor:
        new = new.unflatten(0, (-1, number)).flatten(1, 2).to(old)
        room = F.pad(old.movedim(2, -1), (0, 0, 0, 0, 0, 0, 0, 1))
        new = new.movedim(2, -1)
        room = room.scatter(1, places.expand_as(new), new)
        return room[:, :frames].movedim(-1, 2)

    levels = map(written, glance.pyramid.levels, runs.levels)
    return replace(glance.pyramid, levels=tuple(levels))


@MODELS.register_module()
class FrameRetrieval(BaseModule):
    """Choose frames by consistency; docs/configs.md lists the options."""

    def __init__(
        self,
        depth: str = 'weigh',
        keep_ratio: float = 0.5,
        train_ratios: Sequence[float] = (0.25, 0.5, 0.75),
        train_prob: float = 0.5,
        run: int = 2,
    ) -> None:
        super().__init__()
        if depth not in DEPTHS:
            raise UserError(f'depth must be one of {DEPTHS}, got {depth!r}')
        for ratio in (keep_ratio, *train_ratios):
            if not 0 < ratio <= 1:
                raise UserError(
                    'keep_ratio and train_ratios are shares of the frames, '
                    f'in (0, 1]; got {ratio}'
                )
        if run < 1:
            raise UserError(
                f'run is a number of frames, at least 1; got {run}'
            )
        self.depth = depth
        self.run = run
        self.keep_ratio = keep_ratio
        self.train_ratios = tuple(train_ratios)
        self.train_prob = train_prob

    def share(self, depth: str) -> float:
        """Share of the frames that goes on at a depth; drawn in training."""
        if depth != self.depth:
            return 1.0
        if not self.training:
            return self.keep_ratio
        draw, which = torch.rand(2).tolist()
        if draw >= self.train_prob or not self.train_ratios:
            return 1.0
        return self.train_ratios[int(which * len(self.train_ratios))]

    @torch.no_grad()
    def forward(
        self, consistency_QT: Tensor, mask_QT: Tensor
    ) -> Optional[tuple[Tensor, Tensor]]:
        """Numbers of the best real frames, and which are meant, (Q, K).

        By logits of consistency; None where all go on.
        """
        ratio = self.share('reason')
        if ratio >= 1:
            return None
        score = self._noisy(consistency_QT.float(), mask_QT)
        return best_frames(score, mask_QT, ratio)

    @torch.no_grad()
    def choose_runs(
        self,
        logits_QT: Tensor,
        mask_BT: Tensor,
        clip_of_query: Tensor,
        ratio: float,
    ) -> tuple[Tensor, Tensor]:
        """Choose runs of frames of each clip for all of its sentences.

        A frame is as good as the sentence that it fits best says, a run as its
        best frame. As :meth:`forward`, (B, K).
        """
        score, real = logits_QT.float(), mask_BT[clip_of_query]
        mean, spread = _mean_spread(score, real)
        score = self._noisy((score - mean) / spread.clamp(min=1e-3), real)
        index = clip_of_query[:, None].expand_as(score)
        low = score.new_full(mask_BT.shape, -1e4)
        best = low.scatter_reduce(0, index, score, 'amax')
        frames, run = mask_BT.shape[1], self.run
        grow = (0, -frames % run)
        best = F.pad(best.masked_fill(~mask_BT, -1e4), grow, value=-1e4)
        mask = F.pad(mask_BT, grow).unflatten(1, (-1, run))
        kept, meant = best_frames(
            best.unflatten(1, (-1, run)).amax(-1), mask.any(-1), ratio
        )
        steps = torch.arange(run, device=kept.device)
        kept = (kept[..., None] * run + steps).flatten(1)
        meant = meant.repeat_interleave(run, 1) & (kept < frames)
        return kept.clamp(max=frames - 1), meant

    def _noisy(self, score: Tensor, real: Tensor) -> Tensor:
        if not self.training:
            return score
        _, spread = _mean_spread(score, real)
        return score + NOISE * spread * torch.randn_like(score)


def _mean_spread(score_QT: Tensor, real_QT: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation over the real frames, each (Q, 1)."""
    count = real_QT.sum(1, keepdim=True).clamp(min=1)
    mean = (score_QT * real_QT).sum(1, keepdim=True) / count
    apart = (score_QT - mean).square() * real_QT
    return mean, (apart.sum(1, keepdim=True) / count).sqrt()


def best_frames(
    score_QT: Tensor, mask_QT: Tensor, ratio: float
) -> tuple[Tensor, Tensor]:
    """A share, rounded up, of the real frames: the best, in order of time."""
    frames = score_QT.shape[1]
    # A clip keeps the share of its own frames, whatever stands beside it.
    wanted = (mask_QT.sum(1) * ratio - 1e-4).ceil().clamp(min=1)
    score = score_QT.masked_fill(~mask_QT, float('-inf'))
    rank = score.argsort(dim=1, descending=True, stable=True).argsort(1)
    chosen = (rank < wanted[:, None]) & mask_QT
    steps = torch.arange(frames, device=score.device)
    number = min(frames, int(-(-frames * ratio // 1)) or 1)
    kept = steps.expand(chosen.shape).masked_fill(~chosen, frames)
    kept = kept.sort(1).values[:, :number]
    real = kept < frames
    return kept.clamp(max=frames - 1), real
