"""Encoders of the video."""

from .video_encoder import VideoEncoder

__all__ = ['VideoEncoder']
