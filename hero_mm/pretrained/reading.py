"""Read files of torch and safetensors; no code in them is run."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable, Union

from ..compat import has_allow_list

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
    # Imported, it puts on torch's list what MMEngine stores.
    import mmengine.runner.checkpoint  # noqa: F401
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
    """Put classes on torch's allow-list for a while."""
    import torch

    if not classes or not has_allow_list():
        yield
        return
    with torch.serialization.safe_globals(list(classes)):
        yield


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
