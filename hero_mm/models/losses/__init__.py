"""Losses of tubes."""

from .functional import (
    any_positive_cross_entropy,
    boundary_kl,
    box_iou_pairs,
)

__all__ = ['any_positive_cross_entropy', 'boundary_kl', 'box_iou_pairs']
