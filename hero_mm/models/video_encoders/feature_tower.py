"""Any backbone and neck of the MM family, as one map of features a frame.

What a backbone wants and gives is found by running it on a trial clip when it
is built: the layout of its input, how many frames it takes, the strides of its
levels in pixels and in time, their channels. What does not fit is told then,
in words.

Shape legend: B clips, T frames, C channels, H W pixels or grid.
"""

import math
from collections.abc import Sequence
from typing import Any, Optional, Union

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from .building import (
    CHOOSE_NECK,
    as_maps,
    build_neck,
    build_part,
    reason,
    untouched,
)
from .time_steps import align_steps, cut_windows, hold_last, join_windows
from .trials import find_levels

LAYOUTS = ('clip', 'frame', 'video')
# What a module raises that is given frames that it does not take.
REFUSALS = (AssertionError, IndexError, RuntimeError, ValueError)


class FeatureTower(BaseModule):
    """A backbone and a neck that give one map of features a frame.

    Args:
        backbone (dict): Config of a backbone. Its layout is read from an
            attribute ``input_layout`` ('clip': (B, T, 3, H, W) with masks;
            'frame': (N, 3, H, W); 'video': (B, 3, T, H, W)); without one it
            is 'video' if the backbone strides or convolves in 3-D, else
            'frame'.
        neck (dict | Sequence[dict], optional): Config of a neck over the
            levels, or of several, one after the other. Their ``in_channels``
            may be left out.
        level (int): The level of the neck (else of the backbone) that is
            given. Defaults to -1, the last.
        clip_len (int, optional): Frames that a 3-D backbone sees at once;
            longer clips are cut into windows of it, shorter ones hold their
            last frame. None shows it the whole clip, unless it takes clips
            of one length only: that is found.
        init_cfg (dict, optional): Initialization config.

    Attributes:
        input_layout (str): 'clip', 'frame' or 'video'.
        sees (str): The same, or 'segments' where frames of one clip are seen
            together.
        levels (list[Level]): What the backbone gives.
        widths (list[int]): Channels of each level before the neck.
        strides (list[int]): Pixels a cell of each level before the neck.
        channels (int): Channels of the map.
        stride (int): Pixels a cell of the map.
        multiple (int): Height and width must be a multiple of it.
    """

    def __init__(
        self,
        backbone: dict,
        neck: Union[dict, Sequence[dict], None] = None,
        level: int = -1,
        clip_len: Optional[int] = None,
        init_cfg: Optional[dict] = None,
    ) -> None:
        super().__init__(init_cfg)
        self.backbone = _build_backbone(backbone)
        self.neck: Optional[nn.Module] = None
        self.level = level
        self.clip_len = clip_len
        self.input_layout = _layout(self.backbone)
        self._segments = _segments(self.backbone)
        self.sees = 'segments' if self._segments else self.input_layout
        self._check_clip_len()
        with untouched(self):
            self.levels, self.clip_len = find_levels(
                self._trial,
                self.backbone,
                self.sees,
                clip_len,
                getattr(self.backbone, 'num_segments', None)
                or backbone.get('num_frames'),
            )
        self.channels, self.stride = self._build_neck(neck)
        strides = [self.stride, *(level.stride for level in self.levels)]
        self.multiple = math.lcm(*strides)

    @property
    def name(self) -> str:
        """Name of the class of the backbone."""
        return type(self.backbone).__name__

    def feature_map(
        self, imgs: Tensor, frame_mask: Tensor, pixel_mask: Tensor
    ) -> Tensor:
        """Encode clips of one length and size; see :meth:`feature_maps`."""
        return self.feature_maps(imgs, frame_mask, pixel_mask)[-1]

    def feature_maps(
        self,
        imgs: Tensor,
        frame_mask: Tensor,
        pixel_mask: Tensor,
        finer: Sequence[int] = (),
    ) -> list[Tensor]:
        """Encode clips of one length and size.

        Args:
            imgs (Tensor): Normalised frames, has shape (B, T, 3, H, W); H
                and W are multiples of :attr:`multiple`.
            frame_mask (Tensor): True on real frames, has shape (B, T).
            pixel_mask (Tensor): True on real pixels, has shape (B, H, W).
                Only backbones of the layout 'clip' look at the masks.
            finer (Sequence[int]): Levels of the backbone that are wanted too.

        Returns:
            list[Tensor]: These levels and the map, each of shape (B, T, C,
            H / stride, W / stride).

        Raises:
            ValueError: The backbone or the neck does not take such frames.
        """
        num_clips, num_frames = imgs.shape[:2]
        step = math.lcm(*(level.time_stride for level in self.levels))
        held = -(-num_frames // step) * step
        if self.clip_len is not None:
            held = max(num_frames, self.clip_len)
        imgs = hold_last(imgs, held)
        frame_mask = hold_last(frame_mask, held)
        if self.clip_len is not None:
            imgs = cut_windows(imgs, self.clip_len)
        length = imgs.shape[1]
        levels = self._steps(imgs, frame_mask, pixel_mask)
        self._check_steps(levels, length)
        aligned = [
            align_steps(level, length, told.first)
            for level, told in zip(levels, self.levels)
        ]
        flat = [level.flatten(0, 1) for level in self._pathways(aligned)]
        wanted = [flat[number] for number in finer]
        if self.neck is not None:
            out = self._run(self.neck, imgs, tuple(flat))
            flat = as_maps(out, 4, self.neck, CHOOSE_NECK)
        maps = []
        for level in (*wanted, flat[self.level]):
            level = level.unflatten(0, (-1, length))
            if self.clip_len is not None:
                level = join_windows(level, num_clips, held)
            maps.append(level[:, :num_frames])
        return maps

    def _steps(
        self, imgs: Tensor, frame_mask: Tensor, pixel_mask: Tensor
    ) -> list[Tensor]:
        """Levels of the backbone, each of shape (B, T', C, H, W)."""
        num_clips, num_frames = imgs.shape[:2]
        if self.input_layout == 'clip':
            levels = self._run(
                self.backbone, imgs, imgs, frame_mask, pixel_mask
            )
            return as_maps(levels, 5, self.backbone)
        if self.input_layout == 'video':
            levels = self._run(self.backbone, imgs, imgs.transpose(1, 2))
            levels = as_maps(levels, 5, self.backbone)
            return [level.transpose(1, 2) for level in levels]
        for module, ratio in self._segments:
            module.num_segments = int(num_frames * ratio)
        levels = self._run(self.backbone, imgs, imgs.flatten(0, 1))
        levels = as_maps(levels, 4, self.backbone)
        counts = [len(level) for level in levels]
        if any(count % num_clips for count in counts):
            raise ValueError(
                f'{self.name} gives {counts} maps for {num_clips} clips of '
                f'{num_frames} frames: grounding needs one a frame'
            )
        return [level.unflatten(0, (num_clips, -1)) for level in levels]

    def _run(self, module: nn.Module, clips: Tensor, *args: Any) -> Any:
        """Run a module; ValueError where it does not take such frames."""
        try:
            return module(*args)
        except torch.cuda.OutOfMemoryError:
            raise
        except REFUSALS as error:
            frames, (height, width) = clips.shape[1], clips.shape[-2:]
            raise ValueError(
                f'{type(module).__name__} does not run on clips of {frames} '
                f'frames of {width}x{height} pixels: {reason(error)}. Frames '
                'may be too small for it (enlarge them by ResizeClip, choose '
                'fewer levels), and some backbones take frames of one size '
                'only'
            ) from error

    def _check_steps(self, levels: list[Tensor], length: int) -> None:
        """ValueError where time is not as it was found."""
        steps = [level.shape[1] for level in levels]
        wanted = [length // level.time_stride for level in self.levels]
        if steps != wanted:
            raise ValueError(
                f'{self.name} gives {steps} steps for {length} frames; '
                f'{wanted} were expected after a trial run in evaluation '
                'mode. In training it must give the same levels, without '
                'branches of its own'
            )

    def _pathways(self, levels: list[Tensor]) -> list[Tensor]:
        """SlowFast's pathways are one level: channels beside each other."""
        if hasattr(self.backbone, 'slow_path'):
            return [torch.cat(levels, 2)]
        return levels

    def _trial(self, frames: int, side: int) -> list[Tensor]:
        """Run the backbone on a clip of zeros."""
        like = next(self.backbone.parameters(), torch.zeros(()))
        imgs = like.new_zeros(1, frames, 3, side, side)
        levels = self._steps(
            imgs,
            imgs.new_ones(1, frames, dtype=torch.bool),
            imgs.new_ones(1, side, side, dtype=torch.bool),
        )
        # Pathways have to fit each other.
        self._pathways([align_steps(x, frames, 0.0) for x in levels])
        return levels

    def _build_neck(
        self, configs: Union[dict, Sequence[dict], None]
    ) -> tuple[int, int]:
        """Build the necks; channels and stride of the map."""
        side = 8 * math.lcm(*(level.stride for level in self.levels))
        like = next(self.backbone.parameters(), torch.zeros(()))
        levels = [
            like.new_zeros(
                1, told.channels, 1, side // told.stride, side // told.stride
            ).transpose(1, 2)
            for told in self.levels
        ]
        flat = [level.flatten(0, 1) for level in self._pathways(levels)]
        self.widths = [level.shape[1] for level in flat]
        self.strides = [side // level.shape[-1] for level in flat]
        necks: list[nn.Module] = []
        several = [configs] if isinstance(configs, dict) else configs or []
        for config in several:
            neck, flat = build_neck(config, flat)
            necks.append(neck)
        if necks:
            # The keys of one alone say no number.
            self.neck = nn.Sequential(*necks) if necks[1:] else necks[0]
        if not -len(flat) <= self.level < len(flat):
            raise ValueError(
                f'level={self.level} does not exist: there are {len(flat)} '
                f'levels, of {[side // x.shape[-1] for x in flat]} pixels a '
                'cell'
            )
        _, channels, height, width = flat[self.level].shape
        if height != width or not height or side % height:
            raise ValueError(
                f'level {self.level} of the neck is a map of {height}x{width} '
                f'cells for frames of {side}x{side} pixels: grounding needs '
                'cells of a whole number of pixels'
            )
        return channels, side // height

    def _check_clip_len(self) -> None:
        if self.clip_len is None:
            return
        if self.clip_len < 1:
            raise ValueError(
                f'clip_len is a number of frames; got {self.clip_len}'
            )
        if self.input_layout == 'clip':
            raise ValueError(
                f'{self.name} takes clips of any length as they are; leave '
                f'clip_len={self.clip_len} out'
            )
        if self.sees == 'frame':
            raise ValueError(
                f'clip_len={self.clip_len} is for backbones that see several '
                f'frames at once; {self.name} sees one at a time'
            )


def _build_backbone(config: dict) -> nn.Module:
    backbone: Any = build_part(config, 'backbone')
    # Inflating 2-D weights is the default of mmaction2 even without any.
    if (
        getattr(backbone, 'pretrained2d', False)
        and getattr(backbone, 'pretrained', None) is None
    ):
        backbone.pretrained2d = False
    return backbone


def _layout(backbone: nn.Module) -> str:
    """'clip', 'frame' or 'video'."""
    told = getattr(backbone, 'input_layout', None)
    if told is not None:
        if told not in LAYOUTS:
            raise ValueError(
                f'input_layout of {type(backbone).__name__} must be one of '
                f'{LAYOUTS}; got {told!r}'
            )
        return told
    # TSM and its kind hold 3-D pooling and non-local blocks, and take frames.
    if hasattr(backbone, 'num_segments'):
        return 'frame'
    solid = (nn.Conv3d, nn.MaxPool3d, nn.AvgPool3d)
    has_3d = any(isinstance(m, solid) for m in backbone.modules())
    return 'video' if has_3d else 'frame'


def _segments(backbone: nn.Module) -> list[tuple[Any, float]]:
    """Modules that are told the number of frames, and their share of it.

    TSM is configured for one number of frames; temporal pooling halves it in
    the later stages.
    """
    whole = getattr(backbone, 'num_segments', None)
    if not whole:
        return []
    return [
        (module, module.num_segments / whole)
        for module in backbone.modules()
        if module is not backbone
        and isinstance(getattr(module, 'num_segments', None), int)
    ]
