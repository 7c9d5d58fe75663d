"""Proposals: where regions come from."""

from .base import ProposalGenerator
from .frame_samples import pack_proposals

__all__ = ['ProposalGenerator', 'pack_proposals']
