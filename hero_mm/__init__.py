"""hero_mm: find, in a video, the tube of boxes that a sentence speaks of.

Importing the package is cheap: it applies the shims of :mod:`hero_mm.compat`
and waits for MMEngine. Once ``mmengine.registry`` is imported, before or
after, the scope ``hero_mm`` is registered; once its loaders of checkpoints
are, those that it lacks are added. A host's own loaders and lists stay as
they are. Models, data sets and the rest are imported when a registry is first
searched.
"""

from importlib import import_module
from types import ModuleType
from typing import Any

from .compat import after_import, apply_all
from .version import __version__

__all__ = ['__version__', 'registry']


def _serve_names(module: ModuleType) -> None:
    import_module('hero_mm.pretrained.fetching').serve_names(module)


def __getattr__(name: str) -> Any:
    if name == 'registry':
        return import_module('hero_mm.registry')
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


apply_all()
after_import('mmengine.registry', lambda _: import_module('hero_mm.registry'))
after_import('mmengine.runner.checkpoint', _serve_names)
