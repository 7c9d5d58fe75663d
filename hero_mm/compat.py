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
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent


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


# Of compiled mmcv, by module: operators that do not take all low precision.
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
        for name in _CASTS[module.__name__]:
            operator: Any = getattr(module, name)
            if hasattr(operator, 'forward'):
                # Its results are numbers of boxes, or boxes and scores.
                if not hasattr(operator.forward, 'casts'):
                    operator.forward = staticmethod(_cast(operator.forward))
            elif not hasattr(operator, 'casts'):
                setattr(module, name, _cast(operator, 'bfloat16'))

    for name in _CASTS:
        after_import(name, action)


def _cast(operator: Callable[..., Any], back: str = '') -> Callable[..., Any]:
    """An operator that gets float32 for low precision.

    With ``back`` only tensors of that kind are cast, and what it gives has
    the kind of its first one.
    """
    kinds = (back,) if back else ('bfloat16', 'float16')

    def is_low(value: Any) -> bool:
        return str(getattr(value, 'dtype', '')).rpartition('.')[2] in kinds

    def cast(*given: Any, **options: Any) -> Any:
        exact = [one.float() if is_low(one) else one for one in given]
        out = operator(*exact, **options)
        return out.to(given[0].dtype) if back and is_low(given[0]) else out

    cast.casts = True  # type: ignore[attr-defined]
    return cast


def provide_drn() -> None:
    """Serve the package that the wheel of mmaction2 1.2.0 forgot.

    open-mmlab/mmaction2#2714: ``mmaction/models/localizers/drn`` is missing,
    so that ``import mmaction.models`` fails. DRN itself stays absent.
    """
    folder = package_folder('mmaction')
    if folder is None or (folder / 'models/localizers/drn').is_dir():
        return

    name = 'mmaction.models.localizers.drn'
    if name not in sys.modules:
        package, module = ModuleType(name), ModuleType(f'{name}.drn')
        package.__path__ = []
        module.DRN = _no_drn  # type: ignore[attr-defined]
        package.drn = module  # type: ignore[attr-defined]
        sys.modules[name], sys.modules[f'{name}.drn'] = package, module


def _no_drn(*args: Any, **options: Any) -> None:
    raise NotImplementedError(
        'the wheel of mmaction2 1.2.0 lacks DRN (mmaction2#2714). Its source, '
        'mmaction/models/localizers/drn of the repository, imports '
        'torchvision: see that it imports, then put that folder into the '
        'installed package'
    )


def disable_multimodal() -> None:
    """Keep mmaction2 and mmpretrain from language models they cannot import.

    mmaction2 1.2.0 imports VindLU as soon as transformers is installed, and
    mmpretrain 1.2.0 BLIP and its kind; they need names that transformers 5
    dropped, and VindLU timm. Not reported upstream.
    """

    def action(module: ModuleType) -> None:
        try:
            if module.__name__.startswith('mmaction.'):
                importlib.import_module('timm')
            from transformers.modeling_utils import (  # noqa: F401
                apply_chunking_to_forward,
                find_pruneable_heads_and_indices,
            )
        except (ImportError, OSError, RuntimeError):
            module.WITH_MULTIMODAL = False  # type: ignore[attr-defined]

    for package in ('mmaction', 'mmpretrain'):
        after_import(f'{package}.utils.dependency', action)


def fit_grounding_dino() -> None:
    """Let mmdet's BERT of Grounding DINO work with transformers 5.

    transformers 5 has no ``batch_encode_plus`` and refuses the masks of shape
    (sentences, tokens, tokens) by which Grounding DINO keeps the parts of a
    prompt from each other; masks of four axes it takes as they are. Not
    reported upstream.
    """

    def action(module: ModuleType) -> None:
        if not module.AutoTokenizer or not _lacks_batch_encode_plus():
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
    setuptools 82 removed it. The code of the functions is replaced, not their
    names, because other modules hold references to them.
    """

    def action(module: ModuleType) -> None:
        if importlib.util.find_spec('pkg_resources') is None:
            for ours in (is_installed, get_installed_path):
                upstream: FunctionType = getattr(module, ours.__name__)
                upstream.__code__ = ours.__code__

    after_import('mmengine.utils.package_utils', action)


# The two functions below run with the globals of MMEngine's module.
def is_installed(package: str) -> bool:
    """Whether a distribution or a module of this name is there."""
    import importlib.metadata

    from hero_mm.compat import package_folder

    try:
        importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        return package_folder(package) is not None
    return True


def get_installed_path(package: str) -> str:
    """Folder of a package, given a distribution or a module."""
    import importlib.metadata
    import importlib.util

    from hero_mm.compat import package_folder

    name = package
    try:
        found = importlib.metadata.distribution(package)
        names = (found.read_text('top_level.txt') or package).split()
        name = names[0].replace('-', '_')
    except importlib.metadata.PackageNotFoundError:
        pass
    folder = package_folder(name)
    if folder is not None:
        return str(folder)
    if importlib.util.find_spec(package) is not None:
        raise RuntimeError(f'{package} is a namespace package')
    raise importlib.metadata.PackageNotFoundError(package)


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
    a ``gloo`` group and gives the model wrapper no device. A launcher that
    cannot be used on a CPU is refused.
    """
    from mmengine.device import get_device

    launcher = cfg.get('launcher', 'none')
    if launcher == 'none' or get_device() != 'cpu':
        return
    if launcher != 'pytorch' or 'RANK' not in os.environ:
        raise UserError(
            f'launcher {launcher!r}: no accelerator is found, and on a CPU '
            'processes are those of torchrun; start with tools/dist_train.sh '
            'CONFIG PROCESSES'
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
        gone = ('OnebitAdam', 'OnebitLamb', 'ZeroOneAdam')
        sys.modules[name] = module = ModuleType(name)
        vars(module).update({one: type(one, (), {}) for one in gone})


def apply_all() -> None:
    """Apply every shim that needs no argument."""
    provide_mmcv_ext()
    cast_for_compiled_mmcv()
    provide_drn()
    disable_multimodal()
    fit_grounding_dino()
    replace_pkg_resources()
    register_scope()
