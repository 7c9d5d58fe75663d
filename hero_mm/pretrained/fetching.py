"""Weights by name: ``hf://``, URLs, ``torchvision://``; safely.

MMEngine looks up a loader for every checkpoint by the beginning of its name
(``load_from``, ``init_cfg``). Here is one that knows Hugging Face too, says
what to do offline, needs no torchvision and runs no code of a checkpoint.
"""

import os
import re
from http.client import HTTPException
from pathlib import Path
from types import ModuleType
from typing import Any, Optional
from urllib.parse import urlparse
from urllib.request import url2pathname

from hero_mm.errors import UserError

from .reading import Allowed, read_weights_file, refuse_unsafe

HUGGINGFACE = ('hf://', 'huggingface://')
URLS = ('http://', 'https://')
TORCHVISION = ('torchvision://', 'modelzoo://')
FILES = ('file://',)
# What is fetched once and kept.
CACHED = (*HUGGINGFACE, *URLS, *TORCHVISION)
FETCHED = (*CACHED, *FILES)
# Read by MMEngine's own loaders.
STORES = ('s3://', 'petrel://', 'openmmlab://', 'open-mmlab://', 'mmcls://')
# MMEngine tries the other names first, so that this serves local files alone.
LOCAL_SAFETENSORS = r'.*\.safetensors$'
# Where nobody else serves them.
OURS = r'(?:hf|huggingface)://'


def fetch(source: str) -> str:
    """Bring a checkpoint onto this machine: a name, or a path as it is.

    Raises OSError, which says where to put it by hand, or ValueError where the
    name is none.
    """
    if source.startswith(HUGGINGFACE):
        found = re.fullmatch(
            r'\w+://([^/]+/[^/@]+)(?:@([^/]+))?/([^/]+(?:/[^/]+)*)', source
        )
        if found is None:
            raise UserError(
                f'{source!r} names no file on Hugging Face; give '
                'hf://OWNER/NAME/FILE, or hf://OWNER/NAME@REVISION/FILE'
            )
        repo, revision, file = found.groups()
        return _from_hub(source, repo, revision, filename=file)
    if source.startswith(TORCHVISION):
        return fetch_url(torchvision_url(source))
    if source.startswith(URLS):
        return fetch_url(source)
    if source.startswith(FILES):
        return url2pathname(urlparse(source).path)
    return source


def fetch_repository(name: str, patterns: list[str]) -> str:
    """The folder of a repository ``hf://OWNER/NAME[@REVISION]``, fetched.

    ``patterns`` are its files, as the shell names them. Raises OSError, which
    says how to get it by hand, or ValueError where the name is none.
    """
    found = re.fullmatch(r'\w+://([\w.-]+/[\w.-]+)(?:@([\w./-]+))?/?', name)
    if found is None:
        raise UserError(
            f'{name!r} names no model package; give hf://OWNER/NAME, or '
            'hf://OWNER/NAME@REVISION'
        )
    return _from_hub(name, *found.groups(), allow_patterns=patterns)


def _from_hub(
    name: str, repo: str, revision: Optional[str], **options: Any
) -> str:
    """Download a file or a repository; what goes wrong is said in words."""
    import huggingface_hub as hub

    file = options.get('filename', '')
    download = hub.hf_hub_download if file else hub.snapshot_download
    try:
        return str(download(repo, revision=revision, **options))
    except Exception as error:
        # Errors of the network have no common class over its versions.
        cause = error
    lines = str(cause).strip().splitlines() or [type(cause).__name__]
    reason = lines[0].rstrip('.')
    if hub.constants.HF_HUB_OFFLINE:
        reason += (
            '. HF_HUB_OFFLINE=1 is set, so that nothing was asked of the hub; '
            'unset it where there is internet'
        )
    command = ' '.join(['hf download', repo, file]).strip()
    if revision:
        command += f' --revision {revision}'
    place = f'FOLDER/{file}'.rstrip('/')
    raise OSError(
        f'{name} is not in the cache ({hub.constants.HF_HUB_CACHE}) and could '
        f'not be fetched: {reason}. By hand, on a machine with internet: '
        f'{command} --local-dir FOLDER; then give {place} in the place of '
        f'{name}'
    ) from cause


def fetch_url(url: str) -> str:
    """Download a file, or take it from torch's cache.

    Of several processes the first one downloads. As torch does, files of one
    name are taken for the same. OSError says where to put it by hand.
    """
    from mmengine.dist import barrier, get_rank
    from torch import hub

    name = Path(urlparse(url).path).name
    if not name:
        raise UserError(
            f'{url} names no file; give the URL of the checkpoint itself'
        )
    path = Path(hub.get_dir()) / 'checkpoints' / name
    try:
        if get_rank() == 0:
            _download(url, path)
    finally:
        # Where the first process fails the others must not wait for it.
        barrier()
    _download(url, path)
    return str(path)


def _download(url: str, path: Path) -> None:
    from torch import hub

    if path.is_file():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        hub.download_url_to_file(url, str(path), progress=os.isatty(2))
    except (OSError, RuntimeError, HTTPException) as error:
        raise OSError(
            f'{url} could not be fetched: {error}. On a machine offline '
            f'download it elsewhere and put it at {path}, or give the path '
            'of the file in the place of the URL'
        ) from error


def torchvision_url(name: str) -> str:
    """The URL behind ``torchvision://resnet101``.

    Without torchvision the names of MMEngine's own table are known.
    """
    import mmengine
    from mmengine.runner.checkpoint import get_torchvision_models

    try:
        known, source = get_torchvision_models(), 'torchvision'
    except (ImportError, OSError, RuntimeError):
        # Absent, or built for another torch.
        table = Path(mmengine.__file__).parent / 'hub/torchvision_0.12.json'
        known = mmengine.load(str(table))
        source = "MMEngine's table (install torchvision to know the newer)"
    model = name.partition('://')[2].replace('_Weights', '').lower()
    if model not in known:
        raise UserError(f'{name!r}: {source} knows no {model!r}')
    return str(known[model])


def read_weights(
    source: str, map_location: Any = 'cpu', allow: tuple[Allowed, ...] = ()
) -> Any:
    """Fetch a checkpoint and read it; no code in it is run.

    As :func:`fetch` and :func:`.reading.read_weights_file`, whose errors say
    where the file was fetched from, too.
    """
    path = fetch(source)
    try:
        return read_weights_file(path, map_location, allow)
    except ValueError as error:
        if not source.startswith(CACHED):
            raise
        raise UserError(
            f'{error}. It was fetched from {source}: delete the file, and it '
            'is fetched again'
        ) from error


def load_from_hero_mm(filename: str, map_location: Any = None) -> Any:
    """Loader of MMEngine, which logs the end of its name."""
    return read_weights(filename, map_location)


def serve_names(module: ModuleType) -> None:
    """Give ``mmengine.runner.checkpoint`` loaders of what it has none for.

    As an expression, so that a host can register ``hf://`` for itself: its own
    then goes first.
    """
    loader = module.CheckpointLoader
    for prefix in (OURS, LOCAL_SAFETENSORS):
        if prefix not in loader._schemes:
            loader.register_scheme(prefix, load_from_hero_mm)


def replace_loaders() -> None:
    """Let this module read all names and local files of the process.

    So that what MMEngine itself stores can be resumed from, and that weights
    which fill nothing are an error. For tools and configs that ask for it.
    """
    from mmengine.runner import checkpoint

    from .filling import watched, weights_in

    loader: Any = checkpoint.CheckpointLoader
    loader.register_scheme(
        (*FETCHED, LOCAL_SAFETENSORS, ''), load_from_hero_mm, force=True
    )
    if loader.load_checkpoint.__module__ == __name__:
        return
    load, last = loader.load_checkpoint, ['the weights']

    def load_checkpoint(filename: str, *args: Any, **options: Any) -> Any:
        last[0] = str(filename)
        if last[0].startswith(STORES):
            refuse_unsafe(filename)
        found = load(filename, *args, **options)
        weights_in(found, filename)
        return found

    loader.load_checkpoint = staticmethod(load_checkpoint)
    checkpoint.load_state_dict = watched(
        checkpoint.load_state_dict, lambda: last[0]
    )
