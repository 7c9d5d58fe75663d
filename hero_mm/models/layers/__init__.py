"""Layers that the reasoning is made of."""

from .attention import Attention, FeedForward, JointLayer, WindowAttention
from .position import BoxPosition, FramePosition, GridPosition
from .pyramid import PyramidAlignment
from .region_detail import RegionDetail
from .shift import temporal_shift

__all__ = [
    'Attention',
    'BoxPosition',
    'FeedForward',
    'FramePosition',
    'GridPosition',
    'JointLayer',
    'PyramidAlignment',
    'RegionDetail',
    'WindowAttention',
    'temporal_shift',
]
