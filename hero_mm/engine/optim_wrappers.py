"""Optimizer wrappers that MMEngine lacks."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.optim import OptimWrapper
from mmengine.runner.amp import autocast
from torch import nn

from ..registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class BFloat16OptimWrapper(OptimWrapper):
    """Mixed precision in bfloat16, on the CPU too.

    MMEngine's ``AmpOptimWrapper`` refuses the CPU (0.10.7). bfloat16 has the
    range of float32, so no loss is scaled. ``tools/train.py --amp`` takes
    this wrapper where no accelerator is present. Arguments are those of
    :class:`mmengine.optim.OptimWrapper`.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Run the forward pass of the model in bfloat16.

        Args:
            model (nn.Module): The model in training.
        """
        with super().optim_context(model), autocast(dtype=torch.bfloat16):
            yield
