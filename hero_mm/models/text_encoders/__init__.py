"""Encoders of the sentence."""
