"""Retrieval: which frames go on to the reasoning of a sentence.

The abstract of HERO puts the contrastive action correspondence before the
grounding. We choose that frames of low consistency can be left out, in
training by the same rule as at test time, so that the reasoning has seen
clips with gaps. Kept frames keep their places in time.

Shape legend: Q queries, T frames, K kept frames.
"""

from collections.abc import Sequence
from typing import Optional

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor

from hero_mm.errors import UserError
from hero_mm.registry import MODELS

DEPTHS = ('weigh', 'reason', 'scout')


@MODELS.register_module()
class FrameRetrieval(BaseModule):
    """Choose the frames of highest consistency.

    Args:
        depth (str): 'weigh': all frames go on, and are weighed by their
            consistency. 'reason': the best ones alone go on to the reasoning.
            'scout': the best ones alone go on to the full-size encoder.
        keep_ratio (float): Share of the real frames that goes on at test
            time, rounded up. Defaults to 0.5.
        train_ratios (Sequence[float]): Shares that are drawn in training.
        train_prob (float): Share of the training steps in which frames are
            left out. Defaults to 0.5.
        noise (float): Standard deviation of what is added to the
            consistency in training, in its own standard deviations.
        run (int): With 'scout', frames that are kept or left out together;
            as many as a backbone that mixes frames should see at once.
            Defaults to 2.
        scout (dict, optional): Config of a :class:`FrameScout`, which is
            built with 'scout' alone.
        init_cfg (dict, optional): Initialization config.
    """

    def __init__(
        self,
        depth: str = 'weigh',
        keep_ratio: float = 0.5,
        train_ratios: Sequence[float] = (0.25, 0.5, 0.75),
        train_prob: float = 0.5,
        noise: float = 0.5,
        run: int = 2,
        scout: Optional[dict] = None,
        init_cfg: Optional[dict] = None,
    ) -> None:
        super().__init__(init_cfg)
        if depth not in DEPTHS:
            raise UserError(f'depth must be one of {DEPTHS}, got {depth!r}')
        for ratio in (keep_ratio, *train_ratios):
            if not 0 < ratio <= 1:
                raise UserError(
                    'keep_ratio and train_ratios are shares of the frames, '
                    f'in (0, 1]; got {ratio}'
                )
        if depth == 'scout' and scout is None:
            raise UserError("depth='scout' needs a scout, a FrameScout")
        self.depth = depth
        self.run = run
        self.scout = MODELS.build(scout) if depth == 'scout' else None
        self.keep_ratio = keep_ratio
        self.train_ratios = tuple(train_ratios)
        self.train_prob = train_prob
        self.noise = noise

    def _ratio(self) -> float:
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
        """Choose.

        Args:
            consistency_QT (Tensor): Logits of action consistency.
            mask_QT (Tensor): True on real frames.

        Returns:
            tuple[Tensor, Tensor] | None: Frame numbers, increasing, and which
            of them are meant, have shape (Q, K); None where all go on.
        """
        ratio = self._ratio() if self.depth == 'reason' else 1.0
        if ratio >= 1:
            return None
        return best_frames(self._noisy(consistency_QT), mask_QT, ratio)

    @torch.no_grad()
    def choose_runs(
        self, logits_QT: Tensor, mask_BT: Tensor, clip_of_query: Tensor
    ) -> Optional[tuple[Tensor, Tensor]]:
        """Choose frames of each clip for all of its sentences, in runs.

        From what the scout says: a frame is as good as the sentence that it
        fits best says, a run as its best frame. As :meth:`forward`, (B, K).
        """
        ratio = self._ratio()
        if ratio >= 1:
            return None
        score, real = logits_QT.float(), mask_BT[clip_of_query]
        count = real.sum(1, keepdim=True).clamp(min=1)
        score = score - (score * real).sum(1, keepdim=True) / count
        spread = (score.square() * real).sum(1, keepdim=True) / count
        score = self._noisy(score / spread.clamp(min=1e-6).sqrt())
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

    def _noisy(self, score: Tensor) -> Tensor:
        score = score.float()
        if self.training and self.noise:
            spread = score.std(1, correction=0, keepdim=True)
            score = score + self.noise * spread * torch.randn_like(score)
        return score


def best_frames(
    score_QT: Tensor, mask_QT: Tensor, ratio: float
) -> tuple[Tensor, Tensor]:
    """The frames of highest score, in order of time.

    Of a share of the real frames of each query, rounded up; as
    :meth:`FrameRetrieval.forward`.
    """
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
