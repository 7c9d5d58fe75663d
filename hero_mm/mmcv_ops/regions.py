"""RoIAlign with average pooling.

Shape legend: B images, C channels, H W grid, R regions, ph pw bins of a
region. Regions are the index of an image, then xyxy in pixels.
"""

from typing import Union

import torch
from torch import Tensor
from torch.nn.modules.utils import _pair

from . import common


def roi_align(
    features: Tensor,
    rois: Tensor,
    output_size: Union[int, tuple[int, int]],
    spatial_scale: float = 1.0,
    sampling_ratio: int = 0,
    pool_mode: str = 'avg',
    aligned: bool = True,
) -> Tensor:
    """RoIAlign (arXiv 1703.06870) with average pooling.

    Args:
        features (Tensor): Has shape (B, C, H, W).
        rois (Tensor): Index of the image, then xyxy, has shape (R, 5); gets
            no gradient.
        output_size (int | tuple): Bins ph and pw.
        spatial_scale (float): Grid cells a pixel of ``rois``.
        sampling_ratio (int): Samples a bin and axis, 0 for as many as the
            region has cells.
        pool_mode (str): 'avg', or NotImplementedError.
        aligned (bool): Shift by half a cell, as Detectron2 does.

    Returns:
        Tensor: Has shape (R, C, ph, pw).
    """
    if pool_mode != 'avg':
        raise NotImplementedError(
            "RoIAlign with pool_mode='max' needs a compiled mmcv; use "
            "pool_mode='avg' or install mmcv 2.1.0 (docs/install.md)"
        )
    size = _pair(output_size)
    vision = common.torchvision_ops()
    exact = torch.promote_types(features.dtype, torch.float32)
    places = rois.detach().to(exact)
    if vision is not None:
        # It takes one type, on a CPU not bfloat16.
        pooled: Tensor = vision.roi_align(
            features.to(exact),
            places,
            size,
            spatial_scale,
            max(sampling_ratio, -1) or -1,
            aligned,
        )
        return pooled.to(features.dtype)
    edges = places[:, 1:] * spatial_scale - (0.5 if aligned else 0)
    lengths = edges[:, 2:] - edges[:, :2]
    if not aligned:
        lengths = lengths.clamp(min=1)
    counts = (lengths / lengths.new_tensor(size[::-1])).ceil().int()
    if sampling_ratio > 0:
        counts = torch.full_like(counts, sampling_ratio)
    table = common.as_table(features.to(exact))
    pooled = table.new_zeros(len(rois), features.shape[1], *size)
    # Where nothing is read the features get a gradient of zero.
    pooled = pooled + table[:0].sum()
    # Regions with as many samples are read together; the others, which have
    # no extent and take no sample, stay zero.
    for cols, rows in set(map(tuple, counts.tolist())):
        if min(cols, rows) < 1:
            continue
        same = (counts[:, 0] == cols) & (counts[:, 1] == rows)
        at = same.nonzero()[:, 0]
        read = _read_bins(
            table,
            places[at, 0].long(),
            torch.cat([edges[at, :2], lengths[at]], 1),
            (rows, cols),
            size,
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

    Takes a row a cell (B * H * W, C), the image of each region, its left,
    top, width and height in cells (R, 4), the samples in a bin, the bins and
    the grid, as rows and columns.
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
