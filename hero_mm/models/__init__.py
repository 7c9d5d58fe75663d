"""Models: encoders, regions, reasoning, heads and the grounder."""

from .backbones import ShiftConvNet
from .data_preprocessor import GroundingDataPreprocessor
from .features import Pyramid, TextFeatures
from .grounders import HERO, ZeroShotGrounder
from .heads import ContrastiveActionHead, PhraseTubeHead, TubeHead
from .linker import RegionLinker
from .necks import HierarchicalReasoningNeck
from .proposals import (
    DenseHeadProposals,
    DetectorProposals,
    FileProposals,
    ObjectProposals,
)
from .ramped_average import RampedAverage
from .region_encoder import RegionEncoder
from .regions import Regions
from .retrieval import FrameRetrieval
from .text_encoders import HFTextEncoder, WordTextEncoder
from .video_encoders import VideoEncoder

__all__ = [
    'HERO',
    'ContrastiveActionHead',
    'DenseHeadProposals',
    'DetectorProposals',
    'FileProposals',
    'FrameRetrieval',
    'GroundingDataPreprocessor',
    'HFTextEncoder',
    'HierarchicalReasoningNeck',
    'ObjectProposals',
    'PhraseTubeHead',
    'Pyramid',
    'RampedAverage',
    'RegionEncoder',
    'RegionLinker',
    'Regions',
    'ShiftConvNet',
    'TextFeatures',
    'TubeHead',
    'VideoEncoder',
    'WordTextEncoder',
    'ZeroShotGrounder',
]
