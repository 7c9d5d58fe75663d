"""Video encoder: any backbone and neck of the MM family, a clip at a time.

The abstract of HERO says *end to end*; we choose that the backbone may be a
2-D one that sees frames or a 3-D one that sees clips, that a neck may follow,
and that a second backbone may bring motion. One level of the result becomes
the grid that is reasoned on.

Shape legend: B clips, T frames, C channels, H W grid, D width.
"""

import inspect
import math
from collections.abc import Sequence
from typing import Optional, Union

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hero_mm.registry import MODELS

from ..features import Details, VideoFeatures
from .feature_tower import FeatureTower

Extent = tuple[int, int, int]
# The map and the level of details.
Maps = tuple[Tensor, Optional[Tensor]]


@MODELS.register_module()
class VideoEncoder(FeatureTower):
    """Encode clips into a grid of regions a frame.

    Clips of different length or size are encoded without what pads them: a
    clip gives the same features alone and beside a larger one. (Backbones of
    the layout 'clip' without a neck are told what is padding instead.)

    Args:
        backbone (dict): Config of a backbone; see :class:`FeatureTower` for
            it and for ``neck``, ``level`` and ``clip_len``.
        embed_dims (int): Width D of the result.
        neck (dict | Sequence[dict], optional): Config of a neck over the
            levels, or of several, one after the other.
        level (int): The level of the neck (else of the backbone) that becomes
            the grid. Defaults to -1, the last.
        in_channels (int, optional): Channels of that level. They are found;
            a number that is given is checked.
        clip_len (int, optional): Frames that a 3-D backbone sees at once.
        detail_level (int, optional): A level of the backbone, finer than the
            grid, that goes along for :class:`RegionDetail`.
        motion (dict, optional): Arguments of a second
            :class:`FeatureTower`, ``backbone`` and perhaps ``neck``,
            ``level``, ``clip_len`` and ``init_cfg``. Its map is resized to
            the grid of the first, and both are projected together.
        init_cfg (dict, optional): Initialization config.
    """

    def __init__(
        self,
        backbone: dict,
        embed_dims: int,
        neck: Union[dict, Sequence[dict], None] = None,
        level: int = -1,
        in_channels: Optional[int] = None,
        clip_len: Optional[int] = None,
        detail_level: Optional[int] = None,
        motion: Optional[dict] = None,
        init_cfg: Optional[dict] = None,
    ) -> None:
        super().__init__(backbone, neck, level, clip_len, init_cfg)
        if in_channels is not None and in_channels != self.channels:
            raise ValueError(
                f'in_channels={in_channels}, but level {level} of '
                f'{self.name if neck is None else type(self.neck).__name__} '
                f'has {self.channels} channels; leave in_channels out'
            )
        self.detail_level = detail_level
        if detail_level is not None:
            number = len(self.widths)
            if not -number <= detail_level < number:
                raise ValueError(
                    f'detail_level={detail_level} does not exist: {self.name} '
                    f'gives {number} levels, of {self.strides} pixels a cell '
                    '(out_indices of the backbone)'
                )
            if self.strides[detail_level] >= self.stride:
                raise ValueError(
                    f'detail_level={detail_level} has cells of '
                    f'{self.strides[detail_level]} pixels, no finer than the '
                    f'grid of {self.stride}: choose a finer level of '
                    f'{self.strides} (out_indices of the backbone), or leave '
                    'out detail_level and model.region_detail'
                )
        self.motion = _build_motion(motion) if motion else None
        # Pixels that the extents of a clip are rounded up to.
        self.granule = self.multiple
        channels = self.channels
        if self.motion is not None:
            self.granule = math.lcm(self.multiple, self.motion.multiple)
            channels += self.motion.channels
        self.project = nn.Conv2d(channels, embed_dims, 1)
        self.norm = nn.LayerNorm(embed_dims)

    @property
    def detail_dims(self) -> int:
        """Channels of the level of details.

        Raises:
            ValueError: There is none.
        """
        if self.detail_level is None:
            raise ValueError(
                'regions read the details of a finer level: set '
                'model.video_encoder.detail_level to a level of the backbone '
                f'({self.name} has levels of {self.strides} pixels a cell), '
                'or model.region_detail=None'
            )
        return self.widths[self.detail_level]

    def forward(
        self, imgs: Tensor, frame_mask: Tensor, pixel_mask: Tensor
    ) -> VideoFeatures:
        """Encode clips.

        Args:
            imgs (Tensor): Normalised frames, has shape (B, T, 3, H, W).
            frame_mask (Tensor): True on real frames, has shape (B, T).
            pixel_mask (Tensor): True on real pixels, has shape (B, H, W).

        Returns:
            VideoFeatures: Normalised regions of width D, zero on padding.

        Raises:
            ValueError: A clip is smaller than one region.
        """
        imgs = _pad_up(imgs, self.granule)
        pixel_mask = _pad_up(pixel_mask, self.granule)
        if self.input_layout == 'clip' and not (self.neck or self.motion):
            maps = self.encode_alike(imgs, frame_mask, pixel_mask)
        else:
            maps = self._encode_by_extent(imgs, frame_mask, pixel_mask)
        level, finer = maps
        height, width = level.shape[-2:]
        stride = (imgs.shape[-1] / width, imgs.shape[-2] / height)
        centres = region_centres(height, width, stride, imgs.device)
        # A region is real where its first pixel is.
        first = (centres - 0.5 * centres.new_tensor(stride)).long()
        real = pixel_mask[:, first[..., 1], first[..., 0]]
        real = frame_mask[:, :, None, None] & real[:, None]
        grid = self.project(level.flatten(0, 1))
        grid = grid.permute(0, 2, 3, 1).contiguous()
        grid = self.norm(grid).unflatten(0, frame_mask.shape)
        if not real.all():
            grid = grid * real[..., None]
        return VideoFeatures(
            regions_BTHWD=grid,
            frame_mask_BT=frame_mask,
            real_BTHW=real,
            centres_BTHW2=centres.expand(*real.shape, 2),
            stride=stride,
            details=None if finer is None else _details(finer, imgs),
        )

    def _encode_by_extent(
        self, imgs: Tensor, frame_mask: Tensor, pixel_mask: Tensor
    ) -> Maps:
        """Encode clips of one length and size together, without padding.

        Returns maps of shape (B, T, C, H, W), zero on padding.
        """
        extents = self._extents(frame_mask, pixel_mask)
        whole = (imgs.shape[1], *imgs.shape[-2:])
        if all(extent == whole for extent in extents):
            return self.encode_alike(imgs, frame_mask, pixel_mask)
        out: list[Tensor] = []
        for extent in dict.fromkeys(extents):
            frames, height, width = extent
            rows = [row for row, one in enumerate(extents) if one == extent]
            maps = self.encode_alike(
                imgs[rows, :frames, :, :height, :width],
                frame_mask[rows, :frames],
                pixel_mask[rows, :height, :width],
            )
            parts = [part for part in maps if part is not None]
            if not out:
                out = [
                    part.new_zeros(
                        (len(imgs), whole[0], part.shape[2])
                        + (whole[1] * part.shape[3] // height,)
                        + (whole[2] * part.shape[4] // width,)
                    )
                    for part in parts
                ]
            for all_of_it, part in zip(out, parts):
                down, across = part.shape[-2:]
                # Under autocast masks may raise the precision of some.
                part = part.to(all_of_it.dtype)
                all_of_it[rows, :frames, :, :down, :across] = part
        return out[0], out[1] if len(out) > 1 else None

    def encode_alike(
        self, imgs: Tensor, frame_mask: Tensor, pixel_mask: Tensor
    ) -> Maps:
        """One or both towers on clips of one extent.

        Args:
            imgs (Tensor): As in :meth:`forward`; height and width are
                multiples of :attr:`granule`.
            frame_mask (Tensor): As in :meth:`forward`.
            pixel_mask (Tensor): As in :meth:`forward`.

        Returns:
            tuple[Tensor, Tensor | None]: Maps to be projected, has shape
            (B, T, C, H, W), and the level of details, alike.
        """
        looks, finer = self.feature_maps(
            imgs, frame_mask, pixel_mask, self.detail_level
        )
        size = tuple(side // self.stride for side in imgs.shape[-2:])
        if looks.shape[-2:] != size:
            raise ValueError(
                f'{self.name} gave a map of {tuple(looks.shape[-2:])} for '
                f'frames of {tuple(imgs.shape[-2:])} pixels; {size} was '
                f'expected of its stride {self.stride}, found in a trial run'
            )
        if self.motion is None:
            return looks, finer
        moves = self.motion.feature_map(imgs, frame_mask, pixel_mask)
        if moves.shape[-2:] != size:
            resized = F.interpolate(
                moves.flatten(0, 1), size=size, mode='bilinear'
            )
            moves = resized.unflatten(0, moves.shape[:2])
        return torch.cat([looks, moves], 2), finer

    def _extents(self, frame_mask: Tensor, pixel_mask: Tensor) -> list[Extent]:
        """Frames, height and width of each clip, rounded up to a granule."""
        frames = frame_mask.sum(1)
        heights = pixel_mask.any(2).sum(1)
        widths = pixel_mask.any(1).sum(1)
        told = torch.stack([frames, heights, widths], 1).tolist()
        for _, height, width in told:
            if min(height, width) < self.stride:
                raise ValueError(
                    f'a clip of {width}x{height} pixels is smaller than one '
                    f'region of {self.stride}x{self.stride} pixels: enlarge '
                    'it (ResizeClip), or choose a level of smaller stride '
                    '(model.video_encoder.level, out_indices of the backbone)'
                )
        return [
            (max(t, 1), self._round_up(h), self._round_up(w))
            for t, h, w in told
        ]

    def _round_up(self, side: int) -> int:
        return -(-side // self.granule) * self.granule


def _build_motion(config: dict) -> FeatureTower:
    known = set(inspect.signature(FeatureTower).parameters)
    if 'backbone' not in config or not known.issuperset(config):
        raise ValueError(
            f'motion needs a backbone and takes {", ".join(sorted(known))}; '
            f'got {", ".join(sorted(config))}'
        )
    return FeatureTower(**config)


def _details(map_BTCHW: Tensor, imgs: Tensor) -> Details:
    height, width = map_BTCHW.shape[-2:]
    stride = (imgs.shape[-1] / width, imgs.shape[-2] / height)
    return Details(map_BTCHW, stride)


def _pad_up(pixels: Tensor, multiple: int) -> Tensor:
    """Pad the last two axes with zeros (False) to a multiple."""
    height, width = pixels.shape[-2:]
    below, right = -height % multiple, -width % multiple
    if not (below or right):
        return pixels
    return F.pad(pixels, (0, right, 0, below))


def region_centres(
    height: int, width: int, stride: tuple[float, float], device: torch.device
) -> Tensor:
    """Centres of the regions of a grid in pixels.

    Args:
        height (int): Rows of the grid.
        width (int): Columns of the grid.
        stride (tuple[float, float]): Pixels a region covers, (x, y).
        device (torch.device): Where the result lives.

    Returns:
        Tensor: x before y, has shape (H, W, 2).
    """
    ys = (torch.arange(height, device=device) + 0.5) * stride[1]
    xs = (torch.arange(width, device=device) + 0.5) * stride[0]
    y, x = torch.meshgrid(ys, xs, indexing='ij')
    return torch.stack([x, y], dim=-1)
