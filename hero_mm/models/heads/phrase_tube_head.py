"""From scores of a phrase to tubes, without anything that is learned.

The slot of the highest mean score is the object. The span is where its scores
are higher than elsewhere: a step is fitted to them for every first and last
frame, and the better one fits, the likelier is the span.

Shape legend: B clips, Q queries, T frames, N slots. Boxes are xyxy in pixels
of the input.
"""

from collections.abc import Sequence

import torch
from mmengine.model import BaseModule
from mmengine.structures import InstanceData
from torch import Tensor

from hero_mm.registry import MODELS
from hero_mm.structures import GroundingDataSample

from ..regions import Regions
from .tube_decoding import (
    bins_in_span,
    choose_span,
    in_order,
    read_answers,
    sums_of_spans,
)

# Where the object is not found for so many frames, it is taken to be between
# the boxes before and after; for more, it is not there.
MAX_PAUSE = 3
# Differences of scores that mean nothing.
NOISE = 0.02


def step_logits(score_QT: Tensor, weight_QT: Tensor) -> Tensor:
    """How well a higher level inside each span explains scores, (Q, T, T).

    Logarithms of likelihoods, of first and last frame (-inf where the last one
    comes first). Errors are normal, of a spread that is not known, but at
    least ``NOISE``. ``weight_QT``: 1 on frames that count.
    """
    number_Q = weight_QT.sum(1).clamp(min=1)
    mean_Q = (score_QT * weight_QT).sum(1) / number_Q
    above_QT = (score_QT - mean_Q[:, None]) * weight_QT
    gain_QTT, inside_QTT = sums_of_spans(above_QT), sums_of_spans(weight_QT)
    number = number_Q[:, None, None]
    others = inside_QTT * (number - inside_QTT) / number
    gain = gain_QTT.clamp(min=0).square() / others.clamp(min=0.5)
    spread = above_QT.square().sum(1) + number_Q * NOISE**2
    left = 1 - gain / spread[:, None, None].clamp(min=1e-12)
    logits = -number / 2 * left.clamp(min=1e-6).log()
    return in_order(logits)


@MODELS.register_module()
class PhraseTubeHead(BaseModule):
    """Choose a slot and a span by the scores of a phrase."""

    def forward(self, regions: Regions) -> tuple[Tensor, Tensor, Tensor]:
        """Choose a slot of each frame, by the scores of each query's sentence.

        Gives boxes (Q, T, 4), scores (Q, T), 0 where there is no slot, and on
        which frames the object may be missed, bool, (Q, T).
        """
        mask, real = regions.mask_BTN, regions.frame_mask_BT
        scores = regions.scores_BTN.float() * mask
        mean_QN = scores.sum(1) / real.sum(1, keepdim=True).clamp(min=1)
        rank = mean_QN[:, None].masked_fill(~mask, -1.0)
        slot = rank.argmax(-1, keepdim=True)
        index = slot[..., None].expand(-1, -1, -1, 4)
        boxes = regions.boxes_BTN4.float().gather(2, index).squeeze(2)
        best = mean_QN.argmax(-1)[:, None, None]
        shown = mask.gather(2, best.expand(*mask.shape[:2], 1)).squeeze(2)
        missed = real & ~shown & _in_pause(shown)
        return boxes, scores.gather(2, slot).squeeze(2), missed

    @torch.no_grad()
    def predict(
        self,
        regions: Regions,
        edges_QT1: Tensor,
        samples: Sequence[GroundingDataSample],
    ) -> list[InstanceData]:
        """As of the tube head; scores, consistency, presence are those."""
        boxes, scores, missed = self(regions)
        real = regions.frame_mask_BT
        counts = real & ~missed
        logits = step_logits(scores, counts.float())
        logits = logits.masked_fill(~real[:, None], float('-inf'))
        offsets = scores.new_tensor([0.0, 1.0]).expand(*scores.shape, 2)
        spans, span_scores = choose_span(
            logits, offsets, edges_QT1, expected_iou=True
        )
        inside = bins_in_span(spans, edges_QT1) & counts
        presence = (scores * inside).sum(1) / inside.sum(1).clamp(min=1)
        return read_answers(
            InstanceData(
                spans=spans, span_scores=span_scores, presence=presence
            ),
            boxes,
            scores,
            scores.logit(1e-6),
            counts & regions.mask_BTN.any(-1),
            regions.times_BT,
            samples,
        )


def _in_pause(shown_QT: Tensor) -> Tensor:
    """Frames in a short pause: the slot is shown before and behind, (Q, T)."""
    number = shown_QT.shape[1]
    places = torch.arange(number, device=shown_QT.device)
    before = torch.where(shown_QT, places, -2 * number).cummax(1).values
    after = torch.where(shown_QT, places, 3 * number).flip(1)
    after = after.cummin(1).values.flip(1)
    return after - before - 1 <= MAX_PAUSE
