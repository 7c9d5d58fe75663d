"""Models: encoders, regions, reasoning, heads and the grounder."""

from .backbones.shift_conv_net import ShiftConvNet
from .data_preprocessor import GroundingDataPreprocessor
from .features import Pyramid, TextFeatures
from .grounders.hero import HERO
from .grounders.zero_shot import ZeroShotGrounder
from .heads.contrastive_action_head import ContrastiveActionHead
from .heads.phrase_tube_head import PhraseTubeHead
from .heads.tube_head import TubeHead
from .linker import RegionLinker
from .necks.hierarchical_reasoning_neck import HierarchicalReasoningNeck
from .proposals.dense_head_proposals import DenseHeadProposals
from .proposals.detector_proposals import DetectorProposals
from .proposals.file_proposals import FileProposals
from .proposals.object_proposals import ObjectProposals
from .ramped_average import RampedAverage
from .region_encoder import RegionEncoder
from .regions import Regions
from .retrieval import FrameRetrieval
from .text_encoders.hf_text_encoder import HFTextEncoder
from .text_encoders.word_text_encoder import WordTextEncoder
from .video_encoders.video_encoder import VideoEncoder

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
