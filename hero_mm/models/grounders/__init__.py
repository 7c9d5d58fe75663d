"""Grounders: the models as a whole."""

from .hero import HERO
from .zero_shot import ZeroShotGrounder

__all__ = ['HERO', 'ZeroShotGrounder']
