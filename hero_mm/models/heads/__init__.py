"""Heads: what the features are trained to tell."""

from .contrastive_action_head import ContrastiveActionHead
from .phrase_tube_head import PhraseTubeHead
from .tube_head import TubeHead

__all__ = ['ContrastiveActionHead', 'PhraseTubeHead', 'TubeHead']
