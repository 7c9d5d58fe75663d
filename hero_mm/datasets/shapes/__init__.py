"""The embedded benchmark: rendered videos of moving shapes."""

from hero_mm.datasets.shapes.build import build_probes, build_shapes

__all__ = ['build_probes', 'build_shapes']
