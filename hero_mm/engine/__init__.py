"""What MMEngine's engine lacks: hooks, loops, optimizers, wrappers."""

from . import hooks, loops, optim_wrappers
from .loops import BudgetTrainLoop
from .muon_adamw import MuonAdamW
from .optim_wrappers import BFloat16OptimWrapper
from .sharded_strategy import ShardedStrategy
from .strategy_runner import StrategyRunner

__all__ = [
    'BFloat16OptimWrapper',
    'BudgetTrainLoop',
    'MuonAdamW',
    'ShardedStrategy',
    'StrategyRunner',
    'hooks',
    'loops',
    'optim_wrappers',
]
