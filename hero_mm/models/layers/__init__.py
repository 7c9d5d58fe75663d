"""Layers that the reasoning is made of."""

from .attention import Attention, FeedForward, JointLayer, WindowAttention
from .position import FramePosition, GridPosition
from .pyramid import PyramidAlignment
from .shift import temporal_shift

__all__ = [
    'Attention',
    'FeedForward',
    'FramePosition',
    'GridPosition',
    'JointLayer',
    'PyramidAlignment',
    'WindowAttention',
    'temporal_shift',
]
