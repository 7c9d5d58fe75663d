"""The weights of a checkpoint of any make."""

import argparse
from typing import Any, NamedTuple, Optional

from torch import Tensor

from hero_mm.errors import UserError

from .fetching import read_weights
from .filling import some
from .reading import Allowed

# Entries of a checkpoint that hold weights, the best first.
CONTAINERS = ('model_ema', 'state_dict_ema', 'model', 'state_dict')
# Of DDP, Lightning, torch.compile and MDETR's masks.
WRAPPERS = ('module.', 'model.', '_orig_mod.', 'detr.')


def _path_text(*parts: str) -> str:
    """A path in a file becomes text, on any system."""
    return '/'.join(parts)


# MDETR and its heirs keep their command line, with paths in it; Python 3.13
# moved the module of these.
ALLOWED: tuple[Allowed, ...] = (
    argparse.Namespace,
    (_path_text, 'pathlib.PosixPath'),
    (_path_text, 'pathlib._local.PosixPath'),
)


class Source(NamedTuple):
    """Weights of a checkpoint, and the entry of the file that holds them.

    ``container`` is None where the file is nothing else.
    """

    path: str
    weights: dict[str, Tensor]
    container: Optional[str] = None


def read_source(path: str, container: Optional[str] = None) -> Source:
    """Read the weights of a checkpoint, without the prefixes of wrappers.

    ``path`` is as for :func:`.fetching.fetch`; ``container`` the entry to
    take, by default the moving average where there is one.

    Raises:
        ValueError: It holds no weights, or objects besides weights and the
            command line of its training.
    """
    found = read_weights(path, allow=ALLOWED)
    entries = found if isinstance(found, dict) else {}
    full = [str(name) for name in entries if _tensors(entries[name])]
    taken = container or next((n for n in CONTAINERS if n in full), None)
    tensors = _tensors(found if taken is None else entries.get(taken))
    if not tensors:
        raise UserError(
            f'{path} holds no weights under '
            f'{taken or "one of " + ", ".join(CONTAINERS)}; its entries are '
            f'{some(map(str, entries)) or "none"}, those with weights '
            f'{", ".join(full) or "none"}. Name the right one (--weights '
            'ENTRY), or give the checkpoint as its authors published it'
        )
    return Source(path, _unwrapped(tensors), taken)


def _tensors(entry: Any) -> dict[str, Tensor]:
    """The tensors of an entry; none where it is no dict."""
    entries = entry.items() if isinstance(entry, dict) else ()
    return {str(n): value for n, value in entries if isinstance(value, Tensor)}


def _unwrapped(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Without the prefixes of wrappers, where all names have them."""
    # MMEngine counts the steps of a moving average beside it.
    names = [name for name in weights if name != 'steps']
    for prefix in WRAPPERS:
        inside = [name.startswith(prefix) for name in names]
        # MDETR's masks lie beside the detector that they wrap.
        if inside and (all(inside) or (prefix == 'detr.' and any(inside))):
            inner = {n.removeprefix(prefix): t for n, t in weights.items()}
            # Wrappers may lie in each other.
            return _unwrapped(inner)
    return weights
