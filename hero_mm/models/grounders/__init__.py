"""Grounders: the models as a whole."""
