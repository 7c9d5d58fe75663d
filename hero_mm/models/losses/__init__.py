"""Losses: plain functions, and modules that configs name."""

from .functional import (
    any_positive_cross_entropy,
    boundary_targets,
    box_iou_pairs,
    pairwise_iou,
    span_kl,
)
from .modules import (
    AnyPositiveLoss,
    ContrastiveLoss,
    GIoULoss,
    L1Loss,
    SigmoidFocalLoss,
    SpanLoss,
)

__all__ = [
    'AnyPositiveLoss',
    'ContrastiveLoss',
    'GIoULoss',
    'L1Loss',
    'SigmoidFocalLoss',
    'SpanLoss',
    'any_positive_cross_entropy',
    'boundary_targets',
    'box_iou_pairs',
    'pairwise_iou',
    'span_kl',
]
