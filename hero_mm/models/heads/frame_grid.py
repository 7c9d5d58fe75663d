"""The frame grid: from sampled frames to continuous time and back.

A sampled frame stands for a *bin* of native time that reaches half-way to
its neighbours; the first and the last bin reach to the ends of the segment.
A boundary is a bin and an offset inside it, so that spans are not tied to
the sampled frames (with 64 frames the grid alone caps m_tIoU of VidSTG at
0.944).

Shape legend: B clips, Q queries, T frames.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from hero_mm.structures import GroundingDataSample, send

from ..regions import Regions


def frame_numbers(
    samples: Sequence[GroundingDataSample],
    num_frames: int,
    device: torch.device,
) -> tuple[Tensor, Tensor]:
    """Native numbers of the sampled frames, and the searched segments.

    float32, (B, T), zero on padding, and (B, 2), ``[start, end)``.
    """
    numbers = torch.zeros(len(samples), num_frames)
    for row, sample in zip(numbers, samples):
        inds = torch.as_tensor(sample.frame_inds)
        row[: len(inds)] = inds.float()
    segments = torch.tensor([sample.segment for sample in samples])
    return send(numbers, device), send(segments.float(), device)


def query_edges(
    regions: Regions,
    samples: Sequence[GroundingDataSample],
    clip_of_query: Tensor,
) -> Tensor:
    """Edges of the bins of the frames of Q queries, (Q, T + 1).

    Args:
        regions (Regions): Of the queries; some frames may be left out.
        samples (Sequence[GroundingDataSample]): B clips, all their frames.
        clip_of_query (Tensor): Clip of each query, has shape (Q,).
    """
    longest = max(len(sample.frame_inds) for sample in samples)
    numbers, segments = frame_numbers(samples, longest, clip_of_query.device)
    places = regions.times_BT.clamp(max=longest - 1)
    return bin_edges(
        numbers[clip_of_query].gather(1, places),
        regions.frame_mask_BT,
        segments[clip_of_query],
    )


def bin_edges(
    numbers_QT: Tensor, mask_QT: Tensor, segments_Q2: Tensor
) -> Tensor:
    """Edges of the bins of sampled frames, (Q, T + 1).

    Args:
        numbers_QT (Tensor): Native numbers, strictly increasing where real.
        mask_QT (Tensor): True on real frames, which come first; padding
            repeats the last edge.
        segments_Q2 (Tensor): ``[start, end)`` in native frames.
    """
    # Frame i lasts from i to i + 1: its middle is i + 0.5.
    between = (numbers_QT[:, 1:] + numbers_QT[:, :-1] + 1) / 2
    start, end = segments_Q2[:, :1], segments_Q2[:, 1:]
    between = torch.where(mask_QT[:, 1:], between, end)
    return torch.cat([start, between, end], 1)


def to_bins(times_Q: Tensor, edges_QT1: Tensor, is_end: bool) -> Tensor:
    """Native times in bins: number of the bin plus offset in [0, 1].

    An end that lies on an edge belongs to the bin before it, a start to the
    bin after it.
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


def from_bins(index_Q: Tensor, offset_Q: Tensor, edges_QT1: Tensor) -> Tensor:
    """Native times of bins and offsets in them."""
    low = edges_QT1.gather(1, index_Q[:, None]).squeeze(1)
    high = edges_QT1.gather(1, index_Q[:, None] + 1).squeeze(1)
    return low + offset_Q * (high - low)
