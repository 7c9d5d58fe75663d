"""The weights of a checkpoint of any make."""

import argparse
from dataclasses import dataclass
from typing import Any, Optional

from torch import Tensor

from hero_mm.errors import UserError

from .fetching import read_weights
from .filling import some
from .reading import Allowed

# Entries of a checkpoint that hold weights, the best first.
CONTAINERS = ('model_ema', 'state_dict_ema', 'model', 'state_dict')
# Of DDP, Lightning, torch.compile and MDETR's masks.
WRAPPERS = ('module.', 'model.', '_orig_mod.', 'detr.')
# MMEngine counts the steps of a moving average beside it.
COUNTER = 'steps'


def _path_text(*parts: str) -> str:
    """A path in a file becomes text, on any system."""
    return '/'.join(parts)


# MDETR and its heirs keep their command line, with paths in it; Python 3.13
# moved the module of these.
ALLOWED: tuple[Allowed, ...] = (
    argparse.Namespace,
    *(
        (_path_text, f'{module}.{kind}Path')
        for module in ('pathlib', 'pathlib._local')
        for kind in ('Posix', 'PurePosix', 'Windows', 'PureWindows')
    ),
)


@dataclass
class Source:
    """Weights of a checkpoint.

    Attributes:
        path (str): As it was given.
        weights (dict): Names and tensors.
        container (str, optional): The entry that holds them; None where the
            file is nothing else.
        others (list[str]): The other entries.
        odd (list[str]): Entries among the weights that are no tensors.
    """

    path: str
    weights: dict[str, Tensor]
    container: Optional[str]
    others: list[str]
    odd: list[str]


def read_source(path: str, container: Optional[str] = None) -> Source:
    """Read the weights of a checkpoint of any make.

    Args:
        path (str): As :func:`.fetching.fetch`.
        container (str, optional): The entry to take; by default the moving
            average where there is one.

    Returns:
        Source: The weights, without the prefixes of wrappers.

    Raises:
        ValueError: It holds no weights, or objects besides weights and the
            command line of its training.
    """
    found = read_weights(path, allow=ALLOWED)
    if not isinstance(found, dict):
        raise UserError(
            f'{path} holds a {type(found).__name__} where a dict of weights '
            'is expected; give the checkpoint as its authors published it'
        )
    full = [str(name) for name in found if _tensors(found[name])]
    taken = container or next((n for n in CONTAINERS if n in full), None)
    weights = found if taken is None else found.get(taken, {})
    tensors = _tensors(weights)
    if not tensors:
        raise UserError(
            f'{path} holds no weights under '
            f'{taken or "one of " + ", ".join(CONTAINERS)}; its entries are '
            f'{some(map(str, found)) or "none"}, those with weights '
            f'{", ".join(full) or "none"}. Name the right one (--weights '
            'ENTRY), or give the checkpoint as its authors published it'
        )
    odd = [str(name) for name in weights if str(name) not in tensors]
    others = [] if taken is None else [str(n) for n in found if n != taken]
    return Source(path, _unwrapped(tensors), taken, others, odd)


def _tensors(entry: Any) -> dict[str, Tensor]:
    """The tensors of an entry; none where it is no dict."""
    entries = entry.items() if isinstance(entry, dict) else ()
    return {str(n): value for n, value in entries if isinstance(value, Tensor)}


def _unwrapped(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Without the prefixes of wrappers, where all names have them."""
    names = [name for name in weights if name != COUNTER]
    for prefix in WRAPPERS:
        inside = [name.startswith(prefix) for name in names]
        # MDETR's masks lie beside the detector that they wrap.
        if inside and (all(inside) or (prefix == 'detr.' and any(inside))):
            inner = {n.removeprefix(prefix): t for n, t in weights.items()}
            # Wrappers may lie in each other.
            return _unwrapped(inner)
    return weights
