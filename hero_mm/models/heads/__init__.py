"""Heads: what the features are trained to tell."""

from .contrastive_action_head import ContrastiveActionHead
from .tube_head import TubeHead

__all__ = ['ContrastiveActionHead', 'TubeHead']
