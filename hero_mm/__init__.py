"""hero_mm: find, in a video, the tube of boxes that a sentence speaks of.

Importing the package applies the shims of :mod:`hero_mm.compat`, gives
MMEngine loaders for weights by name and registers the scope ``hero_mm``;
models, data sets and the rest are imported when a registry is first
searched.
"""

from .compat import apply_all
from .pretrained.fetching import register_loaders
from .version import __version__

apply_all()
register_loaders()

from . import registry  # noqa: E402

__all__ = ['__version__', 'registry']
