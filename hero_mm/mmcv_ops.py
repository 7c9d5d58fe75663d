"""Stand-ins for the compiled operators of mmcv, in plain PyTorch.

:func:`hero_mm.compat.provide_mmcv_ext` serves them as ``mmcv._ext`` where
mmcv has no compiled part (mmcv-lite). Signatures are those of mmcv's own
extension, so that the Python side of ``mmcv.ops`` runs unchanged.
torchvision's operators are used where torchvision imports.

Shape legend: N boxes, R regions of interest, C channels, H W grid,
ph pw bins of a region, S samples along one axis of a bin.
Boxes are xyxy in pixels.
"""

import functools
import math
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Callable, Optional

import torch
from torch import Tensor

SOFT_NMS_NAIVE, SOFT_NMS_LINEAR, SOFT_NMS_GAUSSIAN = 0, 1, 2
POOL_AVG = 1


@functools.cache
def torchvision_ops() -> Optional[ModuleType]:
    """The module ``torchvision.ops``, or None where it does not import.

    A torchvision built for CUDA beside a CPU torch raises RuntimeError or
    OSError, not only ImportError, when it is imported.
    """
    try:
        import torchvision.ops
    except (ImportError, OSError, RuntimeError, AttributeError):
        return None
    return torchvision.ops


def nms(
    boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int = 0
) -> Tensor:
    """Greedy non-maximum suppression.

    Args:
        boxes (Tensor): xyxy in pixels, has shape (N, 4).
        scores (Tensor): Has shape (N,).
        iou_threshold (float): A box is dropped when its IoU with a better
            one is above this.
        offset (int): 0 when ``x2`` is exclusive, 1 when it is inclusive.

    Returns:
        Tensor: Indices of the kept boxes, best first, int64.
    """
    boxes = boxes + boxes.new_tensor([0, 0, offset, offset])
    vision = torchvision_ops()
    if vision is not None:
        return vision.nms(boxes, scores, iou_threshold)
    order = scores.argsort(descending=True, stable=True)
    keep = []
    while order.numel():
        best, rest = order[0], order[1:]
        keep.append(best)
        order = rest[_iou_one(boxes[best], boxes[rest]) <= iou_threshold]
    return torch.stack(keep) if keep else order


def _iou_one(box: Tensor, boxes: Tensor) -> Tensor:
    """IoU of one box (4,) with boxes (N, 4); 0 where both are empty."""
    inner = torch.minimum(box[2:], boxes[:, 2:]) - torch.maximum(
        box[:2], boxes[:, :2]
    )
    inter = inner.clamp(min=0).prod(-1)
    union = (box[2:] - box[:2]).prod() + (boxes[:, 2:] - boxes[:, :2]).prod(-1)
    return inter / (union - inter).clamp(min=torch.finfo(boxes.dtype).tiny)


def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    """Soft non-maximum suppression (arXiv 1704.04503).

    Args:
        boxes (Tensor): xyxy in pixels, has shape (N, 4).
        scores (Tensor): Has shape (N,).
        dets (Tensor): Written in place: kept boxes with their new scores,
            best first, has shape (N, 5).
        iou_threshold (float): Of the naive and the linear method.
        sigma (float): Of the gaussian method.
        min_score (float): Boxes that fall below it are dropped.
        method (int): 0 naive, 1 linear, 2 gaussian.
        offset (int): 0 when ``x2`` is exclusive, 1 when it is inclusive.

    Returns:
        Tensor: Indices of the kept boxes, in the order of ``dets``, int64.
    """
    if method not in (SOFT_NMS_NAIVE, SOFT_NMS_LINEAR, SOFT_NMS_GAUSSIAN):
        raise ValueError(
            f'softnms: method {method} is unknown; use 0 (naive), '
            '1 (linear) or 2 (gaussian)'
        )
    padded = boxes + boxes.new_tensor([0, 0, offset, offset])
    live = torch.arange(len(boxes))
    left = scores.clone()
    kept: list[int] = []
    while live.numel():
        at = int(left.argmax())
        index, score = int(live[at]), left[at]
        dets[len(kept), :4], dets[len(kept), 4] = boxes[index], score
        kept.append(index)
        others = torch.arange(len(live)) != at
        live, left = live[others], left[others]
        iou = _iou_one(padded[index], padded[live])
        if method == SOFT_NMS_GAUSSIAN:
            left = left * torch.exp(-(iou**2) / sigma)
        else:
            drop = torch.ones_like(iou) if method == SOFT_NMS_NAIVE else iou
            left = torch.where(iou >= iou_threshold, left * (1 - drop), left)
        above = left >= min_score
        live, left = live[above], left[above]
    return torch.tensor(kept, dtype=torch.int64)


def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """RoIAlign (arXiv 1703.06870) with average pooling.

    Args:
        input (Tensor): Features, has shape (B, C, H, W).
        rois (Tensor): Index of the image, then xyxy, has shape (R, 5).
        output (Tensor): Written in place, has shape (R, C, ph, pw).
        argmax_y (Tensor): Of the maximum pooling, unused.
        argmax_x (Tensor): Of the maximum pooling, unused.
        aligned_height (int): Bins ph.
        aligned_width (int): Bins pw.
        spatial_scale (float): Grid cells a pixel of ``rois``.
        sampling_ratio (int): Samples a bin and axis; 0 chooses by the size
            of the region.
        pool_mode (int): 1, average.
        aligned (bool): Shift by half a cell, as Detectron2 does.
    """
    _refuse_max_pooling(pool_mode)
    size = (aligned_height, aligned_width)
    output.copy_(
        _roi_align(input, rois, size, spatial_scale, sampling_ratio, aligned)
    )


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Gradient of :func:`roi_align_forward`, added to ``grad_input``.

    Averaging is linear in the features, so the gradient does not depend on
    them and is taken at zero. Arguments are those of the forward pass.
    """
    _refuse_max_pooling(pool_mode)
    size = (aligned_height, aligned_width)
    with torch.enable_grad():
        point = torch.zeros_like(grad_input, requires_grad=True)
        pooled = _roi_align(
            point, rois, size, spatial_scale, sampling_ratio, aligned
        )
        (grad,) = torch.autograd.grad(pooled, point, grad_output)
    grad_input.add_(grad)


def _refuse_max_pooling(pool_mode: int) -> None:
    if pool_mode != POOL_AVG:
        raise NotImplementedError(
            "RoIAlign with pool_mode='max' needs a compiled mmcv; use "
            "pool_mode='avg' or install mmcv 2.1.0 (docs/install.md)"
        )


def _roi_align(
    features: Tensor,
    rois: Tensor,
    size: tuple[int, int],
    scale: float,
    sampling_ratio: int,
    aligned: bool,
) -> Tensor:
    """RoIAlign as a function, has shape (R, C, ph, pw)."""
    vision = torchvision_ops()
    if vision is not None:
        return vision.roi_align(
            features, rois, size, scale, max(sampling_ratio, -1) or -1, aligned
        )
    pooled = [
        _pool_region(features, roi, size, scale, sampling_ratio, aligned)
        for roi in rois
    ]
    if not pooled:
        return features.sum() * features.new_zeros(
            (0, features.shape[1], *size)
        )
    return torch.stack(pooled)


def _pool_region(
    features: Tensor,
    roi: Tensor,
    size: tuple[int, int],
    scale: float,
    sampling_ratio: int,
    aligned: bool,
) -> Tensor:
    """Average of bilinear samples in each bin, has shape (C, ph, pw)."""
    image = features[int(roi[0])]
    x1, y1, x2, y2 = (roi[1:] * scale - (0.5 if aligned else 0.0)).tolist()
    least = 0.0 if aligned else 1.0
    extent = (max(y2 - y1, least), max(x2 - x1, least))
    axes = []
    for start, length, bins in zip((y1, x1), extent, size):
        samples = sampling_ratio
        if samples <= 0:
            samples = max(math.ceil(length / bins), 1)
        steps = torch.arange(bins * samples, device=features.device) + 0.5
        axes.append((start + steps * (length / bins / samples), samples))
    (ys, rows), (xs, cols) = axes
    height, width = image.shape[-2:]
    weight_y = _bilinear_weights(ys.to(image.dtype), height)
    weight_x = _bilinear_weights(xs.to(image.dtype), width)
    weight_y = weight_y.view(size[0], rows, height).mean(1)
    weight_x = weight_x.view(size[1], cols, width).mean(1)
    return torch.einsum('ph,chw,qw->cpq', weight_y, image, weight_x)


def _bilinear_weights(points: Tensor, length: int) -> Tensor:
    """Weights of the cells for points on an axis, has shape (S, length).

    Points more than one cell outside weigh nothing; others are clamped.
    """
    inside = (points >= -1) & (points <= length)
    points = points.clamp(0, length - 1)
    cells = torch.arange(length, device=points.device, dtype=points.dtype)
    tent = (1 - (points[:, None] - cells).abs()).clamp(min=0)
    return tent * inside[:, None]


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

    Operators of this file under their own names; any other name gives a
    function that raises NotImplementedError with the name and the cure, so
    that ``mmcv.ops`` imports whole.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        # Without a loader, so that MMEngine knows it is not the compiled one.
        self.__spec__ = ModuleSpec(name, loader=None)

    nms = staticmethod(nms)
    softnms = staticmethod(softnms)
    roi_align_forward = staticmethod(roi_align_forward)
    roi_align_backward = staticmethod(roi_align_backward)

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
