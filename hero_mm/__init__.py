"""hero_mm: find, in a video, the tube of boxes that a sentence speaks of.

Importing the package applies the shims of :mod:`hero_mm.compat`, gives
MMEngine loaders for names that it has none for and registers the scope
``hero_mm``; a host's own loaders and lists stay as they are;
models, data sets and the rest are imported when a registry is first
searched.
"""

from .compat import apply_all
from .pretrained.fetching import serve_names
from .version import __version__

apply_all()
serve_names()

from . import registry  # noqa: E402

__all__ = ['__version__', 'registry']
