"""Stand-ins for the compiled operators of mmcv.

:func:`hero_mm.compat.provide_mmcv_ext` serves them as ``mmcv._ext`` where
mmcv has no compiled part (mmcv-lite). Signatures are those of mmcv's own
extension, so that the Python side of ``mmcv.ops`` runs unchanged.
torchvision's operators are used where torchvision imports and computes the
same, plain PyTorch otherwise.
"""

from .extension import OPERATORS, MMCVExtension

__all__ = ['OPERATORS', 'MMCVExtension']
