"""Layers that the reasoning is made of."""

from .attention import (
    Attention,
    FeedForward,
    JointLayer,
    SlotAttention,
    SpatialAttention,
    temporal_shift,
)
from .position import BoxPosition, StepPosition
from .pyramid import PyramidAlignment
from .reasoning import Context, reasoning_layers

__all__ = [
    'Attention',
    'BoxPosition',
    'Context',
    'FeedForward',
    'JointLayer',
    'PyramidAlignment',
    'SlotAttention',
    'SpatialAttention',
    'StepPosition',
    'reasoning_layers',
    'temporal_shift',
]
