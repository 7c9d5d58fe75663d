"""Losses of tubes."""

from .functional import (
    any_positive_cross_entropy,
    boundary_targets,
    box_iou_pairs,
    span_kl,
)

__all__ = [
    'any_positive_cross_entropy',
    'boundary_targets',
    'box_iou_pairs',
    'span_kl',
]
