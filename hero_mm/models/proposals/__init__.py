"""Proposals: boxes of mmdet's generators as regions to reason on."""

from .base import ProposalGenerator
from .dense_head_proposals import DenseHeadProposals
from .detector_proposals import DetectorProposals, build_detector
from .file_proposals import FileProposals
from .proposal_set import ProposalSet, pack_proposals
from .roi_encoder import RoIEncoder

__all__ = [
    'DenseHeadProposals',
    'DetectorProposals',
    'FileProposals',
    'ProposalGenerator',
    'ProposalSet',
    'RoIEncoder',
    'build_detector',
    'pack_proposals',
]
