"""Which checkpoint a path means, and what is in it."""

import re
from pathlib import Path
from typing import Any, Union

from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor

from .fetching import FETCHED, STORES, read_weights
from .filling import check_finite, weights_in
from .reading import refuse_unsafe

PathLike = Union[str, Path]
REMOTE = (*FETCHED, *STORES)
# In a work dir: the name of the best checkpoint of its last training.
BEST_FILE = 'best_checkpoint'


def find_checkpoint(path: PathLike) -> str:
    """The checkpoint that a path means: a file, a URL or name, or a work dir.

    Of a work dir it is the best one that the training noted there, else the
    last ``best_*.pth``, or else the last checkpoint, by the number in its
    name. Raises FileNotFoundError where there is none.
    """
    if str(path).startswith(REMOTE):
        return str(path)
    folder = Path(path).expanduser()
    if folder.is_file():
        return str(folder)
    if not folder.is_dir():
        raise FileNotFoundError(
            f'checkpoint {str(path)!r} does not exist; give a .pth file or '
            'the work dir of a training'
        )
    if (folder / BEST_FILE).is_file():
        name = Path((folder / BEST_FILE).read_text().strip()).name
        if name.endswith('.pth') and (folder / name).exists():
            return str(folder / name)
    for pattern in ('best_*.pth', '*.pth'):
        found = sorted(folder.glob(pattern), key=_turn)
        if found:
            return str(found[-1])
    raise FileNotFoundError(
        f'no checkpoint (*.pth) in {str(path)!r}; train first: '
        'python tools/train.py CONFIG --work-dir ' + str(path)
    )


def _turn(path: Path) -> tuple[int, float]:
    """Number of the epoch or iteration in the name, and time of change."""
    number = re.search(r'(\d+)$', path.stem)
    return int(number[1]) if number else -1, path.stat().st_mtime


def read_checkpoint(path: PathLike) -> dict[str, Any]:
    """Read the checkpoint of a file, URL or work dir onto the CPU.

    Names in its ``state_dict`` have no leading ``module.``. Raises
    FileNotFoundError, or ValueError where the file is no checkpoint, is
    truncated, wants to run code, or holds weights that are not finite.
    """
    path = find_checkpoint(path)
    if path.startswith(STORES):
        refuse_unsafe(path)
        found = CheckpointLoader.load_checkpoint(path, map_location='cpu')
    else:
        found = read_weights(path)
    weights = weights_in(found, path, kind=Tensor)
    found = dict(found) if 'state_dict' in found else {}
    found['state_dict'] = {
        name.removeprefix('module.'): value for name, value in weights.items()
    }
    check_finite(found['state_dict'], path)
    return found
