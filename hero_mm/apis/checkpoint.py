"""Checkpoints: find them, and load them whole or not at all.

MMEngine loads what fits and logs the rest, so that a checkpoint of another
config gives a model with random parts. Here a difference is an error.
"""

import logging
import os
import re
from pathlib import Path
from typing import Any, Optional, Union, cast

from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from torch import Tensor, nn

from hero_mm.errors import UserError

from ..pretrained.checkpoints import find_checkpoint, read_checkpoint
from ..pretrained.filling import check_version
from ..texts import name_some

PathLike = Union[str, Path]
SHOWN = 5


def find_resumable(work_dir: PathLike) -> Optional[str]:
    """Path of what :func:`read_resumable` reads, None where there is none."""
    return read_resumable(work_dir)[0]


def read_resumable(
    work_dir: PathLike,
) -> tuple[Optional[str], dict[str, Any]]:
    """The checkpoint that a killed training goes on from, and its content.

    The last one that can be read: half a file is passed over, and said. Names
    count, not the places that were written down: the folder may be a copy.

    Returns:
        tuple[str, dict]: Path and content, of shards none; ``(None, {})``
        where there is no checkpoint.

    Raises:
        ValueError: There are some, and none can be read.
    """
    folder, names = Path(work_dir), []
    last = folder / 'last_checkpoint'
    if last.is_file():
        names.append(Path(last.read_text().strip()).name)
    numbered = []
    for path in folder.glob('*.pth'):
        number = re.fullmatch(r'(?:epoch|iter)_(\d+)', path.stem)
        if number:
            numbered.append((int(number[1]), path.name))
    names += [name for _, name in sorted(numbered, reverse=True)]
    errors = []
    for name in dict.fromkeys(filter(None, names)):
        path = folder / name
        if is_sharded(path):
            return str(path), {}
        try:
            found = read_checkpoint(path)
            check_resumable(found, path)
        except (OSError, ValueError) as error:
            errors.append(str(error))
            continue
        for said in errors:
            print_log(
                f'passed over, {name} is resumed from: {said}',
                logger='current',
                level=logging.WARNING,
            )
        return str(path), found
    if errors:
        raise UserError(
            f'no checkpoint in {folder} can be resumed from: {errors[0]}'
        )
    return None, {}


def is_sharded(path: Optional[PathLike]) -> bool:
    """Whether a checkpoint is a folder, which its strategy reads."""
    return (
        path is not None and str(path).endswith('.pth') and os.path.isdir(path)
    )


def check_resumable(checkpoint: dict[str, Any], path: PathLike) -> None:
    """Refuse to go on from a checkpoint that does not know where it was."""
    parts = 'optimizer', 'message_hub', 'meta'
    missing = [p for p in parts if not isinstance(checkpoint.get(p), dict)]
    if 'meta' not in missing:
        keys = {'epoch', 'iter'} - checkpoint['meta'].keys()
        missing += [f'meta.{name}' for name in sorted(keys)]
    if missing:
        raise UserError(
            f'{path} holds no {", ".join(missing)}: no training can go on '
            'from it, since it was published or written by another program. '
            'Start a new one from its weights: '
            f"--cfg-options load_from='{path}', without --resume"
        )


def check_weights(
    model: nn.Module, weights: dict[str, Tensor], path: PathLike
) -> None:
    """Refuse weights that do not fill a model exactly, wrapped or not."""
    check_version(weights, known=_unwrap(model).state_dict())
    wanted = _adapted(model, weights).state_dict()
    differ = {
        'missing in the checkpoint': wanted.keys() - weights.keys(),
        'unknown to the model': weights.keys() - wanted.keys(),
        'of another size': {
            f'{name} {tuple(weights[name].shape)} in the checkpoint, '
            f'{tuple(wanted[name].shape)} in the model'
            for name in wanted.keys() & weights.keys()
            if wanted[name].shape != weights[name].shape
        },
    }
    lines = [
        f'\n  {len(names)} {title}: {name_some(sorted(names), SHOWN)}'
        for title, names in differ.items()
        if names
    ]
    if lines:
        raise UserError(
            f'checkpoint {path} does not fit this config:{"".join(lines)}\n'
            'Use the config that it was trained with (a copy lies in its '
            'work dir), or start a training from it with '
            f"--cfg-options load_from='{path}', which takes what fits"
        )


def taken_over(model: nn.Module, weights: dict[str, Tensor]) -> str:
    """What a training takes of other weights, which words they know."""
    model = _unwrap(model)
    wanted = model.state_dict()
    fitting = {
        name
        for name, value in wanted.items()
        if name in weights and weights[name].shape == value.shape
    }
    words = ''
    encoder: Any = getattr(model, 'text_encoder', None)
    letters = weights.get('text_encoder.vocabulary')
    if letters is not None and hasattr(encoder, 'words_of'):
        # The rows of the words are put in order.
        fitting |= {'text_encoder.vocabulary', 'text_encoder.embedding.weight'}
        known = encoder.words_of(letters)
        new = [word for word in encoder.words if word not in known]
        count = len(encoder.words)
        words = f'; {count - len(new)} of {count} words are known'
        words += f', new: {name_some(new, SHOWN)}' if new else ''
    return f'{len(fitting)} of {len(wanted)} weights are taken over{words}'


def load_weights(model: nn.Module, path: PathLike) -> dict[str, Any]:
    """Load the weights of a checkpoint, which must fill a model exactly.

    Args:
        model (nn.Module): The model, wrapped or not.
        path (str or Path): A file, a URL or a work dir.

    Returns:
        dict: ``meta`` of the checkpoint, empty where it has none.

    Raises:
        FileNotFoundError: When the file does not exist.
        ValueError: When the file cannot be read or does not fit.
    """
    path = find_checkpoint(path)
    checkpoint = read_checkpoint(path)
    weights = checkpoint['state_dict']
    check_weights(model, weights, path)
    _adapted(model, weights).load_state_dict(weights)
    return checkpoint.get('meta') or {}


def _unwrap(model: nn.Module) -> nn.Module:
    inner = model.module if is_model_wrapper(model) else model
    return cast(nn.Module, inner)


def _adapted(model: nn.Module, weights: dict[str, Tensor]) -> nn.Module:
    """Let modules whose size the checkpoint decides take that size.

    A vocabulary, for instance, is part of the checkpoint; its module has a
    method ``adapt_to(weights, prefix)``.
    """
    model = _unwrap(model)
    for name, module in list(model.named_modules()):
        if hasattr(module, 'adapt_to'):
            module.adapt_to(weights, f'{name}.' if name else '')
    return model
