"""hero_mm: find, in a video, the tube of boxes that a sentence speaks of."""

from .version import __version__

__all__ = ['__version__']
