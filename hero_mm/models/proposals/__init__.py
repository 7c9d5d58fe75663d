"""Proposals: where regions come from."""

from .base import ProposalGenerator
from .dense_head_proposals import DenseHeadProposals
from .detector_building import build_detector
from .detector_proposals import DetectorProposals
from .file_proposals import FileProposals
from .frame_samples import pack_proposals
from .object_proposals import ObjectProposals

__all__ = [
    'DenseHeadProposals',
    'DetectorProposals',
    'FileProposals',
    'ObjectProposals',
    'ProposalGenerator',
    'build_detector',
    'pack_proposals',
]
