"""Losses of the time span of a query.

Shape legend: Q queries, T frames.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..losses import boundary_targets, span_kl
from .frame_grid import to_bins
from .tube_decoding import TubeOutput, span_logits


def span_losses(
    output: TubeOutput,
    mask_QT: Tensor,
    spans_Q2: Tensor,
    edges_QT1: Tensor,
    sigma: float,
) -> dict[str, Tensor]:
    """Losses of start, end, and of what lies between.

    Args:
        output (TubeOutput): Of Q queries.
        mask_QT (Tensor): True on real frames.
        spans_Q2 (Tensor): True spans, native frames.
        edges_QT1 (Tensor): Edges of the bins, native frames.
        sigma (float): Width of the boundary targets, in bins.

    Returns:
        dict: ``boundary``, ``offset`` and ``actionness``, one number each.
    """
    soft = []
    offset = output.start_QT.new_zeros(())
    steps = torch.arange(mask_QT.shape[1], device=mask_QT.device)
    for side in (0, 1):
        place = to_bins(spans_Q2[:, side], edges_QT1, bool(side))
        # The target is centred where the boundary is, not at its bin.
        soft.append(boundary_targets(mask_QT, place - 0.5, sigma))
        # So the bins beside it are nearly as likely: their offsets lead to
        # the end that is next to the boundary.
        share = place[:, None] - steps
        near = (share > -1) & (share < 2) & mask_QT
        told = output.offsets_QT2[..., side]
        miss = (told - share.clamp(0, 1)).abs() * near
        offset = offset + miss.sum() / near.sum()
    middle = (edges_QT1[:, 1:] + edges_QT1[:, :-1]) / 2
    inside = (middle >= spans_Q2[:, :1]) & (middle < spans_Q2[:, 1:])
    actionness = F.binary_cross_entropy_with_logits(
        output.actionness_QT, inside.float(), reduction='none'
    )
    return dict(
        boundary=span_kl(span_logits(output), *soft).mean(),
        offset=offset,
        actionness=(actionness * mask_QT).sum() / mask_QT.sum(),
    )
