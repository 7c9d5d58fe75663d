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
    """Copy values to a device; the host goes on at once.

    Args:
        values (Tensor or Sequence): A tensor of the host, or numbers.
        device (torch.device): Where to.
        **kind: ``dtype``, as :func:`torch.as_tensor` takes it.
    """
    tensor = torch.as_tensor(values, **kind)
    if torch.device(device).type == 'cuda' and not tensor.is_cuda:
        # Only from pinned memory a copy runs beside the host.
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
