"""Any backbone and neck of the MM family, as one map of features a frame.

The layout of its input is read from the backbone. Strides, channels and steps
in time are seen in one run on a clip of zeros when it is built, and said in
one line. What does not fit is refused then.

Shape legend: B clips, T frames, C channels, H W pixels or grid.
"""

import inspect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Optional, Union

import torch
from mmengine.logging import print_log
from mmengine.model import BaseModule
from torch import Tensor, nn

from hero_mm.errors import UserError

from .building import (
    CHOOSE,
    CHOOSE_NECK,
    as_maps,
    build_part,
    freeze_unread,
    in_words,
    run_neck,
    untouched,
)
from .time_steps import (
    align_steps,
    cut_windows,
    first_step,
    hold_last,
    join_windows,
    step_shifts,
)

LAYOUTS = ('clip', 'frame', 'video')
# Frames of the clip of zeros, by what a backbone sees.
LENGTHS = {'frame': 1, 'clip': 8, 'segments': 12, 'video': 32}
STRIDED = (nn.Conv2d, nn.Conv3d, nn.MaxPool2d, nn.MaxPool3d)


@dataclass
class Level:
    """A level of the backbone.

    Pixels a cell, frames a step, the frame at which the first step is centred.
    """

    stride: int
    time_stride: int
    first: float


class FeatureTower(BaseModule):
    """A backbone and a neck that give one map of features a frame.

    What nothing reads (a stage behind the last level that is used) is frozen,
    so that it does not stop distributed training.

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
            last frame. Defaults to ``num_frames`` of the backbone, where it
            has that; None shows it the whole clip.
        finer_levels (Sequence[int]): Levels of the backbone that are read
            beside the map.
        init_cfg (dict, optional): Initialization config.

    Attributes:
        levels (list[Level]): What the backbone gives.
        widths, strides (list[int]): Channels and pixels a cell of each level
            before the neck.
        channels, stride (int): Those of the map.
        multiple (int): Height and width must be a multiple of it.
        unread (list[str]): Parts that nothing reads.
    """

    def __init__(
        self,
        backbone: dict,
        neck: Union[dict, Sequence[dict], None] = None,
        level: int = -1,
        clip_len: Optional[int] = None,
        finer_levels: Sequence[int] = (),
        init_cfg: Optional[dict] = None,
    ) -> None:
        super().__init__(init_cfg)
        self.backbone = _build_backbone(backbone)
        self.neck: Optional[nn.Module] = None
        self.level = level
        self.finer_levels = tuple(finer_levels)
        self.input_layout = _layout(self.backbone)
        self._segments = _segments(self.backbone)
        self.sees = 'segments' if self._segments else self.input_layout
        self.clip_len = clip_len
        self._check_clip_len()
        if clip_len is None and self.sees == 'video':
            self.clip_len = _num_frames(self.backbone, backbone)
        with untouched(self, gradients=True):
            self._look(backbone, neck)
        strides = [self.stride, *(level.stride for level in self.levels)]
        self.multiple = math.lcm(*strides)
        print_log(self.describe(), logger='current')

    @property
    def name(self) -> str:
        """The class of the backbone."""
        return type(self.backbone).__name__

    @property
    def wants_bgr(self) -> bool:
        """Whether pretrained weights of it were made for B, G, R."""
        return getattr(self.backbone, 'style', None) == 'caffe'

    def describe(self) -> str:
        """One line: layout, strides, channels, grid, and what is unread."""
        sees = dict(frame='frames one by one', segments='frames of a clip')
        steps = sorted({level.time_stride for level in self.levels})
        return (
            f'{self.name} sees {sees.get(self.sees, "clips")}'
            + (f' in windows of {self.clip_len}' if self.clip_len else '')
            + f'; levels of {_listed(self.strides)} pixels a cell with '
            f'{_listed(self.widths)} channels, a step every '
            f'{_listed(steps)} frame(s); the map has {self.stride} pixels a '
            f'cell and {self.channels} channels; '
            + (
                f'nothing reads {", ".join(self.unread)}: frozen'
                if self.unread
                else 'all of it is read'
            )
        )

    def init_weights(self) -> None:
        """Initialise; ValueError where pretrained weights fill nothing."""
        # mmaction2's ``pretrained`` inflates weights past MMEngine's loader.
        parts = [
            part
            for part in self.backbone.modules()
            if isinstance(getattr(part, 'pretrained', None), str)
        ]
        before = [[p.clone() for p in part.parameters()] for part in parts]
        try:
            super().init_weights()
        except KeyError:
            # It takes names for granted.
            _refuse_unfilled(parts, before)
            raise
        _refuse_unfilled(parts, before)

    def feature_map(
        self, imgs: Tensor, frame_mask: Tensor, pixel_mask: Tensor
    ) -> Tensor:
        """The map alone; see :meth:`feature_maps`."""
        return self.feature_maps(imgs, frame_mask, pixel_mask)[-1]

    def feature_maps(
        self, imgs: Tensor, frame_mask: Tensor, pixel_mask: Tensor
    ) -> list[Tensor]:
        """Encode clips of one length and size.

        Args:
            imgs (Tensor): Normalised frames, has shape (B, T, 3, H, W); H
                and W are multiples of :attr:`multiple`.
            frame_mask (Tensor): True on real frames, has shape (B, T).
            pixel_mask (Tensor): True on real pixels, has shape (B, H, W).
                Only backbones of the layout 'clip' look at the masks.

        Returns:
            list[Tensor]: The finer levels and the map, each of shape (B, T,
            C, H / stride, W / stride).
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
        flat = self._frames(levels, length)
        wanted = [flat[level] for level in self.finer_levels]
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
            raise UserError(
                f'{self.name} gives {counts} maps for {num_clips} clips of '
                f'{num_frames} frames: grounding needs one a frame'
            )
        return [level.unflatten(0, (num_clips, -1)) for level in levels]

    def _run(self, module: nn.Module, clips: Tensor, *args: Any) -> Any:
        """Run a module; ValueError where it does not take such frames."""
        frames, (height, width) = clips.shape[1], clips.shape[-2:]
        with in_words(
            f'{type(module).__name__} does not run on clips of {frames} '
            f'frames of {width}x{height} pixels',
            'Check its arguments. Frames may be too small for it (enlarge '
            'them by ResizeClip, choose fewer levels); some backbones take '
            'frames of one size, or clips of one length (clip_len) only',
        ):
            return module(*args)

    def _check_steps(self, levels: list[Tensor], length: int) -> None:
        """ValueError where time is not as it was seen."""
        steps = [level.shape[1] for level in levels]
        wanted = [length // level.time_stride for level in self.levels]
        if steps != wanted:
            raise UserError(
                f'{self.name} gives {steps} steps for {length} frames; '
                f'{wanted} were expected after a run in evaluation mode. In '
                'training it must give the same levels, without branches of '
                'its own'
            )

    def _frames(self, levels: list[Tensor], length: int) -> list[Tensor]:
        """Levels at the frames that their steps are made of, (N, C, H, W)."""
        aligned = [
            align_steps(level, length, seen.first)
            for level, seen in zip(levels, self.levels)
        ]
        if hasattr(self.backbone, 'slow_path'):
            # SlowFast's pathways are one level: channels beside each other.
            aligned = [torch.cat(aligned, 2)]
        return [level.flatten(0, 1) for level in aligned]

    def _look(
        self, config: dict, necks: Union[dict, Sequence[dict], None]
    ) -> None:
        """Run on a clip of zeros: what is given, and what nothing reads."""
        frames = self.clip_len or LENGTHS[self.sees]
        side = _side(self.backbone, 128 if self.sees == 'frame' else 64)
        like = next(self.backbone.parameters(), torch.zeros(()))
        imgs = like.new_zeros(1, frames, 3, side, side)
        with step_shifts(self.backbone) as shifts:
            levels = self._steps(
                imgs,
                imgs.new_ones(1, frames, dtype=torch.bool),
                imgs.new_ones(1, side, side, dtype=torch.bool),
            )
        self.levels = [
            self._describe_level(level, frames, side, shifts)
            for level in levels
        ]
        flat = self._frames(levels, frames)
        self.widths = [level.shape[1] for level in flat]
        self.strides = [side // level.shape[-1] for level in flat]
        self._check_numbers(config)
        read = [flat[level] for level in self.finer_levels]
        several = [necks] if isinstance(necks, dict) else necks or []
        built: list[nn.Module] = []
        for neck in several:
            module, flat = run_neck(neck, flat)
            built.append(module)
        if built:
            # The keys of one alone say no number.
            self.neck = nn.Sequential(*built) if built[1:] else built[0]
        cells = [side // level.shape[-1] for level in flat]
        if not -len(flat) <= self.level < len(flat):
            raise UserError(
                f'level={self.level} does not exist: there are {len(flat)} '
                f'levels, of {cells} pixels a cell'
            )
        map_NCHW = flat[self.level]
        _check_cells(f'level {self.level} of the neck', map_NCHW, side)
        self.channels, self.stride = map_NCHW.shape[1], cells[self.level]
        self.unread = freeze_unread(self, [*read, map_NCHW])
        self._check_stages()

    def _describe_level(
        self, level: Tensor, frames: int, side: int, shifts: dict[int, float]
    ) -> Level:
        steps, width = level.shape[1], level.shape[-1]
        _check_cells(f'a level of {self.name}', level, side)
        few = steps == 1 < frames and self.clip_len is None
        if not steps or frames % steps or few:
            raise UserError(
                f'{self.name} gives {steps} steps for {frames} frames: '
                'grounding needs steps of a whole number of frames each, and '
                'more of them for a longer clip. Choose other strides or '
                'paddings in time, or a clip_len (the frames that it sees at '
                'once) that is a multiple of its stride in time'
            )
        first = first_step(shifts, frames, steps)
        return Level(side // width, frames // steps, first)

    def _check_numbers(self, config: dict) -> None:
        """ValueError where the levels are not those that were asked for."""
        number = len(self.widths)
        asked = config.get('out_indices')
        if isinstance(asked, (list, tuple)) and len(asked) != len(self.levels):
            raise UserError(
                f'{self.name} gives {len(self.levels)} level(s) of '
                f'{self.strides} pixels a cell; out_indices={asked} asks for '
                f'{len(asked)}. Leave out_indices out where it has no effect'
            )
        if any(not -number <= one < number for one in self.finer_levels):
            raise UserError(
                f'finer_levels={self.finer_levels}, but {self.name} gives '
                f'{number} levels, of {self.strides} pixels a cell '
                '(out_indices of the backbone)'
            )

    def _check_stages(self) -> None:
        """ValueError where a ResNet does not heed its ``out_indices``."""
        for name, part in self.named_modules():
            stages = getattr(part, 'res_layers', None)
            asked = getattr(part, 'out_indices', None)
            if not (isinstance(stages, list) and isinstance(asked, tuple)):
                continue
            learns = any(
                p.grad is not None
                for p in getattr(part, stages[-1]).parameters()
            )
            if max(asked) < len(stages) - 1 and learns:
                raise UserError(
                    f'{type(part).__name__} ({name}) does not heed '
                    f'out_indices={asked} and gives its last stage, of '
                    f'{self.levels[-1].stride} pixels a cell. Set num_stages, '
                    'or spatial strides of 1 in its last stages, for a finer '
                    'map'
                )

    def _check_clip_len(self) -> None:
        if self.clip_len is None:
            return
        if self.sees in ('clip', 'frame'):
            takes = dict(clip='clips of any length', frame='one frame')
            raise UserError(
                f'clip_len={self.clip_len} is for backbones that see several '
                f'frames at once; {self.name} takes {takes[self.sees]} at a '
                'time: leave it out'
            )
        if self.clip_len < 1:
            raise UserError(
                f'clip_len is a number of frames; got {self.clip_len}'
            )


def _refuse_unfilled(parts: list[Any], before: list[list[Tensor]]) -> None:
    """ValueError where a ``pretrained`` left its part as it was."""
    for part, old in zip(parts, before):
        if all(map(torch.equal, part.parameters(), old)):
            raise UserError(
                f'pretrained={part.pretrained!r} fills nothing of '
                f'{type(part).__name__}: the names in the file are others. '
                'Give init_cfg of the video encoder a checkpoint of the '
                'whole recogniser (docs/pretrained.md)'
            )


def _build_backbone(config: dict) -> nn.Module:
    backbone: Any = build_part(config, 'backbone')
    # Inflating 2-D weights is the default of mmaction2 even without any.
    if (
        getattr(backbone, 'pretrained2d', False)
        and getattr(backbone, 'pretrained', None) is None
    ):
        backbone.pretrained2d = False
    for part in backbone.modules():
        if getattr(part, 'with_cp', False):
            part.register_forward_pre_hook(_with_gradient)
    return backbone


def _with_gradient(module: nn.Module, inputs: tuple) -> Optional[tuple]:
    """Give a checkpointed block an input with a gradient.

    Behind frozen stages there is none, and torch's reentrant checkpoints then
    give the weights of the block none either.
    """
    x = inputs[0] if inputs else None
    if (
        not isinstance(x, Tensor)
        or x.requires_grad
        or not torch.is_grad_enabled()
        or not any(p.requires_grad for p in module.parameters())
    ):
        return None
    return (x.detach().requires_grad_(), *inputs[1:])


def _layout(backbone: nn.Module) -> str:
    """'clip', 'frame' or 'video'."""
    said = getattr(backbone, 'input_layout', None)
    if said is not None:
        if said not in LAYOUTS:
            raise UserError(
                f'input_layout of {type(backbone).__name__} must be one of '
                f'{LAYOUTS}; got {said!r}'
            )
        return said
    # TSM and its kind hold 3-D pooling and non-local blocks, and take frames.
    if hasattr(backbone, 'num_segments'):
        return 'frame'
    solid = (nn.Conv3d, nn.MaxPool3d, nn.AvgPool3d)
    has_3d = any(isinstance(m, solid) for m in backbone.modules())
    return 'video' if has_3d else 'frame'


def _segments(backbone: nn.Module) -> list[tuple[Any, float]]:
    """Modules that need the number of frames, and their share of it.

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


def _num_frames(backbone: nn.Module, config: dict) -> Optional[int]:
    """The frames that a backbone is made for, as VideoMAE's is."""
    if 'num_frames' in config:
        return config['num_frames']
    known = inspect.signature(type(backbone).__init__).parameters
    default = known['num_frames'].default if 'num_frames' in known else None
    return default if isinstance(default, int) else None


def _side(backbone: nn.Module, least: int) -> int:
    """Pixels a side that show strides of 14 as well as those of 16."""
    odd = 1
    for module in backbone.modules():
        if isinstance(module, STRIDED):
            stride: Any = module.stride
            stride = stride if isinstance(stride, int) else stride[-1]
            odd = math.lcm(odd, stride // (stride & -stride))
    return odd * 2 ** max(0, math.ceil(math.log2(least / odd)))


def _check_cells(what: str, level: Tensor, side: int) -> None:
    """ValueError where a cell is no whole number of pixels."""
    height, width = level.shape[-2:]
    if height != width or not height or side % height:
        raise UserError(
            f'{what} is a map of {height}x{width} cells for frames of '
            f'{side}x{side} pixels: grounding needs cells of a whole number '
            f'of pixels, which layers without padding do not give. {CHOOSE}'
        )


def _listed(numbers: Sequence[int]) -> str:
    return ', '.join(map(str, numbers))
