"""Weights that mmdet publishes: ``mmdet://NAME``, by its own metafiles."""

import difflib
import functools
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlparse

from hero_mm.compat import package_folder
from hero_mm.errors import UserError

MMDET = ('mmdet://',)
# Where they are looked for before they are fetched.
FOLDER = 'checkpoints'


@functools.cache
def mmdet_urls() -> dict[str, str]:
    """URLs of all published weights, by the names of the metafiles."""
    folder = package_folder('mmdet')
    files = (
        [] if folder is None else folder.glob('.mim/configs/*/metafile.yml')
    )
    urls = {name: url for path in files for name, url in _read(path)}
    if not urls:
        raise UserError(
            'the names of weights of mmdet stand in its metafiles, and there '
            'are none: pip install mmdet==3.3.0'
        )
    return urls


def _read(path: Path) -> Iterator[tuple[str, str]]:
    # Lines of hundreds of models; to parse the YAML would take seconds.
    text = path.read_text(encoding='utf-8')
    for part in re.split(r'^ *- Name: ', text, flags=re.MULTILINE)[1:]:
        weights = re.search(r'^ *Weights: *(\S+)', part, re.MULTILINE)
        if weights:
            yield part.split(maxsplit=1)[0], weights[1]


def fetch_mmdet(name: str) -> str:
    """The file of weights ``mmdet://NAME``, as its metafile calls the model.

    Returns:
        str: ``checkpoints/FILE`` where it is there, or else the path of the
        file in torch's cache, into which it is fetched.

    Raises:
        ValueError: There is no such name, or the file cannot be had; says
            which one to fetch, and where to put it.
    """
    from .fetching import fetch_url

    model = name.partition('://')[2]
    urls = mmdet_urls()
    if model not in urls:
        near = difflib.get_close_matches(model, urls, 3)
        raise UserError(
            f'{name!r}: mmdet publishes no weights of this name'
            + (f'; near are {", ".join(near)}' if near else '')
        )
    url = urls[model]
    path = Path(FOLDER) / Path(urlparse(url).path).name
    if path.is_file():
        return str(path)
    try:
        return fetch_url(url)
    except OSError as error:
        raise UserError(
            f'{name}: the weights are neither at {path} nor in the cache of '
            f'torch, and could not be fetched. On a machine with internet '
            f'download {url} and put the file at {path.absolute()}, or give '
            f'its path in the place of {name}'
        ) from error
