"""Contrastive action correspondence: which frames show what a sentence says.

Weakly supervised contrastive learning splits the frames into
*action-consistent* and *action-independent* ones, before the grounding. We
choose: looks and action are compared in the same slot, a frame is as
consistent as its best slot, a video as its best frames. InfoNCE over the pairs
of the batch learns it; no pair that may be true is a negative. No interval is
looked at, and nothing that follows sends a gradient here.

Shape legend: B clips, Q sentences, V captions, X hard negatives a sentence, T
frames, N slots, D width, E width of the common space.
"""

from collections.abc import Sequence
from typing import Optional

import torch
import torch.nn.functional as F
from mmengine.dist import all_gather_object, get_rank, get_world_size
from mmengine.model import BaseModule
from torch import Tensor, nn

from hero_mm.errors import UserError
from hero_mm.registry import MODELS
from hero_mm.structures import GroundingDataSample, send
from hero_mm.structures.actions import action_numbers, true_in_clip

from ..features import TextFeatures
from ..regions import Regions

Samples = Sequence[GroundingDataSample]
# Share of the frames whose mean is the score of a video.
TOP_RATIO = 0.25


class SlotTextFit(nn.Module):
    """Late fusion: how well a slot fits a sentence before the two have met."""

    def __init__(self, embed_dims: int, common_dims: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(embed_dims)
        self.region = nn.Linear(embed_dims, 2 * common_dims)
        self.text_look = nn.Linear(embed_dims, common_dims)
        self.text_action = nn.Linear(embed_dims, common_dims)
        self.log_scale = nn.Parameter(torch.tensor([10.0]).log())

    def scale(self) -> Tensor:
        """Inverse temperature; up to 50, where it stays finite."""
        return self.log_scale.exp().clamp(max=50)

    def slots(self, regions: Regions) -> tuple[Tensor, Tensor]:
        """Looks (B, N, E) and actions (B, T, N, E) of slots."""
        both = self.region(self.norm(regions.features_BTND))
        look, action = both.chunk(2, -1)
        # What an object looks like stays the same along its slot.
        look = (look * regions.mask_BTN[..., None]).sum(1)
        return F.normalize(look, dim=-1), F.normalize(action, dim=-1)

    def texts(self, text: TextFeatures) -> tuple[Tensor, Tensor]:
        """Looks and action of sentences, (Q, E)."""
        look = F.normalize(self.text_look(text.sentence_QD), dim=-1)
        action = F.normalize(self.text_action(text.action_QD), dim=-1)
        return look, action

    def forward(
        self,
        slots: tuple[Tensor, Tensor],
        text: TextFeatures,
        clip_of_query: Tensor,
    ) -> Tensor:
        """Cosines of looks and of action of :meth:`slots`, (Q, T, N, 2)."""
        looks, actions = (one.index_select(0, clip_of_query) for one in slots)
        look_QE, action_QE = self.texts(text)
        look = torch.einsum('qne,qe->qn', looks, look_QE)
        action = torch.einsum('qtne,qe->qtn', actions, action_QE)
        return torch.stack([look[:, None].expand_as(action), action], -1)


@MODELS.register_module()
class ContrastiveActionHead(BaseModule):
    """Score frames by a sentence; docs/configs.md lists the options."""

    def __init__(
        self,
        embed_dims: int,
        common_dims: int = 64,
        supervision: str = 'video',
        temperature: float = 0.1,
        loss_contrast: Optional[dict] = None,
        loss_span: Optional[dict] = None,
        init_cfg: Optional[dict] = None,
    ) -> None:
        super().__init__(init_cfg)
        if supervision not in ('video', 'span'):
            raise UserError(
                f"supervision must be 'video' or 'span', got {supervision!r}"
            )
        self.fit = SlotTextFit(embed_dims, common_dims)
        self.offset: Optional[nn.Parameter] = None
        if supervision == 'span':
            self.offset = nn.Parameter(torch.tensor([1.0]))
        self.temperature = temperature
        self.loss_contrast = MODELS.build(
            loss_contrast or dict(type='ContrastiveLoss')
        )
        self.loss_span = MODELS.build(
            loss_span or dict(type='SigmoidFocalLoss', loss_weight=5.0)
        )

    @torch.no_grad()
    def forward(
        self, regions: Regions, text: TextFeatures, clip_of_query: Tensor
    ) -> Tensor:
        """Logits of action consistency, (Q, T), without a gradient."""
        fit = self.fit(self.fit.slots(regions), text, clip_of_query).sum(-1)
        # Autocast keeps weights that it has cast, here and, with a scout, in
        # all parts before, without gradients.
        torch.clear_autocast_cache()
        scores = self._frame_scores(fit, regions.mask_BTN[clip_of_query])
        if self.offset is not None:
            return self.fit.scale() * (scores - self.offset)
        # The border lies between the best frames and the mean of the clip.
        real = regions.frame_mask_BT[clip_of_query]
        mean = (scores * real).sum(-1) / real.sum(-1).clamp(min=1)
        border = (_top_mean(scores, real) + mean) / 2
        return self.fit.scale() * (scores - border[:, None])

    def _frame_scores(self, fit: Tensor, mask: Tensor) -> Tensor:
        """Smooth maximum over slots: (..., T, N) to (..., T)."""
        scaled = fit.float() / self.temperature
        scaled = scaled.masked_fill(~mask, -1e4)
        scores = self.temperature * scaled.logsumexp(-1)
        # A frame without regions shows nothing.
        return scores.clamp(min=-2.0)

    def loss(
        self,
        regions: Regions,
        text: TextFeatures,
        clip_of_query: Tensor,
        samples: Samples,
        negatives: TextFeatures,
        query_of_negative: Tensor,
    ) -> dict[str, Tensor]:
        """Contrast pairs of videos and captions; no interval is used.

        Samples say what may be true; negatives are of another action.
        """
        look_BNE, action_BTNE = slots = self.fit.slots(regions)
        numbers = send(action_numbers(samples), clip_of_query.device)
        (look_VE, act_VE, owner, numbers), mine = _gather_captions(
            *self.fit.texts(text), clip_of_query, numbers, len(samples)
        )
        look = torch.einsum('bne,ve->bvn', look_BNE, look_VE)
        action = torch.einsum('btne,ve->bvtn', action_BTNE, act_VE)
        fit = action + look[:, :, None]
        scores = self._frame_scores(fit, regions.mask_BTN[:, None])
        pairs_BV = _top_mean(scores, regions.frame_mask_BT[:, None])
        clip = clip_of_query[query_of_negative]
        fit = self.fit(slots, negatives, clip).sum(-1)
        scores = self._frame_scores(fit, regions.mask_BTN[clip])
        hard = _top_mean(scores, regions.frame_mask_BT[clip])
        scale = self.fit.scale()
        loss = self.loss_contrast(
            scale * pairs_BV.t(),
            owner,
            true_in_clip(numbers, samples),
            in_rows(scale * hard, query_of_negative, len(clip_of_query)),
            mine,
        )
        return dict(loss_action_contrast=loss)

    def span_loss(
        self,
        regions: Regions,
        text: TextFeatures,
        clip_of_query: Tensor,
        shows_QTN: Tensor,
        asked_QTN: Tensor,
    ) -> dict[str, Tensor]:
        """Loss of true tubes, for ``supervision='span'``; else nothing.

        Of slots that show a tube, and where that is known, bool.
        """
        if self.offset is None:
            return {}
        fit = self.fit(self.fit.slots(regions), text, clip_of_query).sum(-1)
        logits = self.fit.scale() * (fit - self.offset)
        number = (shows_QTN & asked_QTN).any(-1).sum().clamp(min=1)
        loss = self.loss_span(
            logits, shows_QTN, asked_QTN.to(logits), avg_factor=number
        )
        return dict(loss_action_span=loss)


def _top_mean(scores: Tensor, frame_mask: Tensor) -> Tensor:
    """Mean over the best frames: (..., T) to (...)."""
    scores = scores.masked_fill(~frame_mask, -1e4)
    number = (frame_mask.sum(-1) * TOP_RATIO).ceil().clamp(min=1)
    ordered = scores.sort(-1, descending=True).values
    steps = torch.arange(scores.shape[-1], device=scores.device)
    chosen = (steps < number[..., None]).to(scores.dtype)
    return (ordered * chosen).sum(-1) / number


def in_rows(value_V: Tensor, row_V: Tensor, num_rows: int) -> Tensor:
    """Values (V,) in their rows, -1e4 elsewhere; has shape (rows, V)."""
    rows = torch.arange(num_rows, device=row_V.device)[:, None]
    return torch.where(row_V == rows, value_V, -1e4)


def _gather_captions(
    look_QE: Tensor,
    action_QE: Tensor,
    clip_of_query: Tensor,
    number_Q: Tensor,
    num_clips: int,
) -> tuple[list[Tensor], slice]:
    """Captions of all processes, and which are those of this one."""
    own = [look_QE, action_QE, clip_of_query, number_Q]
    if get_world_size() == 1:
        return own, slice(0, len(look_QE))
    sent = [value.detach().cpu() for value in own], num_clips
    values, counts = zip(*all_gather_object(sent))
    rank, device = get_rank(), look_QE.device
    parts = [[one.to(device) for one in value] for value in values]
    parts[rank] = own
    for place, part in enumerate(parts):
        part[2] = part[2] + sum(counts[:place]) - sum(counts[:rank])
    first = sum(len(part[0]) for part in parts[:rank])
    gathered = [torch.cat(value) for value in zip(*parts)]
    return gathered, slice(first, first + len(look_QE))
