"""Hooks: progress bar, drawn results, broken videos, seeds of epochs."""

from .broken_video_hook import BrokenVideoHook
from .epoch_seed_hook import EpochSeedHook
from .progress_bar_hook import ProgressBarHook
from .tube_visualization_hook import TubeVisualizationHook

__all__ = [
    'BrokenVideoHook',
    'EpochSeedHook',
    'ProgressBarHook',
    'TubeVisualizationHook',
]
