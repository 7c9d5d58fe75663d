"""Channels that look one frame back and one frame ahead.

The temporal shift of TSM (arXiv 1811.08383): motion reaches a region without
any attention and without cutting at a window's edge.

Shape legend: B clips or queries, T frames.
"""

import torch
from torch import Tensor


def temporal_shift(x: Tensor, channels: int, dim: int = -1) -> Tensor:
    """Let some channels come from the frame before and the frame after.

    Args:
        x (Tensor): Features, has shape (B, T, ...).
        channels (int): So many channels look back and as many look ahead.
        dim (int): The axis of the channels.

    Returns:
        Tensor: Features of the same shape; what would come from outside the
        clip is zero.
    """
    rest = x.shape[dim] - 2 * channels
    back, ahead, same = x.split([channels, channels, rest], dim=dim)
    zero = torch.zeros_like(back[:, :1])
    back = torch.cat([zero, back[:, :-1]], dim=1)
    ahead = torch.cat([ahead[:, 1:], zero], dim=1)
    return torch.cat([back, ahead, same], dim=dim)
