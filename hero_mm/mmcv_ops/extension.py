"""The module that is served as ``mmcv._ext``, and what stands beside it."""

from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Callable

from . import suppression
from .deformable import (
    MultiScaleDeformableAttnFunction,
    deform_conv2d,
    modulated_deform_conv2d,
)
from .focal import sigmoid_focal_loss
from .regions import roi_align

# Functions of mmcv.ops that would call the extension in both directions.
FUNCTIONS: dict[str, dict[str, Any]] = {
    'mmcv.ops.roi_align': {'roi_align': roi_align},
    'mmcv.ops.deform_conv': {'deform_conv2d': deform_conv2d},
    'mmcv.ops.modulated_deform_conv': {
        'modulated_deform_conv2d': modulated_deform_conv2d
    },
    'mmcv.ops.multi_scale_deform_attn': {
        'MultiScaleDeformableAttnFunction': MultiScaleDeformableAttnFunction
    },
    'mmcv.ops.focal_loss': {'sigmoid_focal_loss': sigmoid_focal_loss},
}


def replace_functions(module: ModuleType) -> None:
    """Put ours in the place of those of a module of ``mmcv.ops``."""
    vars(module).update(FUNCTIONS[module.__name__])


def _missing(name: str) -> Callable[..., Any]:
    """A stand-in for an operator that has no plain version here."""

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(
            f'the operator mmcv._ext.{name} needs a compiled mmcv, and the '
            'one installed has none (mmcv-lite, or a build without '
            'operators). Install mmcv 2.1.0 with its operators '
            '(docs/install.md, "Compiled mmcv") or choose a component that '
            'does not use it'
        )

    return refuse


class MMCVExtension(ModuleType):
    """The module served as ``mmcv._ext``.

    Holds the operators without gradients; any other name gives a function
    that raises NotImplementedError with the name and the cure, so that
    ``mmcv.ops`` imports whole.
    """

    nms = staticmethod(suppression.nms)
    softnms = staticmethod(suppression.softnms)

    def __init__(self, name: str) -> None:
        super().__init__(name)
        # Without a loader, so that MMEngine knows it is not the compiled one.
        self.__spec__ = ModuleSpec(name, loader=None)

    @staticmethod
    def get_compiler_version() -> str:
        """What mmcv shows as its compiler."""
        return 'none (operators of hero_mm in plain PyTorch)'

    @staticmethod
    def get_compiling_cuda_version() -> str:
        """What mmcv shows as its CUDA version."""
        return 'not available'

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith('__'):
            raise AttributeError(f'module {self.__name__} has no {name}')
        return _missing(name)
