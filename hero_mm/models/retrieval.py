"""Retrieval: which frames go on, to the encoder or to the reasoning.

Frames of low action consistency can be left out, in training as at test time;
the others keep their places in time. Before the backbone, a scout glances at
small pictures. It learns what the action head says of the same frames, or
which frames the true tubes fill.

Shape legend: B clips, Q sentences, T frames, K kept frames, P cells of all
levels, D width, E width of the common space.
"""

from collections.abc import Sequence
from typing import Any, Optional

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from hero_mm.errors import UserError
from hero_mm.registry import MODELS
from hero_mm.structures import GroundingDataSample

from .features import Pyramid, TextFeatures
from .regions import take_frames
from .targets import Tubes

DEPTHS = ('weigh', 'reason', 'scout')
# What is added to the consistency in training, in its standard deviations.
NOISE = 0.5
# The scout sees frames of this part of the width and height,
SHRINK = 2
# compares in a space of so many dimensions,
SCOUT_DIMS = 32
# and takes a smooth maximum over cells: inverse temperature, of cosines.
SCOUT_SCALE = 10.0


def encode_runs(
    encoder: nn.Module,
    imgs: Tensor,
    frame_mask: Tensor,
    pixel_mask: Tensor,
    times_BT: Tensor,
    run: int,
) -> Pyramid:
    """Encode kept frames; each ``run`` of neighbours is a clip."""
    number = imgs.shape[1] // run
    runs: Pyramid = encoder(
        imgs.unflatten(1, (number, -1)).flatten(0, 1),
        frame_mask.unflatten(1, (number, -1)).flatten(0, 1),
        pixel_mask.repeat_interleave(number, 0),
    )

    def joined(level: Tensor) -> Tensor:
        return level.unflatten(0, (-1, number)).flatten(1, 2)

    picture = runs.picture_BT3HW
    return Pyramid(
        tuple(joined(level) for level in runs.levels),
        runs.strides,
        frame_mask,
        runs.sizes_B2[::number],
        times_BT,
        None if picture is None else joined(picture),
    )


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
        scout: Optional[dict] = None,
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
        if depth == 'scout' and scout is None:
            raise UserError("depth='scout' needs a scout, a FrameScout")
        self.depth = depth
        self.run = run
        self.scout = MODELS.build(scout) if depth == 'scout' else None
        self.keep_ratio = keep_ratio
        self.train_ratios = tuple(train_ratios)
        self.train_prob = train_prob

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
        """Numbers of the best real frames, and which are meant, (Q, K).

        By logits of consistency; None where all go on.
        """
        ratio = self._ratio() if self.depth == 'reason' else 1.0
        if ratio >= 1:
            return None
        return best_frames(self._noisy(consistency_QT), mask_QT, ratio)

    def scouted(
        self,
        inputs: dict[str, Any],
        samples: Sequence[GroundingDataSample],
        text: TextFeatures,
        clip_of_query: Tensor,
    ) -> tuple[dict[str, Any], Sequence[GroundingDataSample], Tensor]:
        """See :meth:`HERO.scout`; inputs that are fewer say their places."""
        assert self.scout is not None
        logits = self.scout(inputs, text, clip_of_query)
        chosen = self.choose_runs(logits, inputs['frame_mask'], clip_of_query)
        if chosen is None:
            return inputs, samples, logits
        kept, meant = chosen
        mask = take_frames(inputs['frame_mask'], kept) & meant
        inputs = dict(
            imgs=take_frames(inputs['imgs'], kept),
            frame_mask=mask,
            pixel_mask=inputs['pixel_mask'],
            times_BT=kept,
            run=self.run,
        )
        samples = [
            sample.take_frames(places[real].cpu())
            for sample, places, real in zip(samples, kept, mask)
        ]
        return inputs, samples, logits

    @torch.no_grad()
    def choose_runs(
        self, logits_QT: Tensor, mask_BT: Tensor, clip_of_query: Tensor
    ) -> Optional[tuple[Tensor, Tensor]]:
        """Choose runs of frames of each clip for all of its sentences.

        A frame is as good as the sentence that it fits best says, a run as its
        best frame. As :meth:`forward`, (B, K).
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
        if self.training:
            spread = score.std(1, correction=0, keepdim=True)
            score = score + NOISE * spread * torch.randn_like(score)
        return score


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


@MODELS.register_module()
class FrameScout(BaseModule):
    """Score the frames of clips by a glance.

    A cell of its levels has looks and an action, as a region has; a frame is
    as good as its best cell. docs/configs.md lists the options.
    """

    def __init__(
        self,
        embed_dims: int,
        video_encoder: dict,
        supervision: str = 'head',
        init_cfg: Optional[dict] = None,
    ) -> None:
        super().__init__(init_cfg)
        if supervision not in ('head', 'span'):
            raise UserError(
                f"supervision must be 'head' or 'span', got {supervision!r}"
            )
        self.video_encoder = MODELS.build(video_encoder)
        self.supervision = supervision
        self.cell = nn.Linear(video_encoder['embed_dims'], 2 * SCOUT_DIMS)
        self.text_look = nn.Linear(embed_dims, SCOUT_DIMS)
        self.text_action = nn.Linear(embed_dims, SCOUT_DIMS)
        self.weight = nn.Parameter(torch.tensor([5.0]))
        self.bias = nn.Parameter(torch.tensor([0.0]))
        self.loss_scout = MODELS.build(
            dict(type='SigmoidFocalLoss', gamma=0.0)
        )

    def forward(
        self,
        inputs: dict[str, Tensor],
        text: TextFeatures,
        clip_of_query: Tensor,
    ) -> Tensor:
        """Logits of action consistency (Q, T); the sentences learn nothing."""
        imgs = inputs['imgs']
        small = F.avg_pool2d(imgs.flatten(0, 1), SHRINK, ceil_mode=True)
        pyramid: Pyramid = self.video_encoder(
            small.unflatten(0, imgs.shape[:2]),
            inputs['frame_mask'],
            inputs['pixel_mask'][:, ::SHRINK, ::SHRINK],
        )
        level = torch.cat([one.flatten(3) for one in pyramid.levels], -1)
        parts = self.cell(level.mT).chunk(2, -1)
        cells = torch.cat([F.normalize(one, dim=-1) for one in parts], -1)
        parts = [
            self.text_look(text.sentence_QD.detach()),
            self.text_action(text.action_QD.detach()),
        ]
        asked = torch.cat([F.normalize(one, dim=-1) for one in parts], -1)
        fit = torch.einsum('qtpe,qe->qtp', cells[clip_of_query], asked)
        numbers = range(len(pyramid.levels))
        masks = [pyramid.real_cells(n).flatten(1) for n in numbers]
        real = torch.cat(masks, 1)[clip_of_query][:, None]
        fit = (SCOUT_SCALE * fit.float()).masked_fill(~real, -1e4)
        return self.weight / SCOUT_SCALE * fit.logsumexp(-1) + self.bias

    def loss(
        self,
        logits_QT: Tensor,
        consistency_QT: Tensor,
        tubes: Tubes,
        mask_QT: Tensor,
    ) -> dict[str, Tensor]:
        """Learn what the action head, or true tubes, say of these frames."""
        wanted = consistency_QT.sigmoid()
        if self.supervision == 'span':
            wanted = tubes.valid_QT.to(logits_QT)
            mask_QT = mask_QT & tubes.known_Q[:, None]
        number = mask_QT.sum().clamp(min=1)
        loss = self.loss_scout(
            logits_QT, wanted, mask_QT.to(logits_QT), avg_factor=number
        )
        return dict(loss_scout=loss)
