"""The module that is served as ``mmcv._ext``."""

from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Callable

from . import (
    attention,
    deformable,
    focal,
    regions,
    suppression,
)

OPERATORS: dict[str, Callable[..., Any]] = {
    operator.__name__: operator
    for operator in (
        suppression.nms,
        suppression.softnms,
        regions.roi_align_forward,
        regions.roi_align_backward,
        deformable.deform_conv_forward,
        deformable.deform_conv_backward_input,
        deformable.deform_conv_backward_parameters,
        deformable.modulated_deform_conv_forward,
        deformable.modulated_deform_conv_backward,
        attention.ms_deform_attn_forward,
        attention.ms_deform_attn_backward,
        focal.sigmoid_focal_loss_forward,
        focal.sigmoid_focal_loss_backward,
    )
}


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

    refuse.__name__ = name
    return refuse


class MMCVExtension(ModuleType):
    """The module served as ``mmcv._ext``.

    Holds :data:`OPERATORS` under their names; any other name gives a
    function that raises NotImplementedError with the name and the cure, so
    that ``mmcv.ops`` imports whole.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        # Without a loader, so that MMEngine knows it is not the compiled one.
        self.__spec__ = ModuleSpec(name, loader=None)
        vars(self).update(OPERATORS)

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
