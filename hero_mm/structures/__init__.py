"""Data structures shared by datasets, models and metrics."""

from .boxes import to_original
from .grounding_data_sample import GroundingDataSample

__all__ = ['GroundingDataSample', 'to_original']
