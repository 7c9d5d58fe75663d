"""Read files of torch and safetensors; no code in them is run.

``weights_only`` of :func:`torch.load` keeps code out from torch 2.10 on. In
an older torch it can be got round, so that files of torch are read only where
this work dir wrote them or the user trusts them.
"""

import argparse
import contextlib
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable, Union

from hero_mm.errors import UserError
from hero_mm.files import write_text

# A class, or what stands in for one with the name that the file says.
Allowed = Union[type, tuple[Callable[..., Any], str]]
TRUST = 'HERO_MM_TRUST_CHECKPOINT'
# Beside checkpoints: the sums of those that a training wrote there, in the
# format of sha256sum.
SUMS = 'checkpoints.sha256'
# How torch says that it refuses an object, and its name.
_REFUSED = re.compile(
    r'unsupported (?:global|class)|unrecognized function|is blocked'
    r'|can only create new object|asks for the attribute|TorchScript',
    re.IGNORECASE,
)
_NAMED = re.compile(
    r'(?:GLOBAL|function|class|attribute) \W?([A-Za-z_][\w.]*)', re.IGNORECASE
)


def read_weights_file(
    path: Union[str, Path],
    map_location: Any = 'cpu',
    allow: tuple[Allowed, ...] = (),
) -> Any:
    """Read a file of torch or safetensors; no code in it is run.

    ``map_location`` is as in :func:`torch.load`; ``allow`` are classes that
    the file may hold besides tensors, plain values and what MMEngine stores.
    Raises FileNotFoundError, or ValueError where it is no checkpoint, is
    truncated, holds other objects, or cannot be read safely by this torch.
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
        # An error of the system is reported as it is; torch raises its own.
        pass
    if path.suffix != '.safetensors':
        refuse_unsafe(path)
    try:
        if path.suffix == '.safetensors':
            from safetensors.torch import load_file

            known = isinstance(map_location, (str, torch.device))
            device = str(map_location) if known else 'cpu'
            return load_file(str(path), device)
        if not _torch_is('2.6'):
            # No class can be allowed; it is the work dir's own or trusted.
            return torch.load(str(path), map_location, weights_only=False)
        with _allowing(allow):
            return torch.load(str(path), map_location, weights_only=True)
    except (ModuleNotFoundError, MemoryError, torch.cuda.OutOfMemoryError):
        raise
    except Exception as error:
        # Bytes at random make the readers raise anything.
        raise UserError(_unreadable(path, error)) from error


def refuse_unsafe(source: Union[str, Path]) -> None:
    """Refuse a file, or name in a store, that this torch cannot read safely.

    A torch before 2.10 reads what the work dir itself wrote.
    """
    if weights_only_is_sound() or os.environ.get(TRUST) == '1':
        return
    path = Path(source)
    noted = _noted(path.parent).get(path.name)
    if noted is not None and noted == _sum(path):
        return
    import torch

    raise UserError(
        f'{source} is not read: torch {torch.__version__} cannot keep code in '
        'a checkpoint from running (CVE-2025-32434 before torch 2.6, '
        'CVE-2026-24747 before 2.10), and this work dir did not write it. '
        'Update torch to 2.10 or later, give a .safetensors file, or, where '
        f'you trust who made it, add --trust-checkpoint ({TRUST}=1 in the '
        'environment does the same)'
    )


def weights_only_is_sound() -> bool:
    """Whether torch reads weights without running code: from 2.10 on."""
    return _torch_is('2.10')


def _torch_is(version: str) -> bool:
    import torch
    from mmengine.utils import digit_version

    return bool(digit_version(torch.__version__) >= digit_version(version))


def add_trust_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--trust-checkpoint`` to the command line of a tool."""
    parser.add_argument(
        '--trust-checkpoint',
        action=_Trust,
        nargs=0,
        help='with torch < 2.10: read checkpoints that this work dir did not '
        'write; code in them could run',
    )


class _Trust(argparse.Action):
    def __call__(self, *args: Any, **options: Any) -> None:
        # Processes that the tool starts trust the files, too.
        os.environ[TRUST] = '1'


def note_written(path: Union[str, Path]) -> None:
    """Note the sum of a checkpoint that was written; for an old torch."""
    if weights_only_is_sound():
        return
    folder, name = Path(path).parent, Path(path).name
    sums = {**_noted(folder), name: _sum(folder / name)}
    there = [f'{sums[n]}  {n}\n' for n in sums if (folder / n).is_file()]
    write_text(folder / SUMS, ''.join(there))


def _noted(folder: Path) -> dict[str, str]:
    file = folder / SUMS
    if not file.is_file():
        return {}
    pairs = (line.split('  ', 1) for line in file.read_text().splitlines())
    return {pair[1]: pair[0] for pair in pairs if len(pair) == 2}


def _sum(path: Path) -> str:
    found = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(1 << 20):
            found.update(block)
    return found.hexdigest()


@contextlib.contextmanager
def _allowing(classes: tuple[Allowed, ...]) -> Iterator[None]:
    """Torch's allow-list for a while: what MMEngine stores, and classes.

    open-mmlab/mmengine#1655: MMEngine 0.10.7 leaves ``weights_only`` to
    torch's default, which is True from torch 2.6, and its message hub is then
    refused. The list of the process, which is the host's, comes back as it
    was; entries of the same name would come in each other's way.
    """
    import torch

    serialization = torch.serialization
    before = serialization.get_safe_globals()
    serialization.clear_safe_globals()
    try:
        serialization.add_safe_globals([*_mmengine_globals(), *classes])
        yield
    finally:
        serialization.clear_safe_globals()
        serialization.add_safe_globals(before)


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
    return [*allowed, *{type(np.dtype(kind)) for kind in kinds}]


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
    raise UserError(
        f'a checkpoint asks for the attribute {name!r} of {owner!r}, which '
        'no checkpoint of MMEngine needs; do not trust this file'
    )


def _unreadable(path: Path, error: Exception) -> str:
    """Say in a paragraph why a checkpoint cannot be read, and the cure."""
    text = str(error).strip()
    if _REFUSED.search(text):
        named = _NAMED.search(text)
        return (
            f'{path} is refused: it holds {named[1] if named else "a program"}'
            ' besides weights, and to read such objects can be to run code, '
            'which may be an attack. The checkpoint of another project is '
            'brought into the names of HERO by tools/model_converters/ '
            '(docs/pretrained.md); otherwise ask its authors for the weights '
            'alone, as .safetensors'
        )
    # What matters stands below the advice of torch, which may be to switch
    # the protection off.
    reason = text.rpartition('WeightsUnpickler error: ')[2]
    reason = (reason.splitlines() or [''])[0].strip().rstrip('.')
    if re.search('weights.only', reason, re.IGNORECASE):
        reason = ''
    return (
        f'{path} is not a readable checkpoint '
        f'({reason or type(error).__name__}): it is truncated, empty or of '
        'another kind, such as a web page. Copy it again, or give the '
        'checkpoint as its authors published it'
    )
