"""Transforms: from a clip of the annotation to the input of the model."""

from .formatting import PackGroundingInputs
from .geometric import RandomFlipClip, RandomTubeCrop, ResizeClip
from .loading import DecodeFrames, LoadTubes
from .proposals import LoadProposals
from .sampling import SampleClipFrames
from .text import SwapActionPhrase

__all__ = [
    'DecodeFrames',
    'LoadProposals',
    'LoadTubes',
    'PackGroundingInputs',
    'RandomFlipClip',
    'RandomTubeCrop',
    'ResizeClip',
    'SampleClipFrames',
    'SwapActionPhrase',
]
