"""Any backbone and neck of the MM family, as one map of features a frame.

Strides, channels and steps in time are seen in one run on a clip of zeros when
it is built. What does not fit is refused then.

Shape legend: B clips, T frames, N frames of all clips, C channels, H W pixels
or grid.
"""

import math
from collections.abc import Sequence
from typing import Any, Optional, Union

import torch
from mmengine.logging import print_log
from mmengine.model import BaseModule
from torch import Tensor, nn

from hero_mm.errors import UserError

from .building import (
    as_maps,
    build_part,
    freeze_unread,
    in_words,
    run_neck,
    untouched,
)
from .time_steps import (
    STRIDED,
    align_steps,
    cut_windows,
    first_step,
    hold_last,
    join_windows,
    step_shifts,
)

# What a backbone sees -> the frames of the clip of zeros.
LENGTHS = {'frame': 1, 'clip': 8, 'segments': 12, 'video': 32}


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
            last frame. Defaults to ``num_frames`` of the config of the
            backbone; without that, it sees the whole clip.
        finer_levels (Sequence[int]): Levels of the backbone that are read
            beside the map.
        init_cfg (dict, optional): Initialization config.

    Attributes:
        sees (str): A key of :data:`LENGTHS`.
        widths, strides (list[int]): Channels and pixels a cell of each level
            before the neck.
        time_strides (list[int]): Frames a step of each level of the backbone.
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
        self.sees = _sees(self.backbone)
        self._segments = _segments(self.backbone)
        several = self.sees in ('segments', 'video')
        if clip_len is not None and (clip_len < 1 or not several):
            raise UserError(
                f'clip_len={clip_len} must be at least 1, and is for '
                f'backbones that see several frames at once; {self.name} '
                f'sees a {self.sees}: leave it out'
            )
        if clip_len is None and self.sees == 'video':
            # Of VideoMAE and others that are made for one number.
            clip_len = backbone.get('num_frames')
        self.clip_len = clip_len
        with untouched(self, gradients=True):
            self._look(backbone, [neck] if isinstance(neck, dict) else neck)
        self.multiple = math.lcm(self.stride, *self.strides)
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
        windows = f' in windows of {self.clip_len}' if self.clip_len else ''
        unread = ', '.join(self.unread)
        return (
            f'{self.name} sees a {self.sees}{windows}; levels of '
            f'{self.strides} pixels a cell with {self.widths} channels, a '
            f'step every {self.time_strides} frame(s); the map has '
            f'{self.stride} pixels a cell and {self.channels} channels; '
            + (f'nothing reads {unread}: frozen' if unread else 'all is read')
        )

    def init_weights(self) -> None:
        """Initialise; ValueError where pretrained weights fill nothing."""
        # mmaction2's ``pretrained`` inflates weights past MMEngine's loader.
        parts: list[Any] = [
            part
            for part in self.backbone.modules()
            if isinstance(getattr(part, 'pretrained', None), str)
        ]
        before = [[p.clone() for p in part.parameters()] for part in parts]
        missed: Optional[KeyError] = None
        try:
            super().init_weights()
        except KeyError as error:
            # It takes names for granted.
            missed = error
        for part, old in zip(parts, before):
            if missed or all(map(torch.equal, part.parameters(), old)):
                raise UserError(
                    f'pretrained={part.pretrained!r} fills nothing of '
                    f'{type(part).__name__}: the names in the file are '
                    'others. Give init_cfg of the video encoder a checkpoint '
                    'of the whole recogniser (docs/pretrained.md)'
                ) from missed
        if missed:
            raise missed

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
        step = math.lcm(*self.time_strides)
        held = -(-num_frames // step) * step
        if self.clip_len is not None:
            held = max(num_frames, self.clip_len)
        imgs = hold_last(imgs, held)
        frame_mask = hold_last(frame_mask, held)
        if self.clip_len is not None:
            imgs = cut_windows(imgs, self.clip_len)
        length = imgs.shape[1]
        levels = self._steps(imgs, frame_mask, pixel_mask)
        steps = [level.shape[1] for level in levels]
        wanted = [length // stride for stride in self.time_strides]
        if steps != wanted:
            raise UserError(
                f'{self.name} gives {steps} steps for {length} frames; '
                f'{wanted} were expected after a run in evaluation mode. In '
                'training it must give the same levels, without branches of '
                'its own'
            )
        flat = self._frames(levels, length)
        wanted_maps = [flat[level] for level in self.finer_levels]
        if self.neck is not None:
            out = self._run(self.neck, imgs, tuple(flat))
            flat = as_maps(out, 4, self.neck)
        maps = []
        for level in (*wanted_maps, flat[self.level]):
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
        if self.sees == 'clip':
            levels = self._run(
                self.backbone, imgs, imgs, frame_mask, pixel_mask
            )
            return as_maps(levels, 5, self.backbone)
        if self.sees == 'video':
            levels = self._run(self.backbone, imgs, imgs.transpose(1, 2))
            levels = as_maps(levels, 5, self.backbone)
            return [level.transpose(1, 2) for level in levels]
        for module, ratio in self._segments:
            module.num_segments = int(num_frames * ratio)
        levels = self._run(self.backbone, imgs, imgs.flatten(0, 1))
        levels = as_maps(levels, 4, self.backbone)
        if any(len(level) % num_clips for level in levels):
            raise UserError(
                f'{self.name} gives {[*map(len, levels)]} maps for '
                f'{num_clips} clips of {num_frames} frames: grounding needs '
                'one a frame'
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

    def _frames(self, levels: list[Tensor], length: int) -> list[Tensor]:
        """Levels at the frames that their steps are made of, (N, C, H, W)."""
        aligned = [
            align_steps(level, length, first)
            for level, first in zip(levels, self._firsts)
        ]
        if hasattr(self.backbone, 'slow_path'):
            # SlowFast's pathways are one level: channels beside each other.
            aligned = [torch.cat(aligned, 2)]
        return [level.flatten(0, 1) for level in aligned]

    def _look(self, config: dict, necks: Optional[Sequence[dict]]) -> None:
        """Run on a clip of zeros: what is given, and what nothing reads."""
        frames = self.clip_len or LENGTHS[self.sees]
        side = _side(self.backbone, 128 if self.sees == 'frame' else 64)
        like = next(self.backbone.parameters(), torch.zeros(()))
        imgs = like.new_zeros(1, frames, 3, side, side)
        masks = imgs[:, :, 0, 0, 0] == 0, imgs[:, 0, 0] == 0
        with step_shifts(self.backbone) as shifts:
            levels = self._steps(imgs, *masks)
        steps = [level.shape[1] for level in levels]
        self._check_steps(steps, frames)
        self.time_strides = [frames // number for number in steps]
        self._firsts = [first_step(shifts, frames, number) for number in steps]
        flat = self._frames(levels, frames)
        self.widths = [level.shape[1] for level in flat]
        self.strides = [_stride(self.name, level, side) for level in flat]
        asked = config.get('out_indices')
        if isinstance(asked, (list, tuple)) and len(asked) != len(levels):
            raise UserError(
                f'{self.name} gives {len(levels)} level(s) of {self.strides} '
                f'pixels a cell; out_indices={asked} asks for {len(asked)}. '
                'Leave out_indices out where it has no effect'
            )
        read = [_pick(flat, level, self.name) for level in self.finer_levels]
        built: list[nn.Module] = []
        for neck in necks or []:
            module, flat = run_neck(neck, flat)
            built.append(module)
        if built:
            # The keys of one alone say no number.
            self.neck = nn.Sequential(*built) if built[1:] else built[0]
        map_NCHW = _pick(flat, self.level, 'the neck' if built else self.name)
        self.channels = map_NCHW.shape[1]
        self.stride = _stride(f'level {self.level}', map_NCHW, side)
        self.unread = freeze_unread(self, [*read, map_NCHW])
        self._check_stages()

    def _check_steps(self, steps: list[int], frames: int) -> None:
        """ValueError where steps are no whole number of frames each."""
        if any(
            not number
            or frames % number
            or (number == 1 < frames and self.clip_len is None)
            for number in steps
        ):
            raise UserError(
                f'{self.name} gives {steps} steps for {frames} frames: '
                'grounding needs steps of a whole number of frames each, and '
                'more of them for a longer clip. Choose other strides or '
                'paddings in time, or a clip_len (the frames that it sees at '
                'once) that is a multiple of its stride in time'
            )

    def _check_stages(self) -> None:
        """ValueError where a ResNet does not heed its ``out_indices``."""
        for part in self.modules():
            stages: Any = getattr(part, 'res_layers', None)
            asked: Any = getattr(part, 'out_indices', None)
            if not (stages and isinstance(asked, tuple)):
                continue
            last = getattr(part, stages[-1]).parameters()
            read = any(p.grad is not None for p in last)
            if read and max(asked) < len(stages) - 1:
                raise UserError(
                    f'{type(part).__name__} does not heed out_indices={asked} '
                    f'and gives its last stage, of {self.strides[-1]} pixels '
                    'a cell. Set num_stages, or spatial strides of 1 in its '
                    'last stages, for a finer map'
                )


def _build_backbone(config: dict) -> nn.Module:
    backbone: Any = build_part(config, 'backbone')
    # Inflating 2-D weights is the default of mmaction2 even without any.
    if getattr(backbone, 'pretrained', None) is None:
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


def _sees(backbone: nn.Module) -> str:
    """What a backbone sees at once, a key of :data:`LENGTHS`."""
    said = getattr(backbone, 'input_layout', None)
    if said is not None:
        if said not in LENGTHS:
            raise UserError(
                f'input_layout of {type(backbone).__name__} must be one of '
                f'{[*LENGTHS]}; got {said!r}'
            )
        return said
    # TSM and its kind hold 3-D pooling and non-local blocks, and take frames.
    if hasattr(backbone, 'num_segments'):
        return 'segments' if backbone.num_segments else 'frame'
    has_3d = any(isinstance(part, STRIDED) for part in backbone.modules())
    return 'video' if has_3d else 'frame'


def _segments(backbone: nn.Module) -> list[tuple[Any, float]]:
    """Modules that need the number of frames, and their share of it.

    TSM is configured for one number of frames; temporal pooling halves it in
    the later stages.
    """
    whole: Any = getattr(backbone, 'num_segments', None)
    return [
        (part, part.num_segments / whole)
        for part in backbone.modules()
        if whole
        and part is not backbone
        and isinstance(getattr(part, 'num_segments', None), int)
    ]


def _side(backbone: nn.Module, least: int) -> int:
    """Pixels a side that show strides of 14 as well as those of 16."""
    odd = 1
    for part in backbone.modules():
        if isinstance(part, (nn.Conv2d, nn.MaxPool2d, *STRIDED)):
            stride: Any = part.stride
            stride = stride if isinstance(stride, int) else stride[-1]
            odd = math.lcm(odd, stride // (stride & -stride))
    return odd * 2 ** max(0, math.ceil(math.log2(least / odd)))


def _pick(levels: Sequence[Tensor], number: int, giver: str) -> Tensor:
    if not -len(levels) <= number < len(levels):
        raise UserError(
            f'level {number} does not exist: {giver} gives {len(levels)} '
            'levels (out_indices of the backbone, num_outs of the neck)'
        )
    return levels[number]


def _stride(giver: str, level: Tensor, side: int) -> int:
    """Pixels a cell; ValueError where that is no whole number."""
    height, width = level.shape[-2:]
    if height != width or not height or side % height:
        raise UserError(
            f'{giver} is a map of {height}x{width} cells for frames of '
            f'{side}x{side} pixels: grounding needs cells of a whole number '
            'of pixels, which layers without padding do not give'
        )
    return side // height
