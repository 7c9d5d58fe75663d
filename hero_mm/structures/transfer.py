"""From Python values to a device, without waiting for it."""

from collections.abc import Sequence
from typing import Any, Union

import torch
from torch import Tensor


def send(
    values: Union[Tensor, Sequence[Any]],
    device: Union[str, torch.device],
    **kind: Any,
) -> Tensor:
    """Copy a tensor of the host, or numbers (``dtype`` as
    :func:`torch.as_tensor` takes it), to a device; the host goes on at once.
    """
    tensor = torch.as_tensor(values, **kind)
    if torch.device(device).type == 'cuda' and not tensor.is_cuda:
        # Only from pinned memory a copy runs beside the host.
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
