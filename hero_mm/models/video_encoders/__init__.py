"""Encoders of the video."""

from .feature_tower import FeatureTower
from .video_encoder import VideoEncoder

__all__ = ['FeatureTower', 'VideoEncoder']
