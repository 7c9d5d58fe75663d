"""Parts of other packages from their configs, with errors in words."""

import copy
import importlib
import logging
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from hero_mm.errors import EXTRAS, UserError
from hero_mm.registry import MODELS, in_own_scope

# What a module raises that is built or run with what it does not take.
FAILURES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)

CHOOSE = (
    'grounding needs a map with height and width a frame. Choose a part that '
    'keeps it (docs/configs.md, "Another backbone"), or switch its pooling '
    'off (return_feat_map=True of mmaction2, gap_before_final_norm=False or '
    "out_type='featmap' of mmpretrain)"
)
# Of mmaction2; others without a map show it when they are built.
WITHOUT_MAP = (
    *('C3D', 'TimeSformer', 'TPN', 'UniFormerV2'),
    *('STGCN', 'AAGCN', 'RGBPoseConv3D', 'ResNetAudio'),
)


def build_part(config: Any, role: str) -> Any:
    """Build a part of another package, or of ours; it is not initialised.

    ``role``: what it is called in errors, such as 'backbone'. ValueError where
    it is unknown, its package is missing, or it refuses its arguments.
    """
    find_part(config, role)
    try:
        # Some of the family write into the configs of their parts.
        return MODELS.build(in_own_scope(copy.deepcopy(config)))
    except FAILURES as error:
        raise UserError(
            f'the {role} {config["type"]} refuses its arguments: '
            f'{reason(error)}'
        ) from error


def find_part(config: Any, role: str) -> Any:
    """The class that a config names; as :func:`build_part`."""
    if not isinstance(config, dict) or config.get('type') is None:
        raise UserError(
            f'the {role} is a config with a type, such as '
            f"dict(type='mmdet.ResNet', depth=50); got {config}"
        )
    kind = config['type']
    if not isinstance(kind, str):
        return kind
    scope, _, name = kind.rpartition('.')
    scope = scope or 'hero_mm'
    if scope == 'mmaction' and name in WITHOUT_MAP:
        raise UserError(
            f'{kind} gives one answer a clip, or takes no pictures; {CHOOSE}'
        )
    try:
        found = MODELS.get(kind)
        if found is not None:
            return found
        # The registry keeps to itself why it found nothing.
        importlib.import_module(scope.partition('.')[0])
    except FAILURES as error:
        named = error.name if isinstance(error, ImportError) else None
        package = (named or scope).partition('.')[0]
        if package in EXTRAS:
            package = f'"hero-mm[{EXTRAS[package]}]"'
        raise UserError(
            f'the {role} {kind} needs {scope}, which cannot be imported '
            f'({reason(error)}); pip install {package} (docs/install.md says '
            'which versions fit)'
        ) from error
    hint = ''
    if scope == 'hero_mm':
        hint = '; parts of other packages have a prefix, as mmdet.ResNet'
    raise UserError(f'{scope} has no {role} {kind!r}{hint}')


def reason(error: BaseException) -> str:
    """First line of an error, or the line that raised it."""
    text = str(error).strip().split('\n')[0].rstrip('.')
    if text:
        return text.strip('\'"') if isinstance(error, KeyError) else text
    frames = traceback.extract_tb(error.__traceback__)
    return f'{type(error).__name__} at "{frames[-1].line}"'


@contextmanager
def in_words(what: str, cure: str) -> Iterator[None]:
    """Say what failed, why and what to do, where a part of others fails."""
    try:
        yield
    except (ImportError, torch.cuda.OutOfMemoryError):
        raise
    except FAILURES as error:
        raise UserError(f'{what}: {reason(error)}. {cure}') from error


@contextmanager
def untouched(module: nn.Module, gradients: bool = False) -> Iterator[None]:
    """Run a module in evaluation mode within, and leave no trace."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        with (
            torch.set_grad_enabled(gradients),
            torch.random.fork_rng(devices=()),
        ):
            yield
    finally:
        for part, training in modes.items():
            part.training = training
        if gradients:
            module.zero_grad(set_to_none=True)


def freeze_unread(module: nn.Module, read: Sequence[Tensor]) -> list[str]:
    """Freeze weights that what is read does not depend on; gives their names.

    In distributed training weights without a gradient stop every step.
    """
    for one in read:
        if one.requires_grad:
            one.float().sum().backward(retain_graph=True)
    unread = []
    for name, part in [*module.named_modules(), *module.named_parameters()]:
        whole = isinstance(part, nn.Module)
        weights = list(part.parameters()) if whole else [part]
        learns = [weight for weight in weights if weight.requires_grad]
        if learns and all(weight.grad is None for weight in learns):
            part.requires_grad_(False)
            unread.append(name)
    return unread


def warn_of_channels(encoder: Any, preprocessor: Any) -> None:
    """Say where a backbone of the style caffe gets R, G, B."""
    style = getattr(getattr(encoder, 'backbone', None), 'style', None)
    if style == 'caffe' and not getattr(preprocessor, 'rgb_to_bgr', False):
        print_log(
            'the weights of the backbone, of the style caffe, want the '
            'channels B, G, R: set data_preprocessor=dict(rgb_to_bgr=True,'
            ' mean=[103.530, 116.280, 123.675], std=[1.0, 1.0, 1.0])',
            logger='current',
            level=logging.WARNING,
        )
