"""What is left out before the words are met: regions and frames.

The abstract of HERO says that *redundant interfering correlations* are
removed, and puts the contrastive action correspondence before the grounding.
We choose that only the regions of a frame that may hold an object meet the
words, and that, at test time, frames of low action consistency may be left
out of all that follows; their boxes are interpolated.

Shape legend: B clips, Q queries, T frames, S kept frames, H W regions.
"""

from dataclasses import replace
from typing import Optional

import torch
import torch.nn.functional as F
from torch import Tensor

from .features import VideoFeatures


def keep_frames(
    consistency_QT: Tensor, frame_mask_QT: Tensor, ratio: float
) -> Tensor:
    """Choose the frames of highest action consistency, in order of time.

    Args:
        consistency_QT (Tensor): Logits of action consistency.
        frame_mask_QT (Tensor): True on real frames.
        ratio (float): Share of the real frames that is kept, rounded up.

    Returns:
        Tensor: Frame numbers, increasing, has shape (Q, S). The queries of
        shorter clips keep padding at their end.
    """
    # A clip keeps the share of its own frames, whatever stands beside it.
    wanted = (frame_mask_QT.sum(1) * ratio - 1e-4).ceil().clamp(min=1)
    score = consistency_QT.masked_fill(~frame_mask_QT, float('-inf'))
    rank = score.argsort(1, descending=True).argsort(1)
    chosen = rank < wanted[:, None]
    order = torch.where(chosen, 2, (~frame_mask_QT).long())
    kept = order.topk(int(wanted.max()), dim=1).indices
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
    return video.apply(lambda value: value[rows, kept_QS])


def select_regions(
    video: VideoFeatures, number: int, forced_BTHW: Optional[Tensor] = None
) -> VideoFeatures:
    """Keep the regions of each frame that most likely hold an object.

    Peaks of the objectness come first, then the rest, so that one large
    object does not take all places.

    Args:
        video (VideoFeatures): B clips with ``objectness_BTHW``.
        number (int): Regions a frame that stay.
        forced_BTHW (Tensor, optional): True on regions that must stay, as
            those of the annotated objects in training.

    Returns:
        VideoFeatures: Sets of regions, in order of the grid; all of them
        where a frame has no more than ``number``, as a set all the same:
        what stands beside a small clip in a batch must not decide.
    """
    if video.objectness_BTHW is None:
        raise ValueError(
            'regions are selected by objectness_BTHW: run '
            'TubeHead.clip_outputs first'
        )
    score = video.objectness_BTHW.detach()
    number = min(number, score.shape[2] * score.shape[3])
    score = score.masked_fill(~video.real_BTHW, -1e4)
    around = F.max_pool2d(score, kernel_size=3, stride=1, padding=1)
    score = score - 100.0 * (score < around)
    if forced_BTHW is not None:
        score = score + 1000.0 * forced_BTHW
    chosen = score.flatten(2).topk(number, dim=-1).indices.sort(-1).values

    def pick(value: Tensor) -> Tensor:
        flat = value.flatten(2, 3)
        if flat.shape[2] == 1:  # The mean of the frame serves all regions.
            return value
        index = chosen.view(*chosen.shape, *[1] * (flat.dim() - 3))
        index = index.expand(*chosen.shape, *flat.shape[3:])
        return flat.gather(2, index).unsqueeze(2)

    mask = video.frame_mask_BT
    picked = replace(video, frame_mask_BT=mask[:, :, None, None]).apply(pick)
    return replace(picked, frame_mask_BT=mask, is_grid=False)


def spread_frames(
    x_QSC: Tensor, kept_QS: Tensor, real_QS: Tensor, num_frames: int
) -> Tensor:
    """Interpolate from kept frames to all frames, held at the ends.

    Args:
        x_QSC (Tensor): Values at the kept frames, has shape (Q, S, C).
        kept_QS (Tensor): Frame numbers, increasing, has shape (Q, S).
        real_QS (Tensor): True on real frames, which come first.
        num_frames (int): T.

    Returns:
        Tensor: Has shape (Q, T, C).
    """
    rows = torch.arange(len(x_QSC), device=x_QSC.device)[:, None]
    # The last real frame stands in for the padding after it.
    slots = torch.arange(kept_QS.shape[1], device=x_QSC.device)
    slots = torch.minimum(slots, real_QS.sum(1, keepdim=True) - 1)
    x_QSC, kept_QS = x_QSC[rows, slots], kept_QS[rows, slots]
    steps = torch.arange(num_frames, device=x_QSC.device)
    steps = steps.expand(len(x_QSC), -1).contiguous()
    after = torch.searchsorted(kept_QS.contiguous(), steps)
    last = kept_QS.shape[1] - 1
    before, after = (after - 1).clamp(min=0), after.clamp(max=last)
    low, high = kept_QS.gather(1, before), kept_QS.gather(1, after)
    share = (steps - low).clamp(min=0) / (high - low).clamp(min=1)
    share = share.clamp(max=1)[..., None].to(x_QSC.dtype)
    return x_QSC[rows, before] * (1 - share) + x_QSC[rows, after] * share
