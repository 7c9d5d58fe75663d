"""What MMEngine's engine lacks: hooks and optimizer wrappers."""

from . import hooks, optim_wrappers
from .optim_wrappers import BFloat16OptimWrapper

__all__ = ['BFloat16OptimWrapper', 'hooks', 'optim_wrappers']
