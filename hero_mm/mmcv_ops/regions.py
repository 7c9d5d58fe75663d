"""RoIAlign and RoIPool, with their gradients.

Shape legend: B images, C channels, H W grid, R regions, ph pw bins of a
region. Regions are the index of an image, then xyxy in pixels.
"""

from typing import NamedTuple

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
    how = _Sampling(size, spatial_scale, sampling_ratio, aligned)
    output.copy_(_roi_align(input, rois, how))


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
    how = _Sampling(size, spatial_scale, sampling_ratio, aligned)
    with common.differentiable(grad_input.device):
        point = torch.zeros_like(grad_input, requires_grad=True)
        pooled = _roi_align(point, rois, how)
        if not pooled.requires_grad:  # no region takes a sample
            return
        (grad,) = torch.autograd.grad(pooled, point, grad_output)
    grad_input.add_(grad)


def _refuse_max_pooling(pool_mode: int) -> None:
    if pool_mode != POOL_AVG:
        raise NotImplementedError(
            "RoIAlign with pool_mode='max' needs a compiled mmcv; use "
            "pool_mode='avg' or install mmcv 2.1.0 (docs/install.md)"
        )


def _roi_align(features: Tensor, rois: Tensor, how: _Sampling) -> Tensor:
    """RoIAlign as a function, has shape (R, C, ph, pw)."""
    vision = common.torchvision_ops()
    exact = torch.promote_types(rois.dtype, torch.float32)
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
    table = common.as_table(features)
    pooled = features.new_zeros(len(rois), features.shape[1], *how.size)
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
    return pooled


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


def roi_pool_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """RoIPool (arXiv 1504.08083): the maximum of each bin.

    Pixels of ``rois`` are inclusive, and bins reach over whole cells, as in
    mmcv; torchvision's operator of the name rounds regions instead, and is
    not used. A bin without cells is zero.

    Args:
        input (Tensor): Features, has shape (B, C, H, W).
        rois (Tensor): Index of the image, then xyxy, has shape (R, 5).
        output (Tensor): Written in place, has shape (R, C, ph, pw).
        argmax (Tensor): Written in place: the cell of the maximum as
            ``row * W + column``, -1 in a bin without cells; int32, has
            shape (R, C, ph, pw).
        pooled_height (int): Bins ph.
        pooled_width (int): Bins pw.
        spatial_scale (float): Grid cells a pixel of ``rois``.
    """
    output.zero_()
    argmax.fill_(-1)
    height, width = input.shape[-2:]
    exact = torch.promote_types(rois.dtype, torch.float32)
    ends = rois[:, 1:].to(exact) + rois.new_tensor([0, 0, 1, 1])
    xs = _bin_edges(ends[:, [0, 2]] * spatial_scale, pooled_width, width)
    ys = _bin_edges(ends[:, [1, 3]] * spatial_scale, pooled_height, height)
    images = rois[:, 0].long().tolist()
    for index, (image, rows, cols) in enumerate(zip(images, ys, xs)):
        for column, (left, right) in enumerate(cols):
            if right <= left:
                continue
            strip, at_x = input[image, :, :, left:right].max(-1)
            for row, (top, bottom) in enumerate(rows):
                if bottom <= top:
                    continue
                best, at_y = strip[:, top:bottom].max(-1)
                cell_x = at_x[:, top:bottom].gather(1, at_y[:, None])[:, 0]
                cell = (at_y + top) * width + cell_x + left
                output[index, :, row, column] = best
                argmax[index, :, row, column] = cell.to(argmax.dtype)


def _bin_edges(
    ends: Tensor, bins: int, cells: int
) -> list[list[tuple[int, int]]]:
    """First cell and cell after the last of each bin, for each region.

    Bins of a region without extent hold nothing.

    Args:
        ends (Tensor): Start and end of regions in cells, has shape (R, 2).
        bins (int): Bins of a region.
        cells (int): Length of the grid.
    """
    start, length = ends[:, :1], ends[:, 1:] - ends[:, :1]
    steps = torch.arange(bins + 1, device=ends.device) * (length / bins)
    first = (steps[:, :-1] + start).floor().clamp(0, cells)
    after = (steps[:, 1:] + start).ceil().clamp(0, cells)
    after = torch.where(length > 0, after, first)
    return [
        list(zip(*pair))
        for pair in zip(first.int().tolist(), after.int().tolist())
    ]


def roi_pool_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax: Tensor,
    grad_input: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """Gradient of :func:`roi_pool_forward`, added to ``grad_input``.

    Args:
        grad_output (Tensor): Has shape (R, C, ph, pw).
        rois (Tensor): Index of the image, then xyxy, has shape (R, 5).
        argmax (Tensor): Of the forward pass, has shape (R, C, ph, pw).
        grad_input (Tensor): Written in place, has shape (B, C, H, W).
        pooled_height (int): Bins ph, of the forward pass.
        pooled_width (int): Bins pw, of the forward pass.
        spatial_scale (float): Of the forward pass.
    """
    batch, channels, height, width = grad_input.shape
    cell = argmax.flatten(2).long()
    plane = rois[:, :1].long() * channels + torch.arange(
        channels, device=rois.device
    )
    place = plane[:, :, None] * (height * width) + cell.clamp(min=0)
    value = grad_output.flatten(2) * (cell >= 0)
    flat = grad_input.new_zeros(grad_input.numel())
    flat.index_add_(0, place.flatten(), value.flatten().to(flat.dtype))
    grad_input.add_(flat.view_as(grad_input))
