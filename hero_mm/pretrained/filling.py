"""What a checkpoint fills of a model: nothing is an error.

MMEngine loads what fits and lists the rest, so that a file whose names do not
fit leaves a model at random without a word that anybody reads.
"""

import copy
import functools
import logging
from collections.abc import Iterable, Mapping
from typing import Any, Callable, Optional

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from hero_mm.errors import UserError
from hero_mm.texts import name_some

# Frozen norms of some makes have none.
COUNTER = 'num_batches_tracked'
Load = Callable[..., None]
# Weights that the model of 0.1.0 had, and no later one.
MARKS_OF_0_1 = (
    'video_encoder.project.weight',
    'tube_head.clip_out.weight',
    'region_detail.reduce.weight',
)


def check_version(
    weights: Mapping[str, Any], prefix: str = '', known: Iterable[str] = ()
) -> None:
    """Refuse weights of hero_mm 0.1.0; ``known`` are a model's own names."""
    for name in (prefix + mark for mark in MARKS_OF_0_1):
        if name in weights and name not in known:
            raise UserError(
                f'the checkpoint is of hero_mm 0.1.0 (it has {name}), whose '
                'model had another form: train or convert again with this '
                'version, or use hero_mm 0.1.0'
            )


def not_finite(weights: Mapping[str, Any]) -> list[str]:
    """Names of tensors with a number that is not finite; one wait a device."""
    seen = {
        name: value.isfinite().all()
        for name, value in weights.items()
        if isinstance(value, Tensor) and value.is_floating_point()
    }
    if not seen:
        return []
    flags = torch.stack(list(seen.values())).tolist()
    return [name for name, finite in zip(seen, flags) if not finite]


def check_finite(weights: Mapping[str, Any], source: Any) -> None:
    """Refuse weights that are NaN or infinite; ValueError names them."""
    broken = not_finite(weights)
    if broken:
        raise UserError(
            f'{source} holds NaN or infinite numbers in {len(broken)} of '
            f'{len(weights)} tensors ({name_some(broken)}): the training that '
            'wrote it had diverged. Take an earlier checkpoint'
        )


def weights_in(found: Any, source: Any, kind: type = object) -> dict[str, Any]:
    """The weights of a checkpoint that was read; ValueError without any.

    ``source`` is its name, ``kind`` what all of them must be.
    """
    weights = found
    if isinstance(found, dict):
        weights = found.get('state_dict', found)
    if not isinstance(weights, dict) or not all(
        isinstance(name, str) and isinstance(value, kind)
        for name, value in weights.items()
    ):
        raise UserError(
            f"{source} has no 'state_dict' of tensors (it holds a "
            f'{type(found).__name__}). A checkpoint of another model is '
            'brought into the names of HERO by the tools in '
            'tools/model_converters/ (docs/pretrained.md)'
        )
    return weights


def watched(load: Load, last_file: Callable[[], str]) -> Load:
    """MMEngine's ``load_state_dict`` that says what was filled.

    ``last_file`` gives the name of the file that was read last.
    """

    @functools.wraps(load)
    def load_state_dict(
        module: nn.Module,
        state_dict: Mapping[str, Any],
        strict: bool = False,
        logger: Any = None,
    ) -> None:
        source = last_file()
        check_finite(state_dict, source)
        inner: Any = getattr(module, 'module', module)
        if hasattr(inner, 'adapt_to'):
            # Of a part alone, under its own names.
            state_dict = copy.copy(state_dict)
            inner.adapt_to(state_dict, '')
        load(module, state_dict, strict, logger='silent')
        said = describe_filling(inner, state_dict, source)
        if said:
            print_log(said, logger='current', level=logging.WARNING)

    return load_state_dict


def describe_filling(
    module: nn.Module, weights: Mapping[str, Any], source: Any
) -> Optional[str]:
    """What weights filled of a module, in one line; None where all is filled.

    ValueError where they filled nothing.
    """
    wanted = module.state_dict()
    name = type(module).__name__
    missing = [n for n in wanted if n not in weights and COUNTER not in n]
    sizes = [
        n
        for n, value in wanted.items()
        if n in weights and getattr(weights[n], 'shape', None) != value.shape
    ]
    unknown = [n for n in weights if n not in wanted]
    filled = len(wanted.keys() & weights.keys()) - len(sizes)
    if wanted and not filled:
        raise UserError(
            f'{source} fills none of the {len(wanted)} tensors of {name}: '
            f'they are called {name_some(wanted)}, those of the file '
            f'{name_some(weights) or "nothing"}'
            + (f', and {len(sizes)} are of another size' if sizes else '')
            + '. Load a part of the file by prefix=NAME in init_cfg, load it '
            'into the part that it is of, or convert it '
            '(tools/model_converters/, docs/pretrained.md)'
        )
    parts = [
        f'{len(names)} {what} ({name_some(names)})'
        for what, names in (
            ('of another size', sizes),
            ('not in the file', missing),
            ('of the file not used', unknown),
        )
        if names
    ]
    if not parts:
        return None
    total = filled + len(sizes) + len(missing)
    return (
        f'{source} fills {filled} of {total} tensors of {name}: '
        f'{"; ".join(parts)}'
    )
