"""Video encoder: any backbone and neck of the MM family, a clip at a time.

One level of the result and finer ones of the backbone become the pyramid that
regions are found in and read from. A second backbone may bring motion.

Shape legend: B clips, T frames, C channels, H W grid, D width.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from typing import Any, Callable, Optional, Union

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hero_mm.errors import UserError
from hero_mm.registry import MODELS

from ..features import Pyramid, none_is_padding, read_extents
from .feature_tower import FeatureTower

Extent = tuple[int, int, int]


@MODELS.register_module()
class VideoEncoder(FeatureTower):
    """Encode clips into a pyramid of features a frame.

    Clips of different length or size are encoded without what pads them: a
    clip gives the same features alone and beside a larger one. (Backbones of
    the layout 'clip' without a neck get masks instead.) Coarse levels are
    added to finer ones (arXiv 1612.03144). docs/configs.md, "Another
    backbone", lists the options.
    """

    def __init__(
        self,
        backbone: dict,
        embed_dims: int,
        neck: Union[dict, Sequence[dict], None] = None,
        level: int = -1,
        clip_len: Optional[int] = None,
        finer_levels: Sequence[int] = (),
        motion: Optional[dict] = None,
        norm: bool = True,
        init_cfg: Optional[dict] = None,
    ) -> None:
        super().__init__(
            backbone, neck, level, clip_len, finer_levels, init_cfg
        )
        cells = [self.strides[number] for number in self.finer_levels]
        cells.append(self.stride)
        if cells != sorted({*cells}):
            raise UserError(
                f'finer_levels={self.finer_levels} and the coarsest level '
                f'have cells of {cells} pixels: list finer levels than '
                f'{self.stride} only, the finest first'
            )
        self.motion = FeatureTower(**motion) if motion else None
        # Pixels that the extents of a clip are rounded up to.
        self.granule = self.multiple
        channels = self.channels
        if self.motion is not None:
            self.granule = math.lcm(self.multiple, self.motion.multiple)
            channels += self.motion.channels
        widths = [self.widths[number] for number in self.finer_levels]
        self.projects = nn.ModuleList(
            nn.Conv2d(width, embed_dims, 1) for width in (*widths, channels)
        )
        self.norms = nn.ModuleList(
            nn.LayerNorm(embed_dims) if norm else nn.Identity()
            for _ in self.projects
        )

    def forward(
        self,
        imgs: Tensor,
        frame_mask: Tensor,
        pixel_mask: Tensor,
        extents: Optional[Sequence[Extent]] = None,
    ) -> Pyramid:
        """Encode clips to levels of width D, zero on padding.

        Of normalised frames (B, T, 3, H, W), masks (B, T) and (B, H, W), True
        on what is real, and frames, height and width of each clip without
        padding, which are read from the masks where they are not given.
        """
        return self._encode(
            self.encode_alike, imgs, frame_mask, pixel_mask, extents
        )

    def glance(self, **clips: Any) -> Pyramid:
        """As :meth:`forward`, by the layers up to the finest level alone.

        The coarser levels are means of its cells.
        """
        pyramid = self._encode(lambda *a: [self.first_level(*a)], **clips)
        (finest,), (stride,) = pyramid.levels, pyramid.strides
        cells = [self.strides[number] for number in self.finer_levels]
        ratios = [cell // cells[0] for cell in (*cells[1:], self.stride)]
        coarse = (
            F.avg_pool2d(finest.flatten(0, 1), ratio).unflatten(
                0, finest.shape[:2]
            )
            for ratio in ratios
        )
        across, down = stride
        return replace(
            pyramid,
            levels=(finest, *coarse),
            strides=(stride, *((r * across, r * down) for r in ratios)),
        )

    def _encode(
        self,
        encode: Callable[..., list[Tensor]],
        imgs: Tensor,
        frame_mask: Tensor,
        pixel_mask: Tensor,
        extents: Optional[Sequence[Extent]] = None,
    ) -> Pyramid:
        """As :meth:`forward`; ``encode`` gives levels of alike clips."""
        sizes = [pixel_mask.any(1).sum(1), pixel_mask.any(2).sum(1)]
        imgs = _pad_up(imgs, self.granule)
        pixel_mask = _pad_up(pixel_mask, self.granule)
        height, width = imgs.shape[-2:]
        if self.sees == 'clip' and not (self.neck or self.motion):
            maps = encode(imgs, frame_mask, pixel_mask)
        else:
            if extents is None:
                extents = read_extents(frame_mask, pixel_mask)
            maps = self._encode_by_extent(
                encode, imgs, frame_mask, pixel_mask, extents
            )
        pyramid = Pyramid(
            levels=tuple(maps),
            strides=tuple(
                (width / one.shape[-1], height / one.shape[-2]) for one in maps
            ),
            frame_mask_BT=frame_mask,
            sizes_B2=torch.stack(sizes, 1).float(),
            picture_BT3HW=_reduced(imgs, maps[0].shape[-2:]),
        )
        return replace(pyramid, levels=self._merge(pyramid))

    def _merge(self, pyramid: Pyramid) -> tuple[Tensor, ...]:
        """Project all levels to one width and pass the coarse ones down."""
        merged: list[Tensor] = []
        above: Optional[Tensor] = None
        for number in reversed(range(len(pyramid.levels))):
            level = pyramid.levels[number]
            x = self.projects[number](level.flatten(0, 1))
            if above is not None:
                x = x + F.interpolate(above, size=x.shape[-2:])
            above = x
            x = self.norms[number](x.permute(0, 2, 3, 1))
            x = x.unflatten(0, level.shape[:2])
            real = pyramid.real_cells(number)[:, None]
            real = real & pyramid.frame_mask_BT[:, :, None, None]
            if not none_is_padding(real):
                x = x * real[..., None]
            merged.append(x.permute(0, 1, 4, 2, 3))
        return tuple(merged[::-1])

    def _encode_by_extent(
        self,
        encode: Callable[..., list[Tensor]],
        imgs: Tensor,
        frame_mask: Tensor,
        pixel_mask: Tensor,
        extents: Sequence[Extent],
    ) -> list[Tensor]:
        """Encode clips of one length and size together, without padding."""
        unit = self.granule
        extents = [
            (max(t, 1), -(-h // unit) * unit, -(-w // unit) * unit)
            for t, h, w in extents
        ]
        whole = (imgs.shape[1], *imgs.shape[-2:])
        if all(extent == whole for extent in extents):
            return encode(imgs, frame_mask, pixel_mask)
        out: list[Tensor] = []
        for extent in dict.fromkeys(extents):
            frames, height, width = extent
            rows = [row for row, one in enumerate(extents) if one == extent]
            maps = encode(
                imgs[rows, :frames, :, :height, :width],
                frame_mask[rows, :frames],
                pixel_mask[rows, :height, :width],
            )
            for place, part in enumerate(maps):
                _, _, channels, down, across = part.shape
                if len(out) == place:
                    size = (
                        whole[1] * down // height,
                        whole[2] * across // width,
                    )
                    shape = (len(imgs), whole[0], channels, *size)
                    out.append(part.new_zeros(shape))
                # Under autocast masks may raise the precision of some.
                part = part.to(out[place].dtype)
                out[place][rows, :frames, :, :down, :across] = part
        return out

    def encode_alike(
        self, imgs: Tensor, frame_mask: Tensor, pixel_mask: Tensor
    ) -> list[Tensor]:
        """Levels (B, T, C, H, W) of clips of one extent, not projected yet."""
        *finer, looks = self.feature_maps(imgs, frame_mask, pixel_mask)
        if self.motion is None:
            return [*finer, looks]
        (moves,) = self.motion.feature_maps(imgs, frame_mask, pixel_mask)
        if moves.shape[-2:] != looks.shape[-2:]:
            resized = F.interpolate(
                moves.flatten(0, 1), size=looks.shape[-2:], mode='bilinear'
            )
            moves = resized.unflatten(0, moves.shape[:2])
        return [*finer, torch.cat([looks, moves], 2)]


def _reduced(imgs: Tensor, size: Sequence[int]) -> Tensor:
    """Frames (B, T, 3, H, W) in cells of half those of a map of some size."""
    rows, columns = 2 * size[0], 2 * size[1]
    height, width = imgs.shape[-2:]
    if height % rows or width % columns:
        picture = F.adaptive_avg_pool2d(imgs.flatten(0, 1), (rows, columns))
        return picture.unflatten(0, imgs.shape[:2])
    # Channels are last in memory: whole rows are added, then columns.
    x = imgs.permute(0, 1, 3, 4, 2).unflatten(2, (rows, -1))
    x = reduce(torch.add, x.unbind(3)).unflatten(3, (columns, -1))
    x = reduce(torch.add, x.unbind(4)) * (rows * columns / (height * width))
    return x.permute(0, 1, 4, 2, 3)


def _pad_up(pixels: Tensor, multiple: int) -> Tensor:
    """Pad the last two axes with zeros (False) to a multiple."""
    height, width = pixels.shape[-2:]
    below, right = -height % multiple, -width % multiple
    if not (below or right):
        return pixels
    return F.pad(pixels, (0, right, 0, below))
