"""Hooks: what MMEngine's do not see to."""

from .broken_video_hook import BrokenVideoHook
from .checkpoint_hook import SafeCheckpointHook
from .deadline_hook import DeadlineHook
from .epoch_seed_hook import EpochSeedHook
from .finite_loss_hook import FiniteLossHook
from .frozen_norm_hook import FrozenNormHook
from .progress_bar_hook import ProgressBarHook
from .schedule_hook import ScheduleHook
from .training_cost_hook import TrainingCostHook
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
