"""Hooks: progress bar, drawn results."""

from .progress_bar_hook import ProgressBarHook
from .tube_visualization_hook import TubeVisualizationHook

__all__ = ['ProgressBarHook', 'TubeVisualizationHook']
