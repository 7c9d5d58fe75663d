"""Data structures shared by datasets, models and metrics."""

from .grounding_data_sample import GroundingDataSample, to_original
from .transfer import send

__all__ = ['GroundingDataSample', 'send', 'to_original']
