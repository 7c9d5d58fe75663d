"""RoIAlign with average pooling, and its gradient.

Shape legend: B images, C channels, H W grid, R regions, ph pw bins of a
region. Regions are the index of an image, then xyxy in pixels.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from . import common

POOL_AVG = 1


class _Sampling(NamedTuple):
    """How RoIAlign reads a region, its arguments but the features."""

    size: tuple[int, int]
    scale: float
    ratio: int
    aligned: bool

    @classmethod
    def of(cls, how: dict[str, Any]) -> '_Sampling':
        """From the names of mmcv."""
        if how['pool_mode'] != POOL_AVG:
            raise NotImplementedError(
                "RoIAlign with pool_mode='max' needs a compiled mmcv; use "
                "pool_mode='avg' or install mmcv 2.1.0 (docs/install.md)"
            )
        return cls(
            (how['aligned_height'], how['aligned_width']),
            how['spatial_scale'],
            how['sampling_ratio'],
            how['aligned'],
        )


def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    **how: Any,
) -> None:
    """RoIAlign (arXiv 1703.06870) with average pooling.

    Args:
        input (Tensor): Features, has shape (B, C, H, W).
        rois (Tensor): Index of the image, then xyxy, has shape (R, 5).
        output (Tensor): Written in place, has shape (R, C, ph, pw).
        argmax_y (Tensor): Of the maximum pooling, unused.
        argmax_x (Tensor): Of the maximum pooling, unused.
        **how: ``aligned_height`` and ``aligned_width``, the bins ph and pw;
            ``spatial_scale``, grid cells a pixel of ``rois``;
            ``sampling_ratio``, samples a bin and axis, 0 for as many as the
            region has cells; ``pool_mode``, 1 for average; ``aligned``,
            whether to shift by half a cell, as Detectron2 does.

    Raises:
        NotImplementedError: With another ``pool_mode``.
    """
    output.copy_(_roi_align(input, rois, _Sampling.of(how)))


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    **how: Any,
) -> None:
    """Gradient of :func:`roi_align_forward`, added to ``grad_input``.

    Averaging is linear in the features, so the gradient does not depend on
    them and is taken at zero. Arguments are those of the forward pass.
    """
    (grad,) = common.gradients(
        lambda features: _roi_align(features, rois, _Sampling.of(how)),
        [torch.zeros_like(grad_input)],
        grad_output,
    )
    if grad is not None:
        grad_input.add_(grad)


def _roi_align(features: Tensor, rois: Tensor, how: _Sampling) -> Tensor:
    """RoIAlign as a function, has shape (R, C, ph, pw)."""
    vision = common.torchvision_ops()
    exact = torch.promote_types(features.dtype, torch.float32)
    if vision is not None:
        ratio = max(how.ratio, -1) or -1
        # It takes one type, on a CPU not bfloat16.
        inputs = features.to(exact), rois.to(exact)
        pooled: Tensor = vision.roi_align(
            *inputs, how.size, how.scale, ratio, how.aligned
        )
        return pooled.to(features.dtype)
    edges = rois[:, 1:].to(exact) * how.scale - (0.5 if how.aligned else 0)
    lengths = edges[:, 2:] - edges[:, :2]
    if not how.aligned:
        lengths = lengths.clamp(min=1)
    counts = (lengths / lengths.new_tensor(how.size[::-1])).ceil().int()
    if how.ratio > 0:
        counts = torch.full_like(counts, how.ratio)
    table = common.as_table(features.to(exact))
    pooled = table.new_zeros(len(rois), features.shape[1], *how.size)
    # Regions with as many samples are read together; the others, which have
    # no extent and take no sample, stay zero.
    for cols, rows in set(map(tuple, counts.tolist())):
        if min(cols, rows) < 1:
            continue
        same = (counts[:, 0] == cols) & (counts[:, 1] == rows)
        at = same.nonzero()[:, 0]
        read = _read_bins(
            table,
            rois[at, 0].long(),
            torch.cat([edges[at, :2], lengths[at]], 1),
            (rows, cols),
            how.size,
            (features.shape[2], features.shape[3]),
        )
        pooled = pooled.index_copy(0, at, read)
    return pooled.to(features.dtype)


def _read_bins(
    table: Tensor,
    images: Tensor,
    regions: Tensor,
    samples: tuple[int, int],
    size: tuple[int, int],
    grid: tuple[int, int],
) -> Tensor:
    """Mean of bilinear samples in each bin, has shape (R, C, ph, pw).

    Args:
        table (Tensor): Features, one row a cell, has shape (B * H * W, C).
        images (Tensor): Image of each region, int64, has shape (R,).
        regions (Tensor): Left, top, width and height in cells, has shape
            (R, 4).
        samples (tuple): Rows and columns of samples in a bin.
        size (tuple): Rows ph and columns pw of bins.
        grid (tuple): H and W.
    """
    axes = []
    for axis, (bins, number, cells) in enumerate(zip(size, samples, grid)):
        start, length = regions[:, 1 - axis], regions[:, 3 - axis]
        steps = torch.arange(bins * number, device=table.device) + 0.5
        points = start[:, None] + steps * (length / bins / number)[:, None]
        # A point more than one cell outside reads zero, a nearer one the
        # border.
        inside = (points >= -1) & (points <= cells)
        points = points.clamp(0, cells - 1)
        split = (len(regions), bins, number)
        axes.append((points.view(split), inside.view(split)))
    (ys, in_y), (xs, in_x) = axes
    shape = (len(regions), size[0], size[1], samples[0], samples[1])
    ys = ys[:, :, None, :, None].expand(shape)
    xs = xs[:, None, :, None, :].expand(shape)
    inside = in_y[:, :, None, :, None] & in_x[:, None, :, None, :]
    cell, weight = common.corners(ys, xs, *grid)
    weight = weight * inside[..., None] / (samples[0] * samples[1])
    cell = cell + (images * (grid[0] * grid[1])).view(-1, 1, 1, 1, 1, 1)
    bins = len(regions) * size[0] * size[1]
    read = common.weighted_rows(
        table, cell.reshape(bins, -1), weight.reshape(bins, -1)
    )
    return read.view(len(regions), *size, -1).permute(0, 3, 1, 2)
