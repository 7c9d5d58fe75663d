"""What MMEngine's engine lacks: hooks, loops, optimizers, wrappers."""

from . import hooks, loops, optim_wrappers
from .loops import BudgetTrainLoop
from .muon_adamw import MuonAdamW
from .optim_wrappers import BFloat16OptimWrapper

__all__ = [
    'BFloat16OptimWrapper',
    'BudgetTrainLoop',
    'MuonAdamW',
    'hooks',
    'loops',
    'optim_wrappers',
]
