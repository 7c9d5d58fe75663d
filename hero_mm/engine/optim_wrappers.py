"""Optimizer wrappers that MMEngine lacks."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.optim import OptimWrapper
from mmengine.runner.amp import autocast
from torch import nn

from ..registry import OPTIM_WRAPPERS


def has_bfloat16() -> bool:
    """Whether a GPU is here that computes in bfloat16 (Ampere and later)."""
    if not torch.cuda.is_available() or torch.version.cuda is None:
        return False
    return torch.cuda.get_device_capability() >= (8, 0)


@OPTIM_WRAPPERS.register_module()
class BFloat16OptimWrapper(OptimWrapper):
    """Mixed precision in bfloat16 where the GPU has it, else float32.

    bfloat16 has the range of float32, so no loss is scaled. MMEngine's
    ``AmpOptimWrapper`` refuses the CPU (0.10.7).

    Args:
        everywhere (bool): In bfloat16 on any device, a CPU too, as
            ``tools/train.py --amp`` asks for. Defaults to False.
        **kwargs: Of :class:`mmengine.optim.OptimWrapper`.
    """

    def __init__(self, everywhere: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.in_bfloat16 = everywhere or has_bfloat16()

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Run the forward pass of the model in its precision."""
        with super().optim_context(model):
            if not self.in_bfloat16:
                yield
                return
            # Torch before 2.10 kept weights that were cast without gradients
            # for when these are wanted (pytorch issue 112583).
            with autocast(dtype=torch.bfloat16, cache_enabled=False):
                yield
