"""Between tubes and what the tube head says: the frame grid, spans, boxes.

A sampled frame stands for a *bin* of native time that reaches half-way to
its neighbours; the first and the last bin reach to the ends of the segment.
A boundary is a bin and an offset inside it: spans are not tied to the frames.

Shape legend: B clips, Q queries, T frames, N slots of a frame. Boxes are xyxy
in pixels of the input; spans are native frames.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional, Union

import torch
import torch.nn.functional as F
from mmengine.structures import InstanceData
from torch import Tensor, nn

from hero_mm.structures import GroundingDataSample, send, to_original

from ..regions import Regions, take_frames


def query_edges(
    regions: Regions,
    samples: Sequence[GroundingDataSample],
    clip_of_query: Tensor,
) -> Tensor:
    """Edges of the bins of frames of Q queries, (Q, T + 1), native frames."""
    numbers = nn.utils.rnn.pad_sequence(
        [torch.as_tensor(one.frame_inds).float() for one in samples], True
    )
    segments = torch.tensor([one.segment for one in samples]).float()
    numbers = send(numbers, clip_of_query.device)
    segments = send(segments, clip_of_query.device)
    places = regions.times_BT.clamp(max=numbers.shape[1] - 1)
    numbers_QT = numbers[clip_of_query].gather(1, places)
    # Frame i lasts from i to i + 1: its middle is i + 0.5.
    between = (numbers_QT[:, 1:] + numbers_QT[:, :-1] + 1) / 2
    start, end = segments[clip_of_query].chunk(2, 1)
    between = torch.where(regions.frame_mask_BT[:, 1:], between, end)
    return torch.cat([start, between, end], 1)


def bins_in_span(spans_Q2: Tensor, edges_QT1: Tensor) -> Tensor:
    """Whether the middle of each bin lies in the span, (Q, T)."""
    middle = (edges_QT1[:, 1:] + edges_QT1[:, :-1]) / 2
    return (middle >= spans_Q2[:, :1]) & (middle < spans_Q2[:, 1:])


def to_bins(times_Q: Tensor, edges_QT1: Tensor, is_end: bool) -> Tensor:
    """Native times in bins: number of the bin plus offset in [0, 1].

    An end on an edge belongs to the bin before it, a start to that after it.
    """
    num_bins = edges_QT1.shape[1] - 1
    index = torch.searchsorted(
        edges_QT1.contiguous(), times_Q[:, None].contiguous(), right=not is_end
    ).squeeze(1)
    index = (index - 1).clamp(0, num_bins - 1)
    low = edges_QT1.gather(1, index[:, None]).squeeze(1)
    high = edges_QT1.gather(1, index[:, None] + 1).squeeze(1)
    share = (times_Q - low) / (high - low).clamp(min=1e-6)
    return index + share.clamp(0, 1)


@dataclass
class TubeOutput:
    """What the head says before decoding, in logits."""

    # Which slot of its frame shows the object (softmax), and whether it shows
    # it in the span (sigmoid); -1e4 where there is none.
    location_QTN: Tensor
    boxes_QTN4: Tensor
    # As the location, before the slots met the words.
    early_QTN: Tensor
    # Of the bins, -inf on padding.
    start_QT: Tensor
    end_QT: Tensor
    # Place of start and end in each bin, in [0, 1].
    offsets_QT2: Tensor
    # That the frame lies in the span; weight of their sum inside a span.
    actionness_QT: Tensor
    span_weight: Union[Tensor, float] = 0.0


def sums_of_spans(value_QT: Tensor) -> Tensor:
    """Sums of values from first to last frame, (Q, T, T)."""
    total = F.pad(value_QT.cumsum(1), (1, 0))
    return total[:, None, 1:] - total[:, :-1, None]


def in_order(logits_QTT: Tensor) -> Tensor:
    """The logits, -inf where the last frame comes first."""
    order = torch.ones_like(logits_QTT[0], dtype=torch.bool).triu()
    return logits_QTT.masked_fill(~order, float('-inf'))


def span_logits(output: TubeOutput) -> Tensor:
    """Logits of all spans, (Q, T, T), -inf where there is none."""
    start, end = output.start_QT.float(), output.end_QT.float()
    logits = start[:, :, None] + end[:, None]
    inside = sums_of_spans(output.actionness_QT.float())
    return in_order(logits + output.span_weight * inside)


def choose_span(
    logits_QTT: Tensor,
    offsets_QT2: Tensor,
    edges_QT1: Tensor,
    expected_iou: bool = False,
) -> tuple[Tensor, Tensor]:
    """Choose the most likely span, or that of highest expected tIoU.

    Gives spans (Q, 2) in native frames, never empty, and scores (Q,).
    """
    num_bins = logits_QTT.shape[1]
    joint = logits_QTT.flatten(1).log_softmax(-1).view_as(logits_QTT)
    # Start and end in one bin need their offsets in order.
    ordered = offsets_QT2[..., 0] < offsets_QT2[..., 1]
    allowed = ~torch.eye(num_bins, device=joint.device).bool()
    allowed = allowed | torch.diag_embed(ordered)
    joint = joint.masked_fill(~allowed, float('-inf'))
    best = joint.flatten(1)
    # A clip of one frame whose offsets are out of order: all of it.
    none = best.isneginf().all(1)
    index = most_agreed(joint, edges_QT1) if expected_iou else best.argmax(1)
    index = index.masked_fill(none, 0)[:, None]
    spans = []
    for side, bins in enumerate((index // num_bins, index % num_bins)):
        low, high = edges_QT1.gather(1, bins), edges_QT1.gather(1, bins + 1)
        offset = offsets_QT2[..., side].gather(1, bins)
        offset = offset.masked_fill(none[:, None], float(side))
        spans.append(low + offset * (high - low))
    score = best.gather(1, index).squeeze(1).masked_fill(none, 0.0)
    return torch.cat(spans, 1), score.exp().clamp(max=1)


def most_agreed(
    joint_QTT: Tensor, edges_QT1: Tensor, number: int = 512
) -> Tensor:
    """Index (Q,) in T * T of the likely span with highest expected tIoU."""
    num_bins = joint_QTT.shape[-1]
    best = joint_QTT.flatten(1)
    log_prob, pairs = best.topk(min(number, best.shape[1]), dim=1)
    start = edges_QT1.gather(1, pairs // num_bins)
    end = edges_QT1.gather(1, pairs % num_bins + 1)
    inter = torch.minimum(end[:, :, None], end[:, None])
    inter = inter - torch.maximum(start[:, :, None], start[:, None])
    union = torch.maximum(end[:, :, None], end[:, None])
    union = union - torch.minimum(start[:, :, None], start[:, None])
    iou = inter.clamp(min=0) / union.clamp(min=1e-6)
    # Where no span is allowed, the first is as good as any.
    weight = log_prob.softmax(1).nan_to_num()
    expected = torch.einsum('qab,qb->qa', iou, weight)
    expected = expected.masked_fill(log_prob.isneginf(), -1.0)
    return pairs.gather(1, expected.argmax(1, keepdim=True)).squeeze(1)


def spread_frames(
    x_QKC: Tensor, times_QK: Tensor, real_QK: Tensor, num_frames: int
) -> Tensor:
    """Interpolate from K frames, real ones first, to all frames (Q, T, C)."""
    # The last real frame stands in for the padding after it.
    places = torch.arange(times_QK.shape[1], device=x_QKC.device)
    last = (real_QK.sum(1, keepdim=True) - 1).clamp(min=0)
    places = torch.minimum(places, last)
    x, times = take_frames(x_QKC, places), times_QK.gather(1, places).float()
    steps = torch.arange(num_frames, device=x.device, dtype=times.dtype)
    steps = steps.expand(len(x), -1).contiguous()
    after = torch.searchsorted(times.contiguous(), steps)
    before = (after - 1).clamp(min=0)
    after = after.clamp(max=times.shape[1] - 1)
    low, high = times.gather(1, before), times.gather(1, after)
    share = (steps - low).clamp(min=0) / (high - low).clamp(min=1e-6)
    share = share.clamp(max=1)[..., None].to(x.dtype)
    return take_frames(x, before) * (1 - share) + take_frames(x, after) * share


def read_answers(
    found: InstanceData,
    boxes_QT4: Tensor,
    scores_QT: Tensor,
    inside_QT: Tensor,
    seen_QT: Tensor,
    times_QT: Tensor,
    samples: Sequence[GroundingDataSample],
    consistency_QT: Optional[Tensor] = None,
) -> list[InstanceData]:
    """One result a clip: tubes in original pixels, a box a sampled frame.

    What was ``found`` gets boxes, their scores, and the degree of "the frame
    lies in the span", or of ``consistency_QT`` of all sampled frames. Where a
    frame has no box (``seen_QT``), it lies between the others.
    """
    scores = torch.stack([scores_QT, inside_QT], -1)
    values = torch.cat([boxes_QT4, scores], -1)
    first = (~seen_QT).long().argsort(dim=1, stable=True)
    values = spread_frames(
        take_frames(values, first),
        times_QT.gather(1, first),
        seen_QT.gather(1, first),
        max(len(one.frame_inds) for one in samples),
    )
    consistency = values[..., 5].sigmoid()
    if consistency_QT is not None:
        consistency = consistency_QT.sigmoid()
    results, done = [], 0
    for sample in samples:
        mine = slice(done, done + len(sample.queries.texts))
        done, length = mine.stop, len(sample.frame_inds)
        one = found[mine]
        one.bboxes = to_original(values[mine, :length, :4], sample)
        one.scores = values[mine, :length, 4]
        one.action_consistency = consistency[mine, :length]
        results.append(one)
    return results
