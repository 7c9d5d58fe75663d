"""The embedded benchmark: rendered videos of moving shapes."""

from .build import build_probes, build_shapes

__all__ = ['build_probes', 'build_shapes']
