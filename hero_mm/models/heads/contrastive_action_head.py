"""Contrastive action correspondence: which frames show what a sentence says.

The abstract of HERO says that weakly supervised contrastive learning splits
the frames into *action-consistent* and *action-independent* ones by the
semantic correspondence of video and caption, before the grounding. It gives no
formula. We choose: looks and action are compared in the same slot, a frame is
as consistent as its best slot (a smooth maximum), the score of a video is the
mean of its best frames, and InfoNCE over the pairs of the batch learns it,
with captions in which only the action phrase is replaced as hard negatives.
No pair that may be true is a negative. No interval is looked at, and nothing
that follows sends a gradient here.

Shape legend: B clips, Q sentences, V captions, X hard negatives a sentence, T
frames, N slots, D width, E width of the common space.
"""

from collections.abc import Sequence
from typing import Optional

import torch
import torch.nn.functional as F
from mmengine.dist import all_gather, get_rank, get_world_size
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
    """Late fusion: how well a slot fits a sentence before the two have met.

    Looks and action of a region and of a sentence are unit vectors, whose
    products say where and when the sentence may be true. That is learned long
    before attention binds words to regions.
    """

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
        """Looks (B, N, E) of slots and actions (B, T, N, E) of their regions.

        What an object looks like stays the same: its looks are the mean along
        its slot. What it does changes from frame to frame.
        """
        look, action = self.region(self.norm(regions.features)).chunk(2, -1)
        look = (look * regions.mask_BTN[..., None]).sum(1)
        return F.normalize(look, dim=-1), F.normalize(action, dim=-1)

    def texts(self, text: TextFeatures) -> tuple[Tensor, Tensor]:
        """Looks and action of sentences, (Q, E)."""
        look = F.normalize(self.text_look(text.sentence_QD), dim=-1)
        action = F.normalize(self.text_action(text.action_QD), dim=-1)
        return look, action

    def forward(
        self, regions: Regions, text: TextFeatures, clip_of_query: Tensor
    ) -> Tensor:
        """Cosines of looks and of action, has shape (Q, T, N, 2)."""
        return self.cosines(self.slots(regions), text, clip_of_query)

    def cosines(
        self,
        slots: tuple[Tensor, Tensor],
        text: TextFeatures,
        clip_of_query: Tensor,
    ) -> Tensor:
        """As :meth:`forward`, of what :meth:`slots` says."""
        look_BNE, action_BTNE = slots
        look_QE, act_QE = self.texts(text)
        look = torch.einsum(
            'qne,qe->qn', look_BNE.index_select(0, clip_of_query), look_QE
        )
        action = torch.einsum(
            'qtne,qe->qtn', action_BTNE.index_select(0, clip_of_query), act_QE
        )
        return torch.stack([look[:, None].expand_as(action), action], -1)


@MODELS.register_module()
class ContrastiveActionHead(BaseModule):
    """Score frames by their correspondence with a sentence.

    docs/configs.md lists its options.
    """

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
        """Logits of action consistency of the frames of each sentence's clip.

        Their sigmoid is the degree in [0, 1]; they carry no gradient. (Q, T).
        """
        fit = self.fit(regions, text, clip_of_query).sum(-1)
        scores = self._frame_scores(fit, regions.mask_BTN[clip_of_query])
        frames = regions.frame_mask_BT[clip_of_query]
        return self.fit.scale() * (scores - self._border(scores, frames))

    def _border(self, scores_QT: Tensor, mask_QT: Tensor) -> Tensor:
        """What parts consistent frames from the others, (Q, 1)."""
        if self.offset is not None:
            return self.offset
        best = self._top_mean(scores_QT, mask_QT)
        mean = (scores_QT * mask_QT).sum(-1) / mask_QT.sum(-1).clamp(min=1)
        return ((best + mean) / 2)[:, None]

    def _frame_scores(self, fit: Tensor, mask: Tensor) -> Tensor:
        """Smooth maximum over slots: (..., T, N) to (..., T)."""
        scaled = fit.float() / self.temperature
        scaled = scaled.masked_fill(~mask, -1e4)
        scores = self.temperature * scaled.logsumexp(-1)
        # A frame without regions shows nothing.
        return scores.clamp(min=-2.0)

    def _top_mean(self, scores: Tensor, frame_mask: Tensor) -> Tensor:
        """Mean over the best frames: (..., T) to (...)."""
        scores = scores.masked_fill(~frame_mask, -1e4)
        number = (frame_mask.sum(-1) * TOP_RATIO).ceil().clamp(min=1)
        ordered = scores.sort(-1, descending=True).values
        steps = torch.arange(scores.shape[-1], device=scores.device)
        chosen = (steps < number[..., None]).to(scores.dtype)
        return (ordered * chosen).sum(-1) / number

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

        As :meth:`forward`, with ``samples`` for what may be true in them,
        captions with another action, and the sentence that each was made from.
        """
        look_BNE, action_BTNE = slots = self.fit.slots(regions)
        look_VE, act_VE = self.fit.texts(text)
        owner, mine = clip_of_query, slice(0, len(look_VE))
        numbers = send(action_numbers(samples), clip_of_query.device)
        if get_world_size() > 1:
            (look_VE, act_VE, owner, numbers), mine = _gather_captions(
                look_VE, act_VE, clip_of_query, numbers, len(samples)
            )
        look = torch.einsum('bne,ve->bvn', look_BNE, look_VE)
        action = torch.einsum('btne,ve->bvtn', action_BTNE, act_VE)
        pairs_BV = self._top_mean(
            self._frame_scores(
                action + look[:, :, None], regions.mask_BTN[:, None]
            ),
            regions.frame_mask_BT[:, None],
        )
        clip = clip_of_query[query_of_negative]
        hard = self._top_mean(
            self._frame_scores(
                self.fit.cosines(slots, negatives, clip).sum(-1),
                regions.mask_BTN[clip],
            ),
            regions.frame_mask_BT[clip],
        )
        scale = self.fit.scale()
        return dict(
            loss_action_contrast=self.loss_contrast(
                scale * pairs_BV.t(),
                owner,
                true_in_clip(numbers, samples),
                in_rows(scale * hard, query_of_negative, len(clip_of_query)),
                mine,
            )
        )

    def span_loss(
        self,
        regions: Regions,
        text: TextFeatures,
        clip_of_query: Tensor,
        shows_QTN: Tensor,
        asked_QTN: Tensor,
    ) -> dict[str, Tensor]:
        """Loss of true tubes, for ``supervision='span'``; else nothing.

        As :meth:`loss`; ``shows_QTN`` is True where a slot shows the tube,
        ``asked_QTN`` where that is known.
        """
        if self.offset is None:
            return {}
        fit = self.fit(regions, text, clip_of_query).sum(-1)
        logits = self.fit.scale() * (fit - self.offset)
        number = (shows_QTN & asked_QTN).any(-1).sum().clamp(min=1)
        return dict(
            loss_action_span=self.loss_span(
                logits, shows_QTN, asked_QTN.to(logits), avg_factor=number
            )
        )


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
    """Captions of all processes; those of the others carry no gradient.

    Returns looks, actions, owners (clips of this process count from 0) and
    numbers of the actions, and the captions of this process among them.
    """
    counts = torch.tensor([len(look_QE), num_clips], device=look_QE.device)
    sizes = torch.stack(all_gather(counts)).tolist()
    rank = get_rank()
    before = [sum(size[1] for size in sizes[:at]) for at in range(len(sizes))]
    grow = max(size[0] for size in sizes) - len(look_QE)
    gathered = []
    for value in (look_QE, action_QE, clip_of_query, number_Q):
        padded = F.pad(
            value, (0, 0, 0, grow) if value.dim() == 2 else (0, grow)
        )
        parts = all_gather(padded.detach())
        parts[rank] = padded
        gathered.append([part[:n] for part, (n, _) in zip(parts, sizes)])
    gathered[2] = [
        part + at - before[rank] for part, at in zip(gathered[2], before)
    ]
    first = sum(n for n, _ in sizes[:rank])
    mine = slice(first, first + sizes[rank][0])
    return [torch.cat(parts) for parts in gathered], mine
