"""From what the tube head says to tubes: spans, linked boxes, pixels.

Shape legend: Q queries, T frames, C candidate regions of a frame. Boxes are
xyxy in pixels of the input; spans are native frames.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional, Union

import torch
import torch.nn.functional as F
from torch import Tensor

from hero_mm.structures import GroundingDataSample

from ..losses import box_iou_pairs
from .frame_grid import bin_edges, from_bins


@dataclass
class TubeOutput:
    """What the head says before decoding.

    Attributes:
        location_QTN (Tensor): Logits of the regions, -1e4 on padding: which
            one of its frame shows the object (softmax), and whether it shows
            it in the span (sigmoid).
        boxes_QTN4 (Tensor): The box that each region would give.
        start_QT, end_QT (Tensor): Logits of the boundaries' bins, -inf on
            padding.
        offsets_QT2 (Tensor): Place of start and end in each bin, in [0, 1].
        actionness_QT (Tensor): Logits of "the frame lies in the span".
        kept_QS (Tensor, optional): Where frames were left out, the numbers
            of those that the T of the other fields stands for.
        early_QTN (Tensor, optional): Logits of the regions before they met
            the words, see :class:`RegionTextFit`.
        span_weight (Tensor or float): How much the actionness inside a span
            speaks for it.
    """

    location_QTN: Tensor
    boxes_QTN4: Tensor
    start_QT: Tensor
    end_QT: Tensor
    offsets_QT2: Tensor
    actionness_QT: Tensor
    kept_QS: Optional[Tensor] = None
    early_QTN: Optional[Tensor] = None
    span_weight: Union[Tensor, float] = 0.0


def span_logits(output: TubeOutput) -> Tensor:
    """Logits of all spans, (Q, T, T): of first and last frame, and between.

    -inf where the last frame comes first or is padding.
    """
    start, end = output.start_QT.float(), output.end_QT.float()
    total = F.pad(output.actionness_QT.float().cumsum(1), (1, 0))
    inside = total[:, None, 1:] - total[:, :-1, None]
    logits = start[:, :, None] + end[:, None]
    logits = logits + output.span_weight * inside
    order = torch.ones_like(logits[0], dtype=torch.bool).triu()
    return logits.masked_fill(~order, float('-inf'))


def decode_span(
    output: TubeOutput,
    edges_QT1: Tensor,
    expected_iou: bool = False,
) -> tuple[Tensor, Tensor]:
    """Choose a span whose end lies behind its start.

    Args:
        output (TubeOutput): Of Q queries.
        edges_QT1 (Tensor): Edges of the bins, native frames.
        expected_iou (bool): Choose the span whose tIoU with the others,
            weighted by their probability, is highest, in place of the most
            likely one.

    Returns:
        tuple[Tensor, Tensor]: Spans (Q, 2) in native frames and scores (Q,).
    """
    # Off the very edges, so that no span is empty.
    offsets = output.offsets_QT2.float().clamp(1e-4, 1 - 1e-4)
    joint = span_logits(output)
    num_bins = joint.shape[1]
    joint = joint.flatten(1).log_softmax(-1).view_as(joint)
    # Start and end in one bin need their offsets in order.
    ordered = offsets[..., 0] < offsets[..., 1]
    allowed = ~torch.eye(num_bins, device=joint.device).bool()
    allowed = allowed | torch.diag_embed(ordered)
    joint = joint.masked_fill(~allowed, float('-inf'))
    best = joint.flatten(1)
    # A clip of one frame whose offsets are out of order: all of it.
    none = best.isneginf().all(1)
    index = _most_agreed(joint) if expected_iou else best.argmax(1)
    index = index.masked_fill(none, 0)
    first, last = index // num_bins, index % num_bins
    low = offsets[..., 0].gather(1, first[:, None]).squeeze(1)
    high = offsets[..., 1].gather(1, last[:, None]).squeeze(1)
    low = low.masked_fill(none, 0.0)
    high = high.masked_fill(none, 1.0)
    spans = torch.stack(
        [
            from_bins(first, low, edges_QT1),
            from_bins(last, high, edges_QT1),
        ],
        dim=-1,
    )
    score = best.gather(1, index[:, None]).squeeze(1)
    return spans, score.masked_fill(none, 0.0).exp().clamp(max=1)


def _most_agreed(joint_QTT: Tensor, number: int = 512) -> Tensor:
    """Index (Q,) in T * T of the span with the highest expected tIoU.

    Of the ``number`` most likely spans, which hold nearly all probability.
    """
    num_bins = joint_QTT.shape[-1]
    best = joint_QTT.flatten(1)
    log_prob, pairs = best.topk(min(number, best.shape[1]), dim=1)
    start = (pairs // num_bins).to(log_prob.dtype)
    end = (pairs % num_bins + 1).to(log_prob.dtype)
    inter = torch.minimum(end[:, :, None], end[:, None])
    inter = inter - torch.maximum(start[:, :, None], start[:, None])
    union = torch.maximum(end[:, :, None], end[:, None])
    union = union - torch.minimum(start[:, :, None], start[:, None])
    iou = inter.clamp(min=0) / union
    # Where no span is allowed, the first is as good as any.
    weight = log_prob.softmax(1).nan_to_num()
    expected = torch.einsum('qab,qb->qa', iou, weight)
    expected = expected.masked_fill(log_prob.isneginf(), -1.0)
    return pairs.gather(1, expected.argmax(1, keepdim=True)).squeeze(1)


def choose_boxes(
    output: TubeOutput, link_weight: float, candidates: int
) -> tuple[Tensor, Tensor]:
    """Choose a region a frame and link them over time.

    Args:
        output (TubeOutput): Of Q queries.
        link_weight (float): How much neighbouring boxes must overlap.
        candidates (int): Regions a frame that take part.

    Returns:
        tuple[Tensor, Tensor]: Boxes (Q, T, 4) and their probability (Q, T).
    """
    log_prob = output.location_QTN.float().log_softmax(-1)
    number = min(candidates, log_prob.shape[-1])
    if not link_weight:
        number = 1
    best, index = log_prob.topk(number, dim=-1)
    boxes = output.boxes_QTN4.float().gather(
        2, index[..., None].expand(-1, -1, -1, 4)
    )
    # Padding comes last and must not pull at the frames before it.
    real = ~output.start_QT.isneginf()
    choice = link_boxes(best, boxes, link_weight * real)
    picked = boxes.gather(2, choice[..., None, None].expand(-1, -1, 1, 4))
    score = best.gather(2, choice[..., None]).squeeze(-1).exp()
    return picked.squeeze(2), score


def clip_edges(
    samples: Sequence[GroundingDataSample],
    num_frames: int,
    device: torch.device,
) -> Tensor:
    """Edges of the bins of each clip, has shape (B, T + 1)."""
    return bin_edges(
        [s.frame_inds for s in samples],
        [s.segment for s in samples],
        num_frames,
    ).to(device)


def query_edges(
    output: TubeOutput,
    samples: Sequence[GroundingDataSample],
    clip_of_query: Tensor,
) -> Tensor:
    """Edges of the bins of each query, of its kept frames only."""
    num_frames = output.start_QT.shape[1]
    device = output.start_QT.device
    if output.kept_QS is None:
        return clip_edges(samples, num_frames, device)[clip_of_query]
    inds, segments = [], []
    for clip, kept in zip(
        clip_of_query.tolist(), output.kept_QS.cpu().numpy()
    ):
        frame_inds = samples[clip].frame_inds
        inds.append(frame_inds[kept[kept < len(frame_inds)]])
        segments.append(samples[clip].segment)
    return bin_edges(inds, segments, num_frames).to(device)


def link_boxes(
    log_prob_QTC: Tensor, boxes_QTC4: Tensor, weight_QT: Tensor
) -> Tensor:
    """Viterbi over candidates: likely regions whose boxes overlap in time.

    ``weight_QT`` says how much a frame must overlap the one before it.
    """
    num_frames = log_prob_QTC.shape[1]
    score = log_prob_QTC[:, 0]
    back = []
    for frame in range(1, num_frames):
        iou, _ = box_iou_pairs(
            boxes_QTC4[:, frame - 1, :, None], boxes_QTC4[:, frame, None]
        )
        weight = weight_QT[:, frame, None, None]
        step, origin = (score[:, :, None] + weight * iou).max(1)
        back.append(origin)
        score = step + log_prob_QTC[:, frame]
    choice = [score.argmax(-1)]
    for origin in reversed(back):
        choice.append(origin.gather(1, choice[-1][:, None]).squeeze(1))
    return torch.stack(choice[::-1], dim=1)
