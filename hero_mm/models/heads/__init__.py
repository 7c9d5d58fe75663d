"""Heads: what the features are trained to predict."""
