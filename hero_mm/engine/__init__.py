"""What MMEngine's engine lacks: hooks, loops, optimizers, wrappers."""

from . import hooks
from .loops import BudgetTrainLoop
from .muon_adamw import MuonAdamW
from .optim_wrappers import BFloat16OptimWrapper
from .strategy_runner import ShardedStrategy, StrategyRunner

__all__ = [
    'BFloat16OptimWrapper',
    'BudgetTrainLoop',
    'MuonAdamW',
    'ShardedStrategy',
    'StrategyRunner',
    'hooks',
]
