"""Data structures shared by datasets, models and metrics."""

from .grounding_data_sample import GroundingDataSample

__all__ = ['GroundingDataSample']
