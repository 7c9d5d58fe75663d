"""Stand-ins for the compiled operators of mmcv.

:func:`hero_mm.compat.provide_mmcv_ext` puts them in their places where mmcv
has no compiled part (mmcv-lite). Signatures are those of ``mmcv.ops``.
torchvision's operators are used where torchvision imports and computes the
same, plain PyTorch otherwise; both are differentiated by torch.
"""

from .extension import FUNCTIONS, MMCVExtension, replace_functions

__all__ = ['FUNCTIONS', 'MMCVExtension', 'replace_functions']
