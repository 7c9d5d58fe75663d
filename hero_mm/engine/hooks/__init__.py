"""Hooks: what MMEngine's do not see to."""

from .checkpoint_hook import SafeCheckpointHook
from .guard_hooks import (
    BrokenVideoHook,
    EpochSeedHook,
    FiniteLossHook,
    FrozenNormHook,
)
from .progress_bar_hook import ProgressBarHook
from .schedule_hook import ScheduleHook
from .training_cost_hook import DeadlineHook, TrainingCostHook
from .tube_visualization_hook import TubeVisualizationHook

__all__ = [
    'BrokenVideoHook',
    'DeadlineHook',
    'EpochSeedHook',
    'FiniteLossHook',
    'FrozenNormHook',
    'ProgressBarHook',
    'SafeCheckpointHook',
    'ScheduleHook',
    'TrainingCostHook',
    'TubeVisualizationHook',
]
