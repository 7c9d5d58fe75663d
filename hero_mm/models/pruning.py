"""Retrieval before reasoning: leave frames without the action out.

The abstract of HERO puts the contrastive action correspondence before the
grounding. We choose that, at test time, frames of low action consistency may
be left out of all that follows; their boxes are interpolated.

Shape legend: Q queries, T frames, S kept frames.
"""

import torch
from torch import Tensor

from .features import VideoFeatures


def keep_frames(
    consistency_QT: Tensor, frame_mask_QT: Tensor, ratio: float
) -> Tensor:
    """Choose the frames of highest action consistency, in order of time.

    Args:
        consistency_QT (Tensor): Logits of action consistency.
        frame_mask_QT (Tensor): True on real frames.
        ratio (float): Share of the T frames that is kept.

    Returns:
        Tensor: Frame numbers, increasing, has shape (Q, S). A query with
        fewer than S real frames keeps padding at its end.
    """
    number = max(1, -int(-ratio * consistency_QT.shape[1] // 1))
    score = consistency_QT.masked_fill(~frame_mask_QT, float('-inf'))
    kept = score.topk(number, dim=1).indices
    return kept.sort(dim=1).values


def select_frames(video: VideoFeatures, kept_QS: Tensor) -> VideoFeatures:
    """Take some frames of each clip.

    Args:
        video (VideoFeatures): Q clips of T frames.
        kept_QS (Tensor): Frame numbers, has shape (Q, S).

    Returns:
        VideoFeatures: Q clips of S frames.
    """
    rows = torch.arange(len(kept_QS), device=kept_QS.device)[:, None]
    return VideoFeatures(
        video.grid_BTHWD[rows, kept_QS],
        video.frame_mask_BT[rows, kept_QS],
        video.region_mask_BHW,
        video.stride,
    )


def spread_frames(x_QSC: Tensor, kept_QS: Tensor, num_frames: int) -> Tensor:
    """Interpolate from kept frames to all frames, held at the ends.

    Args:
        x_QSC (Tensor): Values at the kept frames, has shape (Q, S, C).
        kept_QS (Tensor): Frame numbers, increasing, has shape (Q, S).
        num_frames (int): T.

    Returns:
        Tensor: Has shape (Q, T, C).
    """
    steps = torch.arange(num_frames, device=x_QSC.device)
    steps = steps.expand(len(x_QSC), -1).contiguous()
    after = torch.searchsorted(kept_QS.contiguous(), steps)
    last = kept_QS.shape[1] - 1
    before, after = (after - 1).clamp(min=0), after.clamp(max=last)
    low, high = kept_QS.gather(1, before), kept_QS.gather(1, after)
    share = (steps - low).clamp(min=0) / (high - low).clamp(min=1)
    share = share.clamp(max=1)[..., None].to(x_QSC.dtype)
    rows = torch.arange(len(x_QSC), device=x_QSC.device)[:, None]
    return x_QSC[rows, before] * (1 - share) + x_QSC[rows, after] * share
