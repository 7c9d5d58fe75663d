"""Hooks: progress bar, drawn results."""

from .broken_video_hook import BrokenVideoHook
from .progress_bar_hook import ProgressBarHook
from .tube_visualization_hook import TubeVisualizationHook

__all__ = ['BrokenVideoHook', 'ProgressBarHook', 'TubeVisualizationHook']
