"""Grounders: the models as a whole."""

from .hero import HERO

__all__ = ['HERO']
