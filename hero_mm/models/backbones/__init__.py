"""Video backbones of our own; the MM family's are used by their prefix."""
