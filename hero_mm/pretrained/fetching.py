"""Weights by name: ``hf://``, URLs and ``torchvision://``, read safely.

MMEngine looks up a loader for every checkpoint by the beginning of its name
(``load_from``, ``init_cfg=dict(type='Pretrained', ...)``). Here are loaders
for Hugging Face, and for URLs and torchvision ones that say what to do on a
machine offline; none needs torchvision, and none runs code of a checkpoint.
"""

import contextlib
import difflib
import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, Optional, Union
from urllib.parse import urlparse

from ..compat import after_import

HUGGINGFACE = ('hf://', 'huggingface://')
URLS = ('http://', 'https://')
TORCHVISION = ('torchvision://', 'modelzoo://')
FETCHED = (*HUGGINGFACE, *URLS, *TORCHVISION)
# MMEngine tries longer names first, so that this serves local files alone.
LOCAL_SAFETENSORS = r'.*\.safetensors$'


class HuggingFaceFile(NamedTuple):
    """A file on the Hugging Face hub."""

    repo: str
    file: str
    revision: Optional[str] = None


def parse_huggingface(name: str) -> HuggingFaceFile:
    """Take a name such as ``hf://owner/name@revision/folder/file`` apart.

    Args:
        name (str): The name; ``@revision`` may be left out.

    Returns:
        HuggingFaceFile: Its parts.

    Raises:
        ValueError: When a part is missing.
    """
    parts = name.partition('://')[2].split('/')
    if len(parts) < 3 or not all(parts):
        raise ValueError(
            f'{name!r} names no file on Hugging Face; give '
            'hf://OWNER/NAME/FILE, or hf://OWNER/NAME@REVISION/FILE'
        )
    model, _, revision = parts[1].partition('@')
    return HuggingFaceFile(
        f'{parts[0]}/{model}', '/'.join(parts[2:]), revision or None
    )


def fetch_huggingface(name: str) -> str:
    """Download a file of Hugging Face, or take it from the cache.

    Args:
        name (str): ``hf://OWNER/NAME[@REVISION]/FILE``.

    Returns:
        str: Path of the file.

    Raises:
        OSError: When it cannot be had; says how to get it by hand.
        ValueError: When the name is none.
    """
    from huggingface_hub import constants, hf_hub_download

    wanted = parse_huggingface(name)
    try:
        return str(
            hf_hub_download(wanted.repo, wanted.file, revision=wanted.revision)
        )
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        offline = ''
        if constants.HF_HUB_OFFLINE:
            offline = (
                ' HF_HUB_OFFLINE=1 is set, so that nothing was asked of the '
                'hub; unset it where there is internet.'
            )
        at = f' --revision {wanted.revision}' if wanted.revision else ''
        raise OSError(
            f'{name}: {wanted.file} of {wanted.repo} is not in the cache '
            f'({constants.HF_HUB_CACHE}) and could not be fetched: {reason}.'
            f'{offline} By hand, on a machine with internet: hf download '
            f'{wanted.repo} {wanted.file}{at} --local-dir FOLDER; then give '
            f'FOLDER/{wanted.file} in the place of {name}'
        ) from error


def fetch_url(url: str) -> str:
    """Download a file, or take it from torch's cache.

    Of several processes the first one downloads.

    Args:
        url (str): Where it is.

    Returns:
        str: Path of the file.

    Raises:
        OSError: When it cannot be had; says where to put it by hand.
    """
    from mmengine.dist import barrier, get_rank
    from torch import hub

    folder = Path(hub.get_dir()) / 'checkpoints'
    path = folder / Path(urlparse(url).path).name
    try:
        if get_rank() == 0:
            _download(url, path)
    finally:
        # Where the first process fails the others must not wait for it.
        barrier()
    if not path.is_file():
        _download(url, path)
    return str(path)


def _download(url: str, path: Path) -> None:
    from torch import hub

    if path.is_file():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        hub.download_url_to_file(url, str(path), progress=os.isatty(2))
    except (OSError, RuntimeError) as error:
        raise OSError(
            f'{url} could not be fetched: {error}. On a machine offline '
            f'download it elsewhere and put it at {path}, or give the path '
            'of the file in the place of the URL'
        ) from error


def torchvision_url(name: str) -> str:
    """The URL behind ``torchvision://resnet101``.

    Args:
        name (str): The name; without torchvision those of MMEngine's own
            table are known.

    Returns:
        str: The URL.

    Raises:
        ValueError: When there is no such model; names the nearest ones.
    """
    from mmengine.runner.checkpoint import get_torchvision_models

    known, source = {}, 'torchvision'
    try:
        known = get_torchvision_models()
    except (ImportError, OSError, RuntimeError):
        # Absent, or built for another torch.
        import mmengine

        table = Path(mmengine.__file__).parent / 'hub/torchvision_0.12.json'
        known = mmengine.load(str(table))
        source = "MMEngine's table (install torchvision to know the newer)"
    model = name.partition('://')[2].replace('_Weights', '').lower()
    if model not in known:
        near = difflib.get_close_matches(model, known, 3)
        raise ValueError(
            f'{name!r}: {source} knows no {model!r}'
            + (f'; near are {", ".join(near)}' if near else '')
        )
    return str(known[model])


def fetch(source: str) -> str:
    """Bring a checkpoint onto this machine.

    Args:
        source (str): A path, which is returned, or a name that begins with
            one of ``FETCHED``.

    Returns:
        str: Path of the file.

    Raises:
        OSError: When it cannot be had.
        ValueError: When the name is none.
    """
    if source.startswith(HUGGINGFACE):
        return fetch_huggingface(source)
    if source.startswith(TORCHVISION):
        return fetch_url(torchvision_url(source))
    if source.startswith(URLS):
        return fetch_url(source)
    return source


def read_weights_file(
    path: Union[str, Path],
    map_location: Any = 'cpu',
    allow: tuple[type, ...] = (),
) -> Any:
    """Read a file of torch or safetensors; no code in it is run.

    Args:
        path (str or Path): The file.
        map_location (Any): As in :func:`torch.load`.
        allow (tuple[type]): Classes that the file may hold besides tensors
            and plain values.

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
        raise FileNotFoundError(
            f'{path} does not exist; give a checkpoint file, a URL, '
            'torchvision://NAME or hf://OWNER/NAME/FILE'
        )
    try:
        if path.suffix == '.safetensors':
            return _read_safetensors(path, map_location)
        with _allowing(allow):
            return torch.load(
                str(path), map_location=map_location, weights_only=True
            )
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError) as error:
        raise ValueError(unreadable(path, error)) from error


def _read_safetensors(path: Path, map_location: Any) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    device = 'cpu' if map_location is None else str(map_location)
    try:
        return load_file(str(path), device=device)
    except SafetensorError as error:
        raise ValueError(unreadable(path, error)) from error


@contextlib.contextmanager
def _allowing(classes: tuple[type, ...]) -> Iterator[None]:
    """Put classes on torch's allow-list for a while."""
    import torch

    # torch < 2.5 has none, and refuses the file instead.
    safe_globals = getattr(torch.serialization, 'safe_globals', None)
    if safe_globals is None or not classes:
        yield
        return
    with safe_globals(list(classes)):
        yield


def unreadable(path: Union[str, Path], error: Exception) -> str:
    """Say in a few words why a checkpoint cannot be read.

    Args:
        path (str or Path): The file.
        error (Exception): Of torch's or safetensors' reader.
    """
    lines = str(error).strip().split('\n')
    # What is refused stands below the advice of torch.
    told = [line for line in lines if 'Unsupported' in line]
    reason = (told or lines)[0].strip().split('. Please use')[0]
    return (
        f'{path} is not a readable checkpoint ({reason}). It may be '
        'truncated, of another kind, or hold objects other than weights, '
        'which are refused; copy it again or export its state_dict'
    )


def load_from_huggingface(filename: str, map_location: Any = None) -> Any:
    """Loader of MMEngine for ``hf://`` and ``huggingface://``.

    Args:
        filename (str): ``hf://OWNER/NAME[@REVISION]/FILE``.
        map_location (Any): As in :func:`torch.load`.
    """
    return read_weights_file(fetch_huggingface(filename), map_location)


def load_from_http(filename: str, map_location: Any = None) -> Any:
    """Loader of MMEngine for URLs.

    Args:
        filename (str): The URL.
        map_location (Any): As in :func:`torch.load`.
    """
    return read_weights_file(fetch_url(filename), map_location)


def load_from_torchvision(filename: str, map_location: Any = None) -> Any:
    """Loader of MMEngine for ``torchvision://``, with or without torchvision.

    Args:
        filename (str): ``torchvision://NAME``.
        map_location (Any): As in :func:`torch.load`.
    """
    return read_weights_file(
        fetch_url(torchvision_url(filename)), map_location
    )


def load_from_safetensors(filename: str, map_location: Any = None) -> Any:
    """Loader of MMEngine for local files of safetensors.

    Args:
        filename (str): The path.
        map_location (Any): As in :func:`torch.load`.
    """
    return read_weights_file(filename, map_location)


def register_loaders() -> None:
    """Give MMEngine the loaders; does so once it is imported."""

    def action(module: ModuleType) -> None:
        for prefixes, loader in (
            (HUGGINGFACE, load_from_huggingface),
            (URLS, load_from_http),
            (TORCHVISION, load_from_torchvision),
            (LOCAL_SAFETENSORS, load_from_safetensors),
        ):
            module.CheckpointLoader.register_scheme(
                prefixes, loader, force=True
            )

    after_import('mmengine.runner.checkpoint', action)
