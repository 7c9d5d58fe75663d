"""Imported, it lets hero_mm read all checkpoints of the process.

For tools of ours, and for configs: ``custom_imports`` of
``configs/_base_/default_runtime.py`` names it, so that trainings are resumed
under any runner. A host that imports ``hero_mm`` alone keeps its own loaders.
"""

from .fetching import replace_loaders

replace_loaders()
