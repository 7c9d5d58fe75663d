"""Any backbone and neck of the MM family, as one map of features a frame.

What a backbone wants and gives is found by running it on a trial clip when it
is built: the layout of its input, how many frames it takes, the strides of its
levels in pixels and in time, their channels. What does not fit is told then,
in words.

Shape legend: B clips, T frames, C channels, H W pixels or grid.
"""

import inspect
import math
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Optional

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from hero_mm.registry import MODELS

from .time_steps import (
    StepCentres,
    align_steps,
    cut_windows,
    hold_last,
    join_windows,
)

# Frames and pixels of the trial clips, the first that runs counts. 224 shows
# strides of 14 too; 24 frames are a length that nobody trains with, so that
# what runs on them runs on any multiple of its stride.
TRIALS = {
    'frame': [(1, 224)],
    'segments': [(6, 64)],
    'video': [(24, 64), (48, 64)],
    'clip': [(8, 64)],
}
# Lengths of clips that backbones of one length are trained with.
FIXED_LENGTHS = (16, 8, 32)
# What a module raises that is run on what it does not take.
FAILURES = (
    AssertionError,
    AttributeError,
    IndexError,
    KeyError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
)
# Of mmaction2; others without a map show it in the trial run.
WITHOUT_MAP = (
    'C3D',
    'TimeSformer',
    'UniFormerV2',
    'STGCN',
    'AAGCN',
    'RGBPoseConv3D',
    'ResNetAudio',
)
CHOOSE = (
    'Choose a backbone that keeps the map (ResNet, Swin, SlowOnly, MViT, '
    'UniFormer ...; docs/configs.md, "Another backbone")'
)


@dataclass
class Level:
    """What the trial run told of a level of the backbone.

    Attributes:
        channels (int): Channels C.
        stride (int): Pixels a cell.
        time_stride (int): Frames a step.
        first (float): The frame at which the first step is centred.
    """

    channels: int
    stride: int
    time_stride: int
    first: float


class FeatureTower(BaseModule):
    """A backbone and a neck that give one map of features a frame.

    Args:
        backbone (dict): Config of a backbone. Its layout is read from an
            attribute ``input_layout`` ('clip': (B, T, 3, H, W) with masks;
            'frame': (N, 3, H, W); 'video': (B, 3, T, H, W)); without one it
            is 'video' if the backbone strides or convolves in 3-D, else
            'frame'.
        neck (dict, optional): Config of a neck over the levels. Its
            ``in_channels`` may be left out.
        level (int): The level of the neck (else of the backbone) that is
            given. Defaults to -1, the last.
        clip_len (int, optional): Frames that a 3-D backbone sees at once;
            longer clips are cut into windows of it, shorter ones hold their
            last frame. None shows it the whole clip, unless it takes clips
            of one length only: that is found.
        init_cfg (dict, optional): Initialization config.

    Attributes:
        input_layout (str): 'clip', 'frame' or 'video'.
        levels (list[Level]): What the backbone gives.
        channels (int): Channels of the map.
        stride (int): Pixels a cell of the map.
        multiple (int): Height and width must be a multiple of it.
    """

    def __init__(
        self,
        backbone: dict,
        neck: Optional[dict] = None,
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
        if clip_len is not None and (
            self.input_layout == 'clip'
            or not (self._segments or self.input_layout == 'video')
        ):
            raise ValueError(
                f'clip_len={clip_len} is for backbones that see several '
                f'frames at once; {self.name} sees one at a time'
                if self.input_layout == 'frame'
                else f'{self.name} takes clips of any length as they are; '
                'leave clip_len out'
            )
        was_training = self.training
        self.eval()
        with torch.no_grad():
            self.levels = self._try_backbone()
            if neck is not None:
                self.neck = self._build_neck(neck).eval()
            self.channels, self.stride = self._try_neck()
        self.train(was_training)
        strides = [self.stride, *(level.stride for level in self.levels)]
        self.multiple = math.lcm(*strides)

    @property
    def name(self) -> str:
        """Name of the class of the backbone."""
        return type(self.backbone).__name__

    def feature_map(
        self, imgs: Tensor, frame_mask: Tensor, pixel_mask: Tensor
    ) -> Tensor:
        """Encode clips of one length and size.

        Args:
            imgs (Tensor): Normalised frames, has shape (B, T, 3, H, W); H
                and W are multiples of :attr:`multiple`, unless the layout is
                'clip'.
            frame_mask (Tensor): True on real frames, has shape (B, T).
            pixel_mask (Tensor): True on real pixels, has shape (B, H, W).
                Only backbones of the layout 'clip' look at the masks.

        Returns:
            Tensor: Has shape (B, T, C, H / stride, W / stride).
        """
        num_clips, num_frames = imgs.shape[:2]
        if self.input_layout == 'clip':
            levels = self.backbone(imgs, frame_mask, pixel_mask)
            flat = [level.flatten(0, 1) for level in levels]
            return self._after(flat).unflatten(0, (num_clips, num_frames))
        step = math.lcm(*(level.time_stride for level in self.levels))
        held = -(-num_frames // step) * step
        if self.clip_len is not None:
            held = max(num_frames, self.clip_len)
        imgs = hold_last(imgs, held)
        if self.clip_len is not None:
            imgs = cut_windows(imgs, self.clip_len)
        length = imgs.shape[1]
        levels = self._steps(imgs)
        aligned = [
            align_steps(level, length, told.first)
            for level, told in zip(levels, self.levels)
        ]
        flat = [level.flatten(0, 1) for level in self._pathways(aligned)]
        out = self._after(flat).unflatten(0, (-1, length))
        if self.clip_len is not None:
            out = join_windows(out, num_clips, held)
        return out[:, :num_frames]

    def _steps(self, imgs: Tensor) -> list[Tensor]:
        """Levels of the backbone, each of shape (B, T', C, H, W)."""
        num_clips, num_frames = imgs.shape[:2]
        if self.input_layout == 'frame':
            for module, ratio in self._segments:
                module.num_segments = int(num_frames * ratio)
            levels = self._as_maps(self.backbone(imgs.flatten(0, 1)), 4)
            return [level.unflatten(0, (num_clips, -1)) for level in levels]
        levels = self._as_maps(self.backbone(imgs.transpose(1, 2)), 5)
        return [level.transpose(1, 2) for level in levels]

    def _as_maps(self, levels: Any, dims: int) -> list[Tensor]:
        """A list of maps; ValueError where the backbone gave none."""
        levels = [levels] if isinstance(levels, Tensor) else list(levels)
        levels = [_without_class_token(level) for level in levels]
        for level in levels:
            if not isinstance(level, Tensor) or level.dim() != dims:
                shape = getattr(level, 'shape', type(level).__name__)
                shape = tuple(shape) if isinstance(level, Tensor) else shape
                raise NoMapError(
                    f'{self.name} gives a feature of shape {shape}; '
                    'grounding needs a map with height and width a frame. '
                    f'{CHOOSE}, or switch its pooling off (VisionTransformer '
                    'of mmaction2: return_feat_map=True; ConvNeXt of '
                    'mmpretrain: gap_before_final_norm=False; other vision '
                    "transformers of mmpretrain: out_type='featmap')"
                )
        return levels

    def _pathways(self, levels: list[Tensor]) -> list[Tensor]:
        """SlowFast's pathways are one level: channels beside each other."""
        if hasattr(self.backbone, 'slow_path'):
            return [torch.cat(levels, 2)]
        return levels

    def _after(self, flat: Sequence[Tensor]) -> Tensor:
        """Neck and choice of the level, (B * T, C, H, W)."""
        if self.neck is not None:
            try:
                flat = self.neck(tuple(flat))
            except RuntimeError as error:
                sizes = [tuple(level.shape[-2:]) for level in flat]
                if min(min(size) for size in sizes) > 2:
                    raise
                raise ValueError(
                    f'the neck {type(self.neck).__name__} does not run on '
                    f'maps of {sizes} cells: the frames are too small for '
                    f'it, or it has too many levels. {_reason(error)}'
                ) from error
            flat = [flat] if isinstance(flat, Tensor) else flat
        if not -len(flat) <= self.level < len(flat):
            raise NoLevelError(f'level={self.level} of {len(flat)} levels')
        return flat[self.level]

    def _trial(self, frames: int, size: int) -> list[Level]:
        """Run the backbone on a clip of zeros."""
        imgs = next(self.backbone.parameters()).new_zeros(
            1, frames, 3, size, size
        )
        if self.input_layout == 'clip':
            seen = imgs.new_ones(1, frames, dtype=torch.bool)
            real = imgs.new_ones(1, size, size, dtype=torch.bool)
            levels = list(self.backbone(imgs, seen, real))
            return [_describe(x, frames, size, 0.0) for x in levels]
        centres = StepCentres()
        with centres.watch(self.backbone):
            levels = self._steps(imgs)
        # Pathways have to fit each other.
        self._pathways([align_steps(x, frames, 0.0) for x in levels])
        return [
            _describe(x, frames, size, centres.first(frames, x.shape[1]))
            for x in levels
        ]

    def _try_backbone(self) -> list[Level]:
        """Find what the backbone gives, and the frames that it takes."""
        kind = 'segments' if self._segments else self.input_layout
        trials: list[tuple[int, int, Optional[int]]] = [
            (frames, size, None) for frames, size in TRIALS[kind]
        ]
        if self.clip_len is not None:
            trials = [(self.clip_len, 64, self.clip_len)]
        elif kind in ('segments', 'video'):
            usual = getattr(self.backbone, 'num_segments', None)
            lengths = (usual,) if usual else FIXED_LENGTHS
            trials += [(length, 64, length) for length in lengths]
        said, before = [], None
        for frames, size, clip_len in trials:
            try:
                levels = self._trial(frames, size)
            except NoMapError:
                raise
            except FAILURES as error:
                said.append(f'{frames} of {size}x{size}: {_reason(error)}')
                continue
            strides = [level.time_stride for level in levels]
            told = f'{frames} frames give steps of {strides} frames'
            if clip_len is not None and any(clip_len % s for s in strides):
                said.append(f'{told}; clip_len must be a multiple of it')
                continue
            # 24 frames at stride 16 look like stride 12.
            odd = any(stride & (stride - 1) for stride in strides)
            if odd and strides != before and clip_len is None:
                said.append(told)
                before = strides
                continue
            self.clip_len = clip_len
            return levels
        shape = dict(video='(B, 3, T, H, W)', clip='(B, T, 3, H, W)').get(
            self.input_layout, '(N, 3, H, W)'
        )
        raise ValueError(
            f'{self.name} does not run on a trial clip of shape {shape}. Said '
            f'of T frames of HxW pixels: {"; ".join(said)}. {CHOOSE}'
        )

    def _build_neck(self, config: dict) -> nn.Module:
        """Build the neck, with the channels that were found."""
        config = dict(config)
        cls = config['type']
        cls = MODELS.get(cls) if isinstance(cls, str) else cls
        if cls is not None and 'in_channels' not in config:
            wanted = inspect.signature(cls).parameters
            if 'in_channels' in wanted:
                config['in_channels'] = self._channels_into_neck()
        return MODELS.build(config)

    def _channels_into_neck(self) -> list[int]:
        channels = [level.channels for level in self.levels]
        if hasattr(self.backbone, 'slow_path'):
            return [sum(channels)]
        return channels

    def _try_neck(self) -> tuple[int, int]:
        """Channels and stride of the map, from zeros of the found shapes."""
        size = 8 * math.lcm(*(level.stride for level in self.levels))
        strides = [level.stride for level in self.levels]
        channels = self._channels_into_neck()
        like = next(self.backbone.parameters())
        flat = [
            like.new_zeros(1, width, size // stride, size // stride)
            for width, stride in zip(channels, strides)
        ]
        told = f'{self.name} gives channels {channels} at strides {strides}'
        if self.neck is not None:
            name = type(self.neck).__name__
            told = f'the neck {name} does not fit the backbone: {told}'
            given = getattr(self.neck, 'in_channels', None)
            if given is not None:
                told += f', and the neck has in_channels={given}'
        try:
            out = self._after(flat)
        except NoLevelError as error:
            raise ValueError(f'{error} does not exist: {told}') from error
        except FAILURES as error:
            raise ValueError(
                f'{told}. Leave in_channels out, or change out_indices of '
                f'the backbone. {_reason(error)}'
            ) from error
        return out.shape[1], round(size / out.shape[-1])


class NoMapError(ValueError):
    """The backbone gives vectors, not maps."""


class NoLevelError(ValueError):
    """There are fewer levels."""


def _build_backbone(config: dict) -> nn.Module:
    name = str(config.get('type', '')).rpartition('.')[2]
    if name in WITHOUT_MAP and MODELS.module_dict.get(name) is None:
        raise ValueError(
            f'{name} gives one vector a clip (or takes no pictures); '
            f'grounding needs a map with height and width a frame. {CHOOSE}'
        )
    try:
        backbone = MODELS.build(config)
    except AssertionError as error:
        raise ValueError(
            f'{config["type"]} refuses its arguments: {_reason(error)}'
        ) from error
    # Inflating 2-D weights is the default of mmaction2 even without any.
    if (
        getattr(backbone, 'pretrained2d', False)
        and getattr(backbone, 'pretrained', None) is None
    ):
        backbone.pretrained2d = False
    return backbone


def _reason(error: Exception) -> str:
    """First line of an error, or the line that raised it."""
    text = str(error).strip().split('\n')[0]
    if text:
        return text
    frames = traceback.extract_tb(error.__traceback__)
    return f'{type(error).__name__} at "{frames[-1].line}"'


def _without_class_token(level: Any) -> Any:
    """MViT gives a pair, the map and the token of the class."""
    if isinstance(level, (list, tuple)) and len(level) == 2:
        first, token = level
        if isinstance(token, Tensor) and token.dim() == 2:
            return first
    return level


def _layout(backbone: nn.Module) -> str:
    """'clip', 'frame' or 'video'."""
    told = getattr(backbone, 'input_layout', None)
    if told is not None:
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


def _describe(level: Tensor, frames: int, size: int, first: float) -> Level:
    """Of a level of shape (1, T', C, H, W)."""
    _, steps, channels, height, _ = level.shape
    return Level(
        channels,
        round(size / height),
        -(-frames // steps),
        first,
    )
