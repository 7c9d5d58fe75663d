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
frames, N slots, E width of the common space.
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
from .slot_text_fit import SlotTextFit

SUPERVISIONS = ('video', 'span')
Samples = Sequence[GroundingDataSample]


@MODELS.register_module()
class ContrastiveActionHead(BaseModule):
    """Score frames by their correspondence with a sentence.

    Args:
        embed_dims (int): Width of the features of regions and text.
        common_dims (int): Width E of the common space.
        supervision (str): 'video': the pairs of videos and captions alone.
            'span': also the true tubes, for those who have them.
        top_ratio (float): Share of the frames whose mean is the score of a
            video.
        temperature (float): Of the smooth maximum over slots, in units of
            the cosine: of 64 slots that fit alike the best counts 0.4 more
            than one alone.
        scale (float): Start of a learned scale of the similarities.
        loss_contrast (dict): Config of the loss over pairs.
        loss_span (dict): Config of the loss with ``supervision='span'``.
        init_cfg (dict, optional): Initialization config.
    """

    def __init__(
        self,
        embed_dims: int,
        common_dims: int = 64,
        supervision: str = 'video',
        top_ratio: float = 0.25,
        temperature: float = 0.1,
        scale: float = 10.0,
        loss_contrast: Optional[dict] = None,
        loss_span: Optional[dict] = None,
        init_cfg: Optional[dict] = None,
    ) -> None:
        super().__init__(init_cfg)
        if supervision not in SUPERVISIONS:
            raise UserError(
                f'supervision must be one of {SUPERVISIONS}; got '
                f'{supervision!r}'
            )
        self.fit = SlotTextFit(embed_dims, common_dims, scale)
        self.offset: Optional[nn.Parameter] = None
        if supervision == 'span':
            self.offset = nn.Parameter(torch.tensor([1.0]))
        self.supervision = supervision
        self.top_ratio = top_ratio
        self.temperature = temperature
        self.loss_contrast = MODELS.build(
            loss_contrast or dict(type='ContrastiveLoss')
        )
        self.loss_span = MODELS.build(
            loss_span or dict(type='SigmoidFocalLoss', loss_weight=5.0)
        )

    def forward(
        self, regions: Regions, text: TextFeatures, clip_of_query: Tensor
    ) -> Tensor:
        """Score the frames of each sentence's clip.

        Returns:
            Tensor: Logits of action consistency, has shape (Q, T); their
            sigmoid is the degree in [0, 1]. They carry no gradient.
        """
        with torch.no_grad():
            fit = self.fit(regions, text, clip_of_query).sum(-1)
            mask = regions.mask_BTN[clip_of_query]
            scores = self._frame_scores(fit, mask)
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
        number = (frame_mask.sum(-1) * self.top_ratio).ceil().clamp(min=1)
        ordered = scores.sort(-1, descending=True).values
        steps = torch.arange(scores.shape[-1], device=scores.device)
        chosen = (steps < number[..., None]).to(scores.dtype)
        return (ordered * chosen).sum(-1) / number

    def _video_scores(
        self, fit: Tensor, mask: Tensor, frame_mask: Tensor
    ) -> Tensor:
        """Mean of the best frames: (..., T, N) to (...)."""
        return self._top_mean(self._frame_scores(fit, mask), frame_mask)

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
        fit = torch.einsum('btne,ve->bvtn', action_BTNE, act_VE)
        pairs = self._video_scores(
            fit + look[:, :, None],
            regions.mask_BTN[:, None],
            regions.frame_mask_BT[:, None],
        )
        clip = clip_of_query[query_of_negative]
        hard = self._video_scores(
            self.fit.cosines(slots, negatives, clip).sum(-1),
            regions.mask_BTN[clip],
            regions.frame_mask_BT[clip],
        )
        scale = self.fit.scale()
        return dict(
            loss_action_contrast=self.loss_contrast(
                scale * pairs.t(),
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
