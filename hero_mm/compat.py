"""Shims for upstream packages: one function each, with its upstream issue.

Every shim does nothing where upstream is whole, may be applied twice, and
imports no package of the family by itself: what must change inside a module
is changed right after somebody imports it. :func:`apply_all` runs when
``hero_mm`` is imported. Each shim can be deleted once its issue is solved.
"""

import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, Callable, Optional

from hero_mm.errors import UserError

Action = Callable[[ModuleType], object]


class _AfterImport(MetaPathFinder):
    """Runs actions on a module right after its import."""

    def __init__(self) -> None:
        self.actions: dict[str, list[Action]] = {}
        self._searching = False

    def find_spec(
        self,
        fullname: str,
        path: Optional[Sequence[str]] = None,
        target: Optional[ModuleType] = None,
    ) -> Optional[importlib.machinery.ModuleSpec]:
        """Find a watched module by the other finders and wrap its loader."""
        if self._searching or fullname not in self.actions:
            return None
        self._searching = True
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._searching = False
        if spec is None or spec.loader is None:
            return spec
        run, actions = spec.loader.exec_module, self.actions[fullname]

        def exec_module(module: ModuleType) -> None:
            run(module)
            for action in actions:
                action(module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


_AFTER_IMPORT = _AfterImport()


def after_import(name: str, action: Action) -> None:
    """Call an action with a module after its own code ran: now or later."""
    if name in sys.modules:
        action(sys.modules[name])
        return
    _AFTER_IMPORT.actions.setdefault(name, []).append(action)
    if _AFTER_IMPORT not in sys.meta_path:
        sys.meta_path.insert(0, _AFTER_IMPORT)


def package_folder(name: str) -> Optional[Path]:
    """Folder of a top-level package, without importing it; None if absent."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))


def has_compiled_mmcv() -> bool:
    """Whether the installed mmcv has its compiled operators."""
    folder = package_folder('mmcv')
    if folder is None:
        return False
    suffixes = importlib.machinery.EXTENSION_SUFFIXES
    return any((folder / f'_ext{suffix}').is_file() for suffix in suffixes)


def provide_mmcv_ext() -> None:
    """Serve ``mmcv._ext`` where mmcv has no compiled operators.

    open-mmlab/mmdetection#11983: mmdet 3.3 and mmaction2 1.2 refuse
    mmcv >= 2.2, and mmcv 2.1 has no wheels for torch >= 2.2; mmcv-lite has
    the Python side of ``mmcv.ops`` only, so that ``import mmdet.models``
    fails.
    """
    if package_folder('mmcv') is None or has_compiled_mmcv():
        return

    def action(module: ModuleType) -> None:
        if 'mmcv._ext' not in sys.modules:
            from .mmcv_ops import FUNCTIONS, MMCVExtension, replace_functions

            sys.modules['mmcv._ext'] = MMCVExtension('mmcv._ext')
            for name in FUNCTIONS:
                after_import(name, replace_functions)

    after_import('mmcv', action)


# Of compiled mmcv, by module: operators, and the types that they do not take.
_BOTH, _BFLOAT16 = ('bfloat16', 'float16'), ('bfloat16',)
_CASTS = {
    'mmcv.ops.nms': ('NMSop', 'SoftNMSop'),
    'mmcv.ops.roi_align': ('roi_align',),
    'mmcv.ops.roi_pool': ('roi_pool',),
    'mmcv.ops.deform_conv': ('deform_conv2d',),
    'mmcv.ops.modulated_deform_conv': ('modulated_deform_conv2d',),
}


def cast_for_compiled_mmcv() -> None:
    """Give compiled operators single precision where they take no lower one.

    open-mmlab/mmdetection#6976: under autocast the networks of mmdet hand over
    half precision; nms and soft-nms take none, RoIAlign, RoIPool and the
    deformable convolutions no bfloat16.
    """
    if not has_compiled_mmcv():
        return

    def action(module: ModuleType) -> None:
        if getattr(module, '_hero_mm_casts', False):
            return
        module._hero_mm_casts = True  # type: ignore[attr-defined]
        for name in _CASTS[module.__name__]:
            operator: Any = getattr(module, name)
            if hasattr(operator, 'forward'):
                cast = _in_float32(operator.forward, _BOTH, False)
                operator.forward = staticmethod(cast)
            else:
                setattr(module, name, _in_float32(operator, _BFLOAT16, True))

    for name in _CASTS:
        after_import(name, action)


def _in_float32(
    operator: Callable[..., Any], kinds: tuple[str, ...], back: bool
) -> Callable[..., Any]:
    """An operator for which tensors of some kinds are made float32.

    With ``back`` what it gives has the kind of its first tensor.
    """

    def is_low(value: Any) -> bool:
        return str(getattr(value, 'dtype', '')).rpartition('.')[2] in kinds

    def cast(*given: Any, **options: Any) -> Any:
        exact = [one.float() if is_low(one) else one for one in given]
        out = operator(*exact, **options)
        return out.to(given[0].dtype) if back and is_low(given[0]) else out

    return cast


def provide_drn() -> None:
    """Serve the package that the wheel of mmaction2 1.2.0 forgot.

    open-mmlab/mmaction2#2714: ``mmaction/models/localizers/drn`` is missing,
    so that ``import mmaction.models`` fails.
    """
    folder = package_folder('mmaction')
    if folder is None or (folder / 'models/localizers/drn').is_dir():
        return

    class DRN:
        """Placeholder of mmaction2's DRN, which its wheel lacks."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            raise NotImplementedError(
                'the wheel of mmaction2 1.2.0 lacks DRN (mmaction2#2714). Its '
                'source, mmaction/models/localizers/drn of the repository, '
                'imports torchvision: see that it imports, then put that '
                'folder into the installed package'
            )

    name = 'mmaction.models.localizers.drn'
    if name not in sys.modules:
        package, module = ModuleType(name), ModuleType(f'{name}.drn')
        package.__path__ = []
        module.DRN = DRN  # type: ignore[attr-defined]
        package.drn = module  # type: ignore[attr-defined]
        sys.modules[name], sys.modules[f'{name}.drn'] = package, module


def disable_multimodal() -> None:
    """Keep mmaction2 and mmpretrain from language models they cannot import.

    mmaction2 1.2.0 imports VindLU as soon as transformers is installed, and
    mmpretrain 1.2.0 BLIP and its kind; they need names that transformers 5
    dropped, and VindLU timm. Not reported upstream.
    """

    def action(module: ModuleType) -> None:
        needs_timm = module.__name__.startswith('mmaction.')
        if not _multimodal_imports(needs_timm):
            module.WITH_MULTIMODAL = False  # type: ignore[attr-defined]

    for package in ('mmaction', 'mmpretrain'):
        after_import(f'{package}.utils.dependency', action)


def _multimodal_imports(needs_timm: bool) -> bool:
    """Whether the names of transformers 4 are there, and timm if needed."""
    try:
        if needs_timm:
            importlib.import_module('timm')
        from transformers.modeling_utils import (  # noqa: F401
            apply_chunking_to_forward,
            find_pruneable_heads_and_indices,
        )
    except (ImportError, OSError, RuntimeError):
        return False
    return True


def fit_grounding_dino() -> None:
    """Let mmdet's BERT of Grounding DINO work with transformers 5.

    transformers 5 has no ``batch_encode_plus`` and refuses the masks of shape
    (sentences, tokens, tokens) by which Grounding DINO keeps the parts of a
    prompt from each other; masks of four axes it takes as they are. Not
    reported upstream.
    """

    def action(module: ModuleType) -> None:
        tokenizer_class = getattr(module, 'AutoTokenizer', None)
        if tokenizer_class is None or not _lacks_batch_encode_plus():
            return
        language_model, encoder = module.BertModel, module.BertEncoder
        if getattr(encoder, '_hero_mm_fitted', False):
            return
        encoder._hero_mm_fitted = True
        make_model, make_encoder = language_model.__init__, encoder.__init__

        def init_model(self: Any, *args: Any, **kwargs: Any) -> None:
            make_model(self, *args, **kwargs)
            self.tokenizer.batch_encode_plus = self.tokenizer.__call__

        def init_encoder(self: Any, *args: Any, **kwargs: Any) -> None:
            make_encoder(self, *args, **kwargs)
            self.model.register_forward_pre_hook(
                _mask_of_four_axes, with_kwargs=True
            )

        language_model.__init__ = init_model
        encoder.__init__ = init_encoder

    after_import('mmdet.models.language_models.bert', action)


def _lacks_batch_encode_plus() -> bool:
    """Whether transformers is of version 5 or later."""
    from transformers import PreTrainedTokenizerBase

    return not hasattr(PreTrainedTokenizerBase, 'batch_encode_plus')


def _mask_of_four_axes(
    model: Any, args: tuple, kwargs: dict[str, Any]
) -> tuple[tuple, dict[str, Any]]:
    """What is to be added to the logits of attention, for all heads."""
    mask = kwargs.get('attention_mask')
    if mask is None or mask.dim() != 3:
        return args, kwargs
    import torch

    added = torch.zeros(mask.shape, dtype=model.dtype, device=mask.device)
    lowest = torch.finfo(model.dtype).min
    added = added.masked_fill(~mask.bool(), lowest)[:, None]
    return args, {**kwargs, 'attention_mask': added}


def replace_pkg_resources() -> None:
    """Find installed packages where setuptools has no ``pkg_resources``.

    open-mmlab/mmengine#1676, fixed after the release: MMEngine 0.10.7
    imports ``pkg_resources`` for ``_base_ = 'mmdet::...'`` and for its hub;
    setuptools 82 removed it. The code of the three functions is replaced,
    not their names, because other modules hold references to them.
    """

    def action(module: ModuleType) -> None:
        if importlib.util.find_spec('pkg_resources') is not None:
            return
        for ours in (is_installed, get_installed_path, package2module):
            upstream: FunctionType = getattr(module, ours.__name__)
            upstream.__code__ = ours.__code__

    after_import('mmengine.utils.package_utils', action)


# The three functions below run with the globals of MMEngine's module, so that
# they import what they need themselves. They raise what its next release does.
def is_installed(package: str) -> bool:
    """Whether a distribution or a module of this name is there."""
    import importlib.metadata
    import importlib.util

    try:
        importlib.metadata.distribution(package)
        return True
    except importlib.metadata.PackageNotFoundError:
        spec = importlib.util.find_spec(package)
        return spec is not None and spec.origin is not None


def get_installed_path(package: str) -> str:
    """Folder of a package, given a distribution or a module."""
    import importlib.metadata
    import importlib.util
    import os

    from hero_mm.compat import module_of_package

    spec = importlib.util.find_spec(module_of_package(package))
    if spec is None:
        raise importlib.metadata.PackageNotFoundError(package)
    if spec.origin is None:
        raise RuntimeError(
            f'{package} is a namespace package, which is no place of one '
            'package'
        )
    return os.path.dirname(spec.origin)


def package2module(package: str) -> str:
    """Module of a distribution, which must be there."""
    import importlib.metadata

    from hero_mm.compat import module_of_package

    importlib.metadata.distribution(package)
    return module_of_package(package)


def module_of_package(package: str) -> str:
    """Name of the module that a distribution (``mmaction2``) installs."""
    import importlib.metadata

    try:
        found = importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        return package
    names = (found.read_text('top_level.txt') or '').split()
    return names[0] if names else package.replace('-', '_')


def register_scope() -> None:
    """Tell MMEngine which distribution the scope ``hero_mm`` comes from.

    MMEngine looks scopes of ``_base_ = 'pkg::...'`` and of inferencers up in
    a fixed table, which plugins have to extend. Not reported upstream.
    """

    def action(module: ModuleType) -> None:
        module.MODULE2PACKAGE.setdefault('hero_mm', 'hero-mm')

    after_import('mmengine.config.utils', action)


def init_cpu_launcher(cfg: Any) -> None:
    """Make ``launcher='pytorch'`` work without an accelerator.

    MMEngine 0.10.7 calls ``torch.cuda.set_device`` for every launcher (not
    reported upstream). Called by the tools before the Runner is built: joins
    a ``gloo`` group and gives the model wrapper no device. Does nothing with
    ``launcher='none'`` or where an accelerator is present.

    Raises:
        ValueError: With a launcher that cannot be used on a CPU.
    """
    from mmengine.device import get_device

    launcher = cfg.get('launcher', 'none')
    if launcher == 'none' or get_device() != 'cpu':
        return
    if launcher != 'pytorch':
        raise UserError(
            f'launcher {launcher!r} needs an accelerator and none is found; '
            "on a CPU use torchrun with --launcher 'pytorch' "
            '(tools/dist_train.sh)'
        )
    if not {'RANK', 'WORLD_SIZE', 'LOCAL_RANK'} <= set(os.environ):
        raise UserError(
            "launcher 'pytorch' needs the environment of torchrun (RANK, "
            'WORLD_SIZE, LOCAL_RANK); start with tools/dist_train.sh CONFIG '
            'PROCESSES'
        )
    import torch.distributed as dist

    if not dist.is_initialized():
        dist.init_process_group('gloo')
    wrapper = dict(
        type='MMDistributedDataParallel',
        broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False),
    )
    wrapper.update(cfg.get('model_wrapper_cfg') or {})
    cfg.model_wrapper_cfg = dict(wrapper, device_ids=None)


def provide_onebit() -> None:
    """Serve the optimizers that DeepSpeed 0.19 no longer has.

    MMEngine 0.10.7 imports and registers them before it uses DeepSpeed,
    whichever optimizer a config names.
    """
    name = 'deepspeed.runtime.fp16.onebit'
    try:
        importlib.import_module(name)
    except ImportError:
        module = ModuleType(name)
        for gone in ('OnebitAdam', 'OnebitLamb', 'ZeroOneAdam'):
            setattr(module, gone, type(gone, (), {}))
        sys.modules[name] = module


def apply_all() -> None:
    """Apply every shim that needs no argument."""
    provide_mmcv_ext()
    cast_for_compiled_mmcv()
    provide_drn()
    disable_multimodal()
    fit_grounding_dino()
    replace_pkg_resources()
    register_scope()
