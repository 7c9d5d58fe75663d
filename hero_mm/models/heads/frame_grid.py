"""The frame grid: from sampled frames to continuous time and back.

A sampled frame stands for a *bin* of native time that reaches half-way to
its neighbours; the first and the last bin reach to the ends of the segment.
A boundary is a bin and an offset inside it, so that spans are not tied to
the sampled frames (with 64 frames the grid alone caps m_tIoU of VidSTG at
0.944).

Shape legend: Q queries, T frames.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def bin_edges(
    frame_inds: Sequence[np.ndarray],
    segments: Sequence[tuple[float, float]],
    num_frames: int,
) -> Tensor:
    """Edges of the bins of sampled frames.

    Args:
        frame_inds (Sequence[np.ndarray]): Native numbers of the sampled
            frames of each clip, strictly increasing.
        segments (Sequence[tuple[float, float]]): The searched part of each
            clip, ``[start, end)`` in native frames.
        num_frames (int): T, the padded number of frames.

    Returns:
        Tensor: Has shape (B, T + 1); padding repeats the last edge.
    """
    edges = np.zeros((len(frame_inds), num_frames + 1), dtype=np.float32)
    for row, inds, (start, end) in zip(edges, frame_inds, segments):
        inds = np.asarray(inds)
        row[: len(inds) + 1] = end
        # Frame i lasts from i to i + 1: its middle is i + 0.5.
        row[1 : len(inds)] = (inds[1:] + inds[:-1] + 1) / 2
        row[0] = start
        row[len(inds) :] = end
    return torch.from_numpy(edges)


def to_bins(times_Q: Tensor, edges_QT1: Tensor, is_end: bool) -> Tensor:
    """Position of native times on the grid, in bins.

    Args:
        times_Q (Tensor): Native times, has shape (Q,).
        edges_QT1 (Tensor): Edges of the bins, has shape (Q, T + 1).
        is_end (bool): An end that lies on an edge belongs to the bin before
            it, a start to the bin after it.

    Returns:
        Tensor: Bin number plus offset in [0, 1], has shape (Q,). The bin is
        ``bin_of(position, is_end)``.
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


def bin_of(position_Q: Tensor, is_end: bool, num_bins: int) -> Tensor:
    """The bin that a position from :func:`to_bins` lies in, has shape (Q,)."""
    index = position_Q.ceil() - 1 if is_end else position_Q.floor()
    return index.long().clamp(0, num_bins - 1)


def from_bins(index_Q: Tensor, offset_Q: Tensor, edges_QT1: Tensor) -> Tensor:
    """Native time of a bin and an offset in it.

    Args:
        index_Q (Tensor): Bins, has shape (Q,).
        offset_Q (Tensor): Offsets in [0, 1], has shape (Q,).
        edges_QT1 (Tensor): Edges of the bins, has shape (Q, T + 1).

    Returns:
        Tensor: Native times, has shape (Q,).
    """
    low = edges_QT1.gather(1, index_Q[:, None]).squeeze(1)
    high = edges_QT1.gather(1, index_Q[:, None] + 1).squeeze(1)
    return low + offset_Q * (high - low)
