"""Data structures shared by datasets, models and metrics."""

from .actions import (
    action_numbers,
    true_in_clip,
    true_of_query,
    true_of_tracks,
)
from .grounding_data_sample import GroundingDataSample, to_original
from .transfer import send

__all__ = [
    'GroundingDataSample',
    'action_numbers',
    'send',
    'to_original',
    'true_in_clip',
    'true_of_query',
    'true_of_tracks',
]
