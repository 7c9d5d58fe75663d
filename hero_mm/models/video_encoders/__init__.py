"""Encoders of the video."""
