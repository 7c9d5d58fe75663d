"""Python interface: ask a trained model, load checkpoints."""

from .checkpoint import find_checkpoint, load_weights
from .inferencer import EncodedVideo, TubeInferencer

__all__ = ['EncodedVideo', 'TubeInferencer', 'find_checkpoint', 'load_weights']
