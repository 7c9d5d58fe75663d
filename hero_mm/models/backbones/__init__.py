"""Video backbones of our own; the MM family's are used by their prefix."""

from .shift_conv_net import ShiftConvNet

__all__ = ['ShiftConvNet']
