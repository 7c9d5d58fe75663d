"""Reasoning between encoders and heads."""
