"""AdamW whose steps of matrices are orthogonalised (Muon).

Weights of linear layers and convolutions step by the nearest orthogonal
matrix to their momentum (K. Jordan et al., 2024, "Muon"); all else steps as in
AdamW.

Shape legend: N matrices of one shape, R rows, C columns.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Union

import torch
from torch import Tensor

from hero_mm.errors import UserError
from hero_mm.registry import OPTIMIZERS

# Of the quintic iteration that pulls all singular values towards 1.
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonalise(x_NRC: Tensor, steps: int = 3) -> Tensor:
    """Pull the singular values of matrices towards 1 (Newton-Schulz).

    After 3 steps all but the smallest values lie in [0.5, 1.3].
    """
    if x_NRC.shape[1] > x_NRC.shape[2]:
        return orthogonalise(x_NRC.transpose(1, 2), steps).transpose(1, 2)
    a, b, c = _COEFFICIENTS
    size = x_NRC.flatten(1).norm(dim=1)[:, None, None]
    x = x_NRC / size.clamp(min=1e-12)
    # All steps are polynomials of x x', which is R x R; C may be far more.
    square = x @ x.transpose(1, 2)
    one = torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    whole = None
    for number in range(1, steps + 1):
        step = a * one + b * square + c * square @ square
        whole = step if whole is None else step @ whole
        if number < steps:
            square = step @ square @ step
    return x if whole is None else whole @ x


@OPTIMIZERS.register_module()
class MuonAdamW(torch.optim.AdamW):
    """Muon for matrices, AdamW for the rest, with one learning rate.

    Steps of matrices are scaled to the size of AdamW's (arXiv 2502.16982), so
    that a schedule for AdamW serves both.

    Args:
        params (Iterable): Parameters or groups of them.
        lr (float): Learning rate.
        momentum (float): Of the matrices. Defaults to 0.95.
        min_side (int): Rows and columns from which on a weight, its first
            axis against all others, is a matrix. Defaults to 8.
        **kwargs: Of :class:`torch.optim.AdamW`.
    """

    def __init__(
        self,
        params: Iterable[Union[Tensor, dict[str, Any]]],
        lr: float = 1e-3,
        momentum: float = 0.95,
        min_side: int = 8,
        **kwargs: Any,
    ) -> None:
        if not 0 <= momentum < 1:
            raise UserError(f'momentum must be in [0, 1), got {momentum}')
        groups: list[dict[str, Any]] = []
        for given in params:
            group = given if isinstance(given, dict) else dict(params=[given])
            held = group['params']
            held = [held] if isinstance(held, Tensor) else list(held)
            for muon in (True, False):
                part = [p for p in held if _is_matrix(p, min_side) == muon]
                if part:
                    groups.append({**group, 'params': part, 'muon': muon})
        super().__init__(_merged(groups), lr=lr, **kwargs)
        self.momentum = momentum
        # A scaler of gradients must undo its scale before the step.
        self._step_supports_amp_scaling = False

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Step all parameters that have a gradient."""
        whole = self.param_groups
        for group in whole:
            if group['muon']:
                self._step_matrices(group)
        self.param_groups = [group for group in whole if not group['muon']]
        try:
            if self.param_groups:
                super().step()
        finally:
            self.param_groups = whole

    def _step_matrices(self, group: dict[str, Any]) -> None:
        """Matrices of one shape together: many small products at once."""
        alike: dict[Any, list[Any]] = defaultdict(list)
        for weight in group['params']:
            if weight.grad is not None:
                kind = (len(weight), weight.numel(), weight.device)
                alike[kind + (weight.dtype,)].append(weight)
        for (rows, total, *_), weights in alike.items():
            columns = total // rows
            momentum = []
            for weight in weights:
                state = self.state[weight]
                if not state:
                    state['momentum'] = torch.zeros_like(weight)
                    # Asked for where AdamW's states are loaded.
                    state['step'] = torch.tensor(0.0)
                state['step'] += 1
                state['momentum'].lerp_(weight.grad, 1 - self.momentum)
                # Nesterov's look ahead.
                ahead = weight.grad.lerp(state['momentum'], self.momentum)
                momentum.append(ahead.reshape(rows, columns))
            steps = orthogonalise(torch.stack(momentum))
            size = group['lr'] * 0.2 * max(rows, columns) ** 0.5
            for weight, step in zip(weights, steps):
                weight.mul_(1 - group['lr'] * group['weight_decay'])
                weight.sub_(step.view(weight.shape), alpha=size)


def _is_matrix(weight: Tensor, min_side: int) -> bool:
    if weight.dim() < 2 or not weight.numel():
        return False
    return min(len(weight), weight[0].numel()) >= min_side


def _merged(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Groups of equal options in one: more matrices step together."""
    merged: list[dict[str, Any]] = []
    for group in groups:
        options = {k: v for k, v in group.items() if k != 'params'}
        for other in merged:
            if {k: v for k, v in other.items() if k != 'params'} == options:
                other['params'] = other['params'] + group['params']
                break
        else:
            merged.append(group)
    return merged
