"""Tube head: which slot a frame, and one time span a query.

The span is one distribution over first and last frame with offsets.

Shape legend: B clips, Q queries, T frames, N slots, D width. Boxes are xyxy
in pixels of the input.
"""

from collections.abc import Sequence
from typing import Any, Optional

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmengine.structures import InstanceData
from torch import Tensor, nn

from hero_mm.registry import MODELS, TASK_UTILS
from hero_mm.structures import GroundingDataSample, send
from hero_mm.structures.actions import (
    action_numbers,
    true_of_query,
    true_of_tracks,
)

from ..features import TextFeatures
from ..layers import StepPosition, start_silent
from ..regions import Regions
from ..targets import Tracks, Tubes
from .contrastive_action_head import SlotTextFit, in_rows
from .tube_decoding import (
    TubeOutput,
    bins_in_span,
    choose_span,
    read_answers,
    span_logits,
    to_bins,
)

Samples = Sequence[GroundingDataSample]
_LOSS_FOCAL = dict(type='SigmoidFocalLoss', loss_weight=5.0)
_LOSS_TUBE = dict(type='ContrastiveLoss')
_LOSS_LOCATION = dict(type='AnyPositiveLoss')
_LOSS_ACTIONNESS = dict(type='SigmoidFocalLoss', gamma=0.0, loss_weight=2.0)


@MODELS.register_module()
class TubeHead(BaseModule):
    """Decode reasoned slots; docs/configs.md lists the options."""

    def __init__(
        self,
        embed_dims: int,
        expected_iou: bool = False,
        mask_slots: bool = False,
        silent_start: bool = False,
        min_share: float = 0.0,
        assigner: Optional[dict] = None,
        loss_location: Optional[dict] = None,
        loss_match: Optional[dict] = None,
        loss_early: Optional[dict] = None,
        loss_elsewhere: Optional[dict] = _LOSS_FOCAL,
        loss_tube: Optional[dict] = _LOSS_TUBE,
        loss_span: Optional[dict] = None,
        loss_offset: Optional[dict] = None,
        loss_actionness: Optional[dict] = None,
        init_cfg: Optional[dict] = None,
    ) -> None:
        super().__init__(init_cfg)
        self.fit = SlotTextFit(embed_dims, embed_dims)
        # Of looks and action in the logit of late fusion, and its offset.
        self.fit_weight = nn.Parameter(torch.tensor([0.5, 0.3]))
        self.fit_bias = nn.Parameter(torch.tensor([-2.0]))
        self.norm = nn.LayerNorm(embed_dims)
        self.location = nn.Linear(embed_dims, 1)
        self.sentence = nn.Linear(embed_dims, embed_dims)
        if silent_start:
            start_silent(self.location)
            start_silent(self.sentence)
        self.span_in = nn.Linear(3 * embed_dims, embed_dims)
        # Consistency, best match, and frames left out before and after.
        self.clues_in = nn.Linear(4, embed_dims, bias=False)
        self.position = StepPosition(embed_dims)
        self.span_norm = nn.LayerNorm(embed_dims)
        self.span_weight = nn.Parameter(torch.tensor([0.3]))
        self.span_out = nn.Linear(embed_dims, 5)
        self.expected_iou = expected_iou
        self.mask_slots = mask_slots
        self.min_share = min_share
        self.assigner: Any = TASK_UTILS.build(
            assigner or dict(type='RegionAssigner')
        )
        build = MODELS.build
        self.loss_location = build(loss_location or _LOSS_LOCATION)
        self.loss_match = build(loss_match or _LOSS_FOCAL)
        self.loss_early = build(loss_early or _LOSS_FOCAL)
        self.loss_elsewhere = build(loss_elsewhere) if loss_elsewhere else None
        self.loss_tube = build(loss_tube) if loss_tube else None
        self.loss_span = build(loss_span or dict(type='SpanLoss'))
        self.loss_offset = build(loss_offset or dict(type='L1Loss'))
        self.loss_actionness = build(loss_actionness or _LOSS_ACTIONNESS)

    def compare(
        self, regions: Regions, text: TextFeatures, clip_of_query: Tensor
    ) -> Tensor:
        """Late fusion: logits of looks and of action, (Q, T, N, 2)."""
        fit = self.fit(self.fit.slots(regions), text, clip_of_query)
        return self.fit.scale() * self.fit_weight * fit

    def forward(
        self,
        slots_QTND: Tensor,
        frames_QTD: Tensor,
        regions: Regions,
        text: TextFeatures,
    ) -> TubeOutput:
        """Score slots and boundaries; the slots carry :meth:`compare`."""
        hidden = ~regions.mask_BTN
        slots = self.norm(slots_QTND)
        if self.mask_slots:
            slots = slots * regions.mask_BTN[..., None]
        sentence = self.sentence(text.sentence_QD)
        match = torch.einsum('qtnd,qd->qtn', slots, sentence)
        early = regions.fit_BTN2.sum(-1) + self.fit_bias
        location = self.location(slots).squeeze(-1) + early
        location = location + match / slots.shape[-1] ** 0.5
        location = location.masked_fill(hidden, -1e4)
        here = torch.einsum('qtn,qtnd->qtd', location.softmax(-1), slots)
        # Where it begins and ends is seen along one slot.
        slot = location.float().logsumexp(1).softmax(-1).to(slots)
        along = torch.einsum('qn,qtnd->qtd', slot, slots)
        best = location.amax(-1).clamp(min=-20)
        clues = self._clues(regions, best)
        tokens = self.span_in(torch.cat([here, along, frames_QTD], dim=-1))
        tokens = tokens + self.clues_in(clues.to(tokens))
        tokens = tokens + self.position(regions.times_BT)
        out = self.span_out(self.span_norm(tokens))
        padding = ~regions.frame_mask_BT
        return TubeOutput(
            location_QTN=location,
            boxes_QTN4=regions.boxes_BTN4,
            early_QTN=early.masked_fill(hidden, -1e4),
            start_QT=out[..., 0].masked_fill(padding, float('-inf')),
            end_QT=out[..., 1].masked_fill(padding, float('-inf')),
            offsets_QT2=out[..., 2:4].sigmoid(),
            actionness_QT=out[..., 4] + best,
            span_weight=self.span_weight,
        )

    def _clues(self, regions: Regions, best_QT: Tensor) -> Tensor:
        """What is known of a frame beside its token, (Q, T, 4)."""
        # Without an action head every frame counts as consistent.
        degree = torch.ones_like(best_QT)
        if regions.gate_BT is not None:
            degree = regions.gate_BT.sigmoid()
        times = regions.times_BT.to(best_QT)
        gap = (times[:, 1:] - times[:, :-1]).clamp(min=1).log()
        gap = gap * regions.frame_mask_BT[:, 1:]
        before, after = F.pad(gap, (1, 0)), F.pad(gap, (0, 1))
        return torch.stack([degree, best_QT / 10, before, after], -1)

    def assign(self, regions: Regions, tubes: Tubes) -> tuple[Tensor, Tensor]:
        """Which slots show the true tubes, and where that is known, bool."""
        boxes, valid = tubes.boxes_QT4[:, :, None], tubes.valid_QT[..., None]
        assigned = self.assigner(regions, boxes, valid)
        shows, near = (one[..., 0] for one in assigned)
        known = tubes.known_Q[:, None, None]
        return shows, regions.mask_BTN & ~(near & ~shows) & known

    def loss(
        self,
        output: TubeOutput,
        regions: Regions,
        tubes: Tubes,
        edges_QT1: Tensor,
    ) -> dict[str, Tensor]:
        """Losses of slots and spans, of Q queries and tubes of the frames."""
        shows, asked = self.assign(regions, tubes)
        number = tubes.valid_QT.sum().clamp(min=1)
        least = self.min_share * asked.any(-1).sum()
        focal = dict(
            weight=asked.to(output.early_QTN),
            avg_factor=torch.maximum(number, least),
        )
        mask_QT, spans = regions.frame_mask_BT, tubes.spans_Q2
        known = tubes.known_Q.to(edges_QT1)
        start, end = spans.unbind(1)
        start = to_bins(start, edges_QT1, is_end=False)
        end = to_bins(end, edges_QT1, is_end=True)
        places = torch.stack([start, end], -1)
        steps = torch.arange(mask_QT.shape[1], device=mask_QT.device)
        # The bins beside that of a boundary are nearly as likely: their
        # offsets lead to the end that is next to it.
        share = places[:, None] - steps[:, None]
        near = (share > -1) & (share < 2) & mask_QT[..., None]
        near = near * known[:, None, None]
        counted = mask_QT * known[:, None]
        return dict(
            loss_location=self.loss_location(
                output.location_QTN, shows, avg_factor=number
            ),
            loss_match=self.loss_match(output.location_QTN, shows, **focal),
            loss_early=self.loss_early(output.early_QTN, shows, **focal),
            loss_span=self.loss_span(
                span_logits(output),
                places,
                weight=known,
                avg_factor=known.sum().clamp(min=1),
            ),
            loss_offset=self.loss_offset(
                output.offsets_QT2,
                share.clamp(0, 1),
                near,
                avg_factor=near.sum().clamp(min=1) / 2,
            ),
            loss_actionness=self.loss_actionness(
                output.actionness_QT,
                bins_in_span(spans, edges_QT1),
                counted,
                avg_factor=counted.sum().clamp(min=1),
            ),
        )

    def tube_loss(
        self,
        regions: Regions,
        text: TextFeatures,
        clip_of_query: Tensor,
        shows_QTN: Tensor,
        samples: Samples,
        negatives: TextFeatures,
        query_of_negative: Tensor,
    ) -> dict[str, Tensor]:
        """InfoNCE over the actions of true tubes and captions of the batch."""
        if self.loss_tube is None:
            return {}
        actions = self.fit.slots(regions)[1].index_select(0, clip_of_query)
        shows = shows_QTN.to(actions)
        tube_QE = torch.einsum('qtn,qtne->qe', shows, actions)
        number = shows.sum((1, 2))
        tube_QE = F.normalize(tube_QE, dim=-1)
        numbers = send(action_numbers(samples), query_of_negative.device)
        scale = self.fit.scale()
        _, caption_QE = self.fit.texts(text)
        _, other_VE = self.fit.texts(negatives)
        hard_V = (tube_QE[query_of_negative] * other_VE).sum(-1)
        rows = torch.arange(len(tube_QE), device=tube_QE.device)
        loss = self.loss_tube(
            scale * caption_QE @ tube_QE.t(),
            rows,
            # What no slot shows is no rival.
            true_of_query(numbers, samples) | (number == 0),
            in_rows(scale * hard_V, query_of_negative, len(rows)),
            slice(0, len(rows)),
            weight=(number > 0).to(tube_QE),
        )
        return dict(loss_tube=loss)

    def elsewhere_loss(
        self,
        regions: Regions,
        text: TextFeatures,
        clip_of_query: Tensor,
        tracks: Tracks,
        tubes: Tubes,
        samples: Samples,
    ) -> dict[str, Tensor]:
        """What the other clips of the batch show is not what a query says.

        But for slots that it may be true of, or that nobody annotated.
        """
        if self.loss_elsewhere is None:
            return {}
        shows, near = self.assigner(
            regions, tracks.boxes_BTM4, tracks.valid_BTM
        )
        device = clip_of_query.device
        true = send(true_of_tracks(samples, near.shape[-1]), device).float()
        true = torch.einsum('btnm,qbm->qbtn', near.float(), true)
        known = shows.any(-1) | tracks.complete_B[:, None, None]
        clips = torch.arange(len(samples), device=device)
        other = (clip_of_query[:, None] != clips) & tubes.known_Q[:, None]
        asked = regions.mask_BTN & known & other[..., None, None]
        asked = asked & (true == 0)
        look_BNE, action_BTNE = self.fit.slots(regions)
        look_QE, action_QE = self.fit.texts(text)
        weight = self.fit.scale() * self.fit_weight
        look = torch.einsum('bne,qe->qbn', look_BNE, look_QE)
        action = torch.einsum('btne,qe->qbtn', action_BTNE, action_QE)
        early = weight[0] * look[:, :, None] + weight[1] * action
        early = early + self.fit_bias
        loss = self.loss_elsewhere(
            early,
            torch.zeros_like(early),
            asked.to(early),
            avg_factor=tubes.valid_QT.sum().clamp(min=1),
        )
        return dict(loss_elsewhere=loss)

    @torch.no_grad()
    def predict(
        self,
        output: TubeOutput,
        regions: Regions,
        edges_QT1: Tensor,
        samples: Samples,
        consistency_QT: Optional[Tensor],
    ) -> list[InstanceData]:
        """Tubes in original pixels and native frames, one result a clip."""
        spans, span_scores = choose_span(
            span_logits(output),
            # Off the very edges, so that no span is empty.
            output.offsets_QT2.float().clamp(1e-4, 1 - 1e-4),
            edges_QT1,
            self.expected_iou,
        )
        real = regions.frame_mask_BT
        # A span within one frame has no middle.
        inside = bins_in_span(spans, edges_QT1) & real
        inside = inside | (real & ~inside.any(1, keepdim=True))
        # Late fusion alone is not relative to the rest of the clip.
        best = output.early_QTN.float().amax(-1) * inside
        presence = (best.sum(1) / inside.sum(1).clamp(min=1)).sigmoid()
        # The most likely box of each frame.
        scores, slot = output.location_QTN.float().softmax(-1).max(-1)
        slot = slot[..., None, None].expand(-1, -1, 1, 4)
        return read_answers(
            InstanceData(
                spans=spans, span_scores=span_scores, presence=presence
            ),
            output.boxes_QTN4.float().gather(2, slot).squeeze(2),
            scores,
            output.actionness_QT,
            real & regions.mask_BTN.any(-1),
            regions.times_BT,
            samples,
            consistency_QT,
        )
