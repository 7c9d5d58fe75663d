"""Models: encoders, reasoning, heads and the grounder that wires them."""

from .backbones import ShiftConvNet
from .data_preprocessor import GroundingDataPreprocessor
from .features import TextFeatures, VideoFeatures
from .grounders import HERO
from .heads import ContrastiveActionHead, TubeHead
from .necks import HierarchicalReasoningNeck
from .ramped_average import RampedAverage
from .text_encoders import HFTextEncoder, WordTextEncoder
from .video_encoders import VideoEncoder

__all__ = [
    'HERO',
    'ContrastiveActionHead',
    'GroundingDataPreprocessor',
    'HFTextEncoder',
    'HierarchicalReasoningNeck',
    'ShiftConvNet',
    'RampedAverage',
    'TextFeatures',
    'TubeHead',
    'VideoEncoder',
    'VideoFeatures',
    'WordTextEncoder',
]
