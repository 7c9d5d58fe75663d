"""Read files of torch and safetensors; no code in them is run."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable, Union

# A class, or what stands in for one with the name that the file says.
Allowed = Union[type, tuple[Callable[..., Any], str]]
HEAD = 24
# How torch names what it refuses.
_REFUSED = re.compile(r'(?:GLOBAL|function|class) ([A-Za-z_][\w.]*)')


def read_weights_file(
    path: Union[str, Path],
    map_location: Any = 'cpu',
    allow: tuple[Allowed, ...] = (),
) -> Any:
    """Read a file of torch or safetensors; no code in it is run.

    Args:
        path (str or Path): The file.
        map_location (Any): As in :func:`torch.load`.
        allow (tuple): Classes that the file may hold besides tensors, plain
            values and what MMEngine stores.

    Returns:
        Any: What the file holds.

    Raises:
        FileNotFoundError: When there is no such file.
        ValueError: When it is no checkpoint, is truncated or holds objects
            of other classes.
    """
    import torch

    path = Path(path).expanduser()
    if not path.is_file():
        found = 'is a folder' if path.is_dir() else 'does not exist'
        raise FileNotFoundError(
            f'{path} {found}; give a checkpoint file, a URL, '
            'torchvision://NAME or hf://OWNER/NAME/FILE'
        )
    with open(path, 'rb'):
        # An error of the system is told as such; torch raises some of its own.
        pass
    try:
        if path.suffix == '.safetensors':
            return _read_safetensors(path, map_location)
        with _allowing(allow):
            return torch.load(
                str(path), map_location=map_location, weights_only=True
            )
    except (
        ModuleNotFoundError,
        MemoryError,
        torch.cuda.OutOfMemoryError,
    ):
        raise
    except Exception as error:
        # Bytes at random make the readers raise anything.
        raise ValueError(unreadable(path, error)) from error


def _read_safetensors(path: Path, map_location: Any) -> Any:
    import torch
    from safetensors.torch import load_file

    known = isinstance(map_location, (str, torch.device))
    return load_file(str(path), device=str(map_location) if known else 'cpu')


@contextlib.contextmanager
def _allowing(classes: tuple[Allowed, ...]) -> Iterator[None]:
    """Torch's allow-list for a while: what MMEngine stores, and classes.

    open-mmlab/mmengine#1655: MMEngine 0.10.7 leaves ``weights_only`` to
    torch's default, which is True from torch 2.6, and its message hub is then
    refused. The list of the process, which is the host's, comes back as it
    was; entries of the same name would come in each other's way.
    """
    import torch

    if not has_allow_list():
        yield
        return
    serialization = torch.serialization
    before = serialization.get_safe_globals()
    serialization.clear_safe_globals()
    try:
        serialization.add_safe_globals([*_mmengine_globals(), *classes])
        yield
    finally:
        serialization.clear_safe_globals()
        serialization.add_safe_globals(before)


def has_allow_list() -> bool:
    """Whether torch takes a list of allowed classes by their names.

    It has one since 2.5, without names: an entry that is a pair breaks every
    ``torch.load`` there.
    """
    import torch
    from mmengine.utils import digit_version

    return bool(digit_version(torch.__version__) >= digit_version('2.6'))


def _mmengine_globals() -> list[Any]:
    """What MMEngine's message hub, schedules and meta data are made of."""
    import numpy as np

    core = getattr(np, '_core', None) or np.core
    allowed: list[Any] = [
        *_stored_methods(),
        np.ndarray,
        np.dtype,
        (_restricted_getattr, 'builtins.getattr'),
    ]
    for where in ('numpy.core.multiarray', 'numpy._core.multiarray'):
        for name in ('_reconstruct', 'scalar'):
            allowed.append((getattr(core.multiarray, name), f'{where}.{name}'))
    kinds = ('f2', 'f4', 'f8', 'i1', 'i2', 'i4', 'i8', 'u1', 'b1')
    allowed.extend({type(np.dtype(kind)) for kind in kinds})
    return allowed


def _stored_methods() -> dict[type, tuple[str, ...]]:
    """Classes of which a checkpoint stores methods, and their names."""
    from mmengine.logging import HistoryBuffer
    from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler

    return {
        HistoryBuffer: ('min', 'max', 'current', 'mean'),
        OneCycleParamScheduler: ('_annealing_cos', '_annealing_linear'),
    }


def _restricted_getattr(owner: Any, name: str) -> Any:
    """``getattr`` for unpickling: what MMEngine stores alone."""
    methods = _stored_methods()
    if isinstance(owner, type) and name in methods.get(owner, ()):
        return getattr(owner, name)
    raise ValueError(
        f'a checkpoint asks for the attribute {name!r} of {owner!r}, which '
        'no checkpoint of MMEngine needs; do not trust this file'
    )


def unreadable(path: Union[str, Path], error: Exception) -> str:
    """Say in a few words why a checkpoint cannot be read.

    Args:
        path (str or Path): The file.
        error (Exception): Of torch's or safetensors' reader.

    Returns:
        str: A paragraph that names the file and the cure.
    """
    start = f'{path} is not a readable checkpoint'
    text = str(error).strip()
    if re.search(r'Unsupported (global|class)|unrecognized function', text):
        refused = _REFUSED.search(text)
        name = f' {refused[1]}' if refused else ''
        old = (
            ''
            if has_allow_list()
            else ' (torch < 2.6 has no list of allowed classes: checkpoints '
            'of MDETR, TubeDETR and MMEngine need torch >= 2.6)'
        )
        return (
            f'{start}: it wants{name}, which is no weight and is refused, '
            f'since it could run code{old}. A checkpoint of another project '
            'is read by tools/model_converters/; of a file that you trust, '
            'torch.load(FILE, weights_only=False) gives the weights to save '
            'alone'
        )
    # What matters stands below the advice of torch.
    reason = text.rpartition('WeightsUnpickler error: ')[2]
    reason = (reason.splitlines() or [''])[0].strip().rstrip('.')
    return (
        f'{start} ({reason or type(error).__name__}): it is truncated or of '
        f'another kind.{_beginning(path)} Copy it again, or give the '
        'checkpoint as its authors published it'
    )


def _beginning(path: Union[str, Path]) -> str:
    """What a text in the place of a checkpoint begins with."""
    with contextlib.suppress(OSError):
        with open(path, 'rb') as file:
            head = file.read(HEAD)
        if not head:
            return ' It is empty.'
        if head.isascii() and head.decode().replace('\n', ' ').isprintable():
            # A web page, say, or a pointer of Git LFS.
            return f' It begins with {head.decode()!r}.'
    return ''
