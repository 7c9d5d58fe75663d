"""Layers that the reasoning is made of."""

from .attention import Attention, FeedForward, JointLayer, WindowAttention
from .position import GridPosition
from .pyramid import PyramidAlignment
from .shift import temporal_shift

__all__ = [
    'Attention',
    'FeedForward',
    'GridPosition',
    'JointLayer',
    'PyramidAlignment',
    'WindowAttention',
    'temporal_shift',
]
