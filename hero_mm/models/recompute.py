"""MMEngine's ``activation_checkpointing`` on the parts of our models."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Callable

from mmengine.runner import activation_checkpointing
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

# The code of what MMEngine puts in the place of a part's ``forward``.
WRAPPED = activation_checkpointing.wrap_forward(len).__code__


def keep_gradients(model: nn.Module) -> None:
    """Let parts that MMEngine checkpoints keep their gradients, in place.

    Torch's reentrant kind, for which it asks, takes no keywords, and gives no
    gradients of what is in a dataclass, nor where no input has one (pixels).
    """
    for module in model.modules():
        forward: Any = vars(module).get('forward')
        wrapped = False
        while getattr(forward, '__code__', None) is WRAPPED:
            wrapped, forward = True, forward.__wrapped__
        if wrapped:
            module.forward = _checkpointed(module, forward)


def _checkpointed(
    module: nn.Module, forward: Callable[..., Any]
) -> Callable[..., Any]:
    """A forward whose activations are computed again for the gradients."""

    @functools.wraps(forward)
    def run(*args: Any, **kwargs: Any) -> Any:
        return checkpoint(
            forward,
            *args,
            use_reentrant=False,
            context_fn=lambda: (nullcontext(), _still_statistics(module)),
            **kwargs,
        )

    return run


@contextmanager
def _still_statistics(module: nn.Module) -> Iterator[None]:
    """Batch norms that see a batch a second time do not count it again."""
    norms = [
        norm
        for norm in module.modules()
        if isinstance(norm, _BatchNorm) and norm.track_running_stats
    ]
    kept = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked = norm.num_batches_tracked.clone()
    try:
        yield
    finally:
        for norm, (momentum, batches) in zip(norms, kept):
            norm.momentum, norm.num_batches_tracked = momentum, batches
