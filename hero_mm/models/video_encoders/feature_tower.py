"""Any backbone and neck of the MM family, as one map of features a frame.

Strides, channels and steps in time are seen in one run on a clip of zeros when
it is built. Clips are cut into windows before a backbone of one length, and
steps are interpolated after one that strides time.

Shape legend: B clips, T frames, N frames of all clips, C channels, H W pixels
or grid.
"""

import inspect
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Optional, Union

import torch
from mmengine.logging import print_log
from mmengine.model import BaseModule
from torch import Tensor, nn

from hero_mm.errors import UserError
from hero_mm.parts.building import (
    CHOOSE,
    build_part,
    find_part,
    freeze_unread,
    in_words,
    untouched,
)

# What a backbone sees -> the frames of the clip of zeros.
LENGTHS = {'frame': 1, 'clip': 8, 'segments': 12, 'video': 32}
STRIDED = (nn.Conv3d, nn.MaxPool3d, nn.AvgPool3d)


class _Reached(Exception):
    """Carries the finest level out of a backbone."""


class FeatureTower(BaseModule):
    """A backbone and a neck that give one map of features a frame.

    What nothing reads is frozen, so that it does not stop distributed
    training. docs/configs.md, "Another backbone", tells what is taken. The
    layout is read from ``input_layout`` of the backbone ('clip': (B, T, 3, H,
    W) with masks; 'frame': (N, 3, H, W); 'video': (B, 3, T, H, W)); without
    one it is 'video' if it strides or convolves in 3-D, else 'frame'.
    ``clip_len``, frames that it sees at once, are ``num_frames`` of its
    config by default.

    Attributes:
        widths, strides, time_strides (list[int]): Channels, pixels a cell and
            frames a step of each level before the neck.
        channels, stride (int): Those of the map.
        multiple (int): Height and width must be a multiple of it.
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
        self.backbone = build_part(backbone, 'backbone')
        self.name = type(self.backbone).__name__
        # Inflating 2-D weights is the default of mmaction2 even without any.
        if getattr(self.backbone, 'pretrained', None) is None:
            self.backbone.pretrained2d = False
        for part in self.backbone.modules():
            if getattr(part, 'with_cp', False):
                part.register_forward_pre_hook(_with_gradient)
        self.neck: Optional[nn.Module] = None
        self.level = level
        self.finer_levels = tuple(finer_levels)
        self.sees = _sees(self.backbone)
        if clip_len is None and self.sees == 'video':
            # Of VideoMAE and others that are made for one number.
            clip_len = backbone.get('num_frames')
        elif clip_len is not None and (
            clip_len < 1 or self.sees in ('frame', 'clip')
        ):
            raise UserError(
                f'clip_len={clip_len} must be at least 1, and is for backbones'
                f' of several frames; {self.name} sees a {self.sees}'
            )
        self.clip_len = clip_len
        is_tsm = self.sees == 'segments'
        self._segments = _segments(self.backbone) if is_tsm else []
        with untouched(self, gradients=True):
            self._look(
                backbone.get('out_indices'),
                [neck] if isinstance(neck, dict) else neck or [],
            )
        self.multiple = math.lcm(self.stride, *self.strides)
        windows = f' in windows of {clip_len}' if clip_len else ''
        unread = ', '.join(self.unread)
        print_log(
            f'{self.name} sees a {self.sees}{windows}; levels of '
            f'{self.strides} pixels a cell with {self.widths} channels, a '
            f'step every {self.time_strides} frame(s); the map has '
            f'{self.stride} pixels a cell and {self.channels} channels; '
            + (f'nothing reads {unread}: frozen' if unread else 'all is read'),
            logger='current',
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
        try:
            super().init_weights()
        except KeyError:
            # It takes names for granted.
            if not parts:
                raise
            before = [[*part.parameters()] for part in parts]
        for part, old in zip(parts, before):
            if all(map(torch.equal, part.parameters(), old)):
                raise UserError(
                    f'pretrained={part.pretrained!r} fills nothing of '
                    f'{type(part).__name__}: the names in the file are '
                    'others. Give init_cfg of the video encoder a checkpoint '
                    'of the whole recogniser (docs/pretrained.md)'
                )

    def feature_maps(
        self, imgs: Tensor, frame_mask: Tensor, pixel_mask: Tensor
    ) -> list[Tensor]:
        """Encode clips (B, T, 3, H, W) of one length and size.

        Their sides are multiples of :attr:`multiple`. Gives the finer levels
        and the map, each (B, T, C, H / stride, W / stride).
        """
        num_clips, num_frames = imgs.shape[:2]
        step = math.lcm(*self.time_strides)
        length = self.clip_len or -(-num_frames // step) * step
        # All windows are full: the last one ends with the clip, or holds its
        # last frame.
        frames = torch.arange(num_frames, device=imgs.device)
        starts = frames[::length].clamp(max=max(0, num_frames - length))
        if (len(starts), length) != (1, num_frames):
            seen = starts[:, None] + torch.arange(length, device=imgs.device)
            seen = seen.clamp(max=num_frames - 1)
            imgs = imgs[:, seen].flatten(0, 1).contiguous()
            frame_mask = frame_mask[:, seen].flatten(0, 1)
            pixel_mask = pixel_mask.repeat_interleave(len(starts), 0)
        levels = self._steps(imgs, frame_mask, pixel_mask)
        steps = [level.shape[1] for level in levels]
        wanted = [length // stride for stride in self.time_strides]
        if steps != wanted:
            raise UserError(
                f'{self.name} gives {steps} steps for {length} frames, and '
                f'{wanted} in evaluation mode: in training it must give the '
                'same levels, without branches of its own'
            )
        flat = self._frames(levels, length)
        maps = [flat[level] for level in self.finer_levels]
        if self.neck is not None:
            out = self._run(self.neck, imgs, tuple(flat))
            flat = _as_maps(out, 4, self.neck)
        maps = [
            one.unflatten(0, (num_clips, -1, length))
            for one in (*maps, flat[self.level])
        ]
        if len(starts) == 1:
            # Views: nothing is copied.
            return [one[:, 0, :num_frames] for one in maps]
        window = frames // length
        place = frames - starts[window]
        return [one[:, window, place] for one in maps]

    def first_level(
        self, imgs: Tensor, frame_mask: Tensor, pixel_mask: Tensor
    ) -> Tensor:
        """The finest level of :meth:`feature_maps`; what follows is left out.

        ValueError where it is not what a module of the backbone gives.
        """
        if self._first is None or not self.finer_levels:
            raise UserError(
                "retrieval.depth='scout' looks at the first layers of the "
                f'backbone, and {self.name} has none that give the finest '
                'level: take a 2-D backbone such as mmdet.ResNet with '
                'finer_levels=(0,), or another depth'
            )

        def leave(module: nn.Module, inputs: tuple, level: Tensor) -> None:
            raise _Reached(level)

        handle = self.backbone.get_submodule(
            self._first
        ).register_forward_hook(leave)
        try:
            self._steps(imgs, frame_mask, pixel_mask)
        except _Reached as reached:
            level: Tensor = reached.args[0]
        finally:
            handle.remove()
        return level.unflatten(0, imgs.shape[:2])

    def _steps(
        self, imgs: Tensor, frame_mask: Tensor, pixel_mask: Tensor
    ) -> list[Tensor]:
        """Levels of the backbone, each of shape (B, T', C, H, W)."""
        num_clips, num_frames = imgs.shape[:2]
        run = self._run
        if self.sees == 'clip':
            levels = run(self.backbone, imgs, imgs, frame_mask, pixel_mask)
            return _as_maps(levels, 5, self.backbone)
        if self.sees == 'video':
            levels = run(self.backbone, imgs, imgs.transpose(1, 2))
            levels = _as_maps(levels, 5, self.backbone)
            return [level.transpose(1, 2) for level in levels]
        for module, ratio in self._segments:
            module.num_segments = int(num_frames * ratio)
        levels = run(self.backbone, imgs, imgs.flatten(0, 1))
        levels = _as_maps(levels, 4, self.backbone)
        return [level.unflatten(0, (num_clips, -1)) for level in levels]

    def _run(self, module: nn.Module, clips: Tensor, *args: Any) -> Any:
        """Run a module; ValueError where it does not take such frames."""
        frames, (height, width) = clips.shape[1], clips.shape[-2:]
        with in_words(
            f'{type(module).__name__} does not run on clips of {frames} '
            f'frames of {width}x{height} pixels',
            'Check its arguments; frames may be too small for it (ResizeClip) '
            'or not of the one size or length (clip_len) that it takes',
        ):
            return module(*args)

    def _frames(self, levels: list[Tensor], length: int) -> list[Tensor]:
        """Levels at the frames that their steps are made of, (N, C, H, W)."""
        aligned = [
            _align(level, length, first)
            for level, first in zip(levels, self._firsts)
        ]
        if hasattr(self.backbone, 'slow_path'):
            # SlowFast's pathways are one level: channels beside each other.
            aligned = [torch.cat(aligned, 2)]
        return [level.flatten(0, 1) for level in aligned]

    def _look(self, asked: Any, necks: Sequence[dict]) -> None:
        """Run on a clip of zeros: what is given, and what nothing reads."""
        frames = self.clip_len or LENGTHS[self.sees]
        side = _side(self.backbone, 128 if self.sees == 'frame' else 64)
        like = next(self.backbone.parameters(), torch.zeros(()))
        imgs = like.new_zeros(1, frames, 3, side, side)
        masks = imgs[:, :, 0, 0, 0] == 0, imgs[:, 0, 0] == 0
        # Frames before a layer that strides time -> how far its first step
        # lies behind the first of them. A convolution of kernel 2 looks at
        # frames 0 and 1, one of kernel 3 and padding 1 at -1, 0 and 1.
        shifts: dict[int, float] = {}

        def note(layer: Any, inputs: tuple, output: Any) -> None:
            def in_time(name: str) -> int:
                value = getattr(layer, name, 1)
                return value if isinstance(value, int) else value[0]

            if in_time('stride') > 1 and inputs[0].dim() == 5:
                reach = (in_time('kernel_size') - 1) * in_time('dilation')
                shift = reach / 2 - in_time('padding')
                shifts.setdefault(inputs[0].shape[2], shift)

        handles = [
            part.register_forward_hook(note)
            for part in self.backbone.modules()
            if isinstance(part, STRIDED)
        ]
        with _watched(self.backbone) as given:
            levels = self._steps(imgs, *masks)
        for handle in handles:
            handle.remove()
        self._first = self._find_first(given, levels)
        steps = [level.shape[1] for level in levels]
        if any(
            not number
            or frames % number
            or (number == 1 < frames and self.clip_len is None)
            for number in steps
        ):
            raise UserError(
                f'{self.name} gives {steps} steps for {frames} frames: '
                'grounding needs steps of a whole number of frames each, and '
                'more of them for a longer clip. Choose other strides in time '
                'or paddings, or a clip_len that is a multiple of its stride'
            )
        self.time_strides = [frames // number for number in steps]
        # The frame at which the first step of each level is centred.
        self._firsts = [
            sum(
                shift * frames / length
                for length, shift in shifts.items()
                if length > number
            )
            for number in steps
        ]
        flat = self._frames(levels, frames)
        self.widths = [level.shape[1] for level in flat]
        self.strides = [_stride(self.name, level, side) for level in flat]
        if isinstance(asked, (list, tuple)) and len(asked) != len(levels):
            raise UserError(
                f'{self.name} gives {len(levels)} level(s) of {self.strides} '
                f'pixels a cell; out_indices={asked} asks for {len(asked)}. '
                'Leave out_indices out where it has no effect'
            )
        read = [_pick(flat, level, self.name) for level in self.finer_levels]
        built: list[nn.Module] = []
        for neck in necks:
            module, flat = _run_neck(neck, flat)
            built.append(module)
        if built:
            # The keys of one alone say no number.
            self.neck = nn.Sequential(*built) if built[1:] else built[0]
        map_NCHW = _pick(flat, self.level, 'the neck' if built else self.name)
        self.channels = map_NCHW.shape[1]
        self.stride = _stride(f'level {self.level}', map_NCHW, side)
        self.unread = freeze_unread(self, [*read, map_NCHW])
        self._check_stages()

    def _find_first(
        self, given: dict[str, Any], levels: Sequence[Tensor]
    ) -> Optional[str]:
        """The module of the backbone that gives the finest level."""
        if not (self.finer_levels and self.sees in ('frame', 'clip')):
            return None
        wanted = _pick(levels, self.finer_levels[0], self.name).flatten(0, 1)
        same = [name for name in given if _is_same(given[name], wanted)]
        # The last of them: what is done in place has one memory.
        return same[-1] if same else None

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


def _run_neck(
    config: dict, levels: Sequence[Tensor]
) -> tuple[nn.Module, list[Tensor]]:
    """Build a neck for levels (N, C, H, W), and run it."""
    channels = [level.shape[1] for level in levels]
    takes = inspect.signature(find_part(config, 'neck')).parameters
    if 'in_channels' in takes:
        config = {'in_channels': channels, **config}
    neck = build_part(config, 'neck')
    with (
        untouched(neck, gradients=True),
        in_words(
            f'the neck {config["type"]} does not fit channels {channels}',
            'Give its in_channels in the form that it wants, or change '
            'out_indices of the backbone',
        ),
    ):
        found = neck(tuple(levels))
    return neck, _as_maps(found, 4, neck)


def _as_maps(levels: Any, dims: int, module: nn.Module) -> list[Tensor]:
    """What a module gave, as maps of ``dims`` axes; ValueError for others."""
    levels = [levels] if isinstance(levels, Tensor) else list(levels or [None])
    maps = []
    for level in levels:
        # MViT gives a pair, the map and the token of the class.
        if isinstance(level, (list, tuple)) and level[-1].dim() == 2:
            level = level[0]
        if not isinstance(level, Tensor) or level.dim() != dims:
            shape = tuple(getattr(level, 'shape', [type(level).__name__]))
            raise UserError(
                f'{type(module).__name__} gives a feature of shape {shape}; '
                f'{CHOOSE}'
            )
        maps.append(level)
    return maps


def _align(level: Tensor, num_frames: int, first: float) -> Tensor:
    """Interpolate the steps (B, T', C, H, W) of a level at T frames.

    Linear between the centres of two steps, held before the first, which lies
    at frame ``first``, and after the last.
    """
    num_steps = level.shape[1]
    if num_steps == num_frames:
        return level
    frames = torch.arange(num_frames, device=level.device)
    place = (frames - first) * (num_steps / num_frames)
    place = place.clamp(0, num_steps - 1)
    low = place.long()
    high = (low + 1).clamp(max=num_steps - 1)
    weight = (place - low).to(level.dtype)[:, None, None, None]
    return level[:, low].lerp(level[:, high], weight)


@contextmanager
def _watched(module: nn.Module) -> Iterator[dict[str, Any]]:
    """What each part of a module gives within, by name, the last one last.

    None for parts that run twice, and for those that give what they get.
    """
    given: dict[str, Any] = {}

    def note(name: str, part: Any, inputs: tuple, output: Any) -> None:
        # Dropout, say, in evaluation mode.
        passes = inputs and output is inputs[0]
        passes = passes and not getattr(part, 'inplace', False)
        given[name] = None if passes or name in given else output

    handles = [
        part.register_forward_hook(partial(note, name))
        for name, part in module.named_modules()
        if name
    ]
    try:
        yield given
    finally:
        for handle in handles:
            handle.remove()


def _is_same(output: Any, level: Tensor) -> bool:
    """Whether both are one memory, seen alike."""
    return (
        isinstance(output, Tensor)
        and output.shape == level.shape
        and output.untyped_storage()._cdata == level.untyped_storage()._cdata
    )


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


def _sees(backbone: Any) -> str:
    """What a backbone sees at once, a key of :data:`LENGTHS`."""
    if hasattr(backbone, 'input_layout'):
        layout = backbone.input_layout
        if layout not in LENGTHS:
            raise UserError(
                f'input_layout={layout!r} of {type(backbone).__name__} must '
                f'be one of {[*LENGTHS]}'
            )
        return layout
    # TSM and its kind hold 3-D pooling and non-local blocks, and take frames.
    if hasattr(backbone, 'num_segments'):
        return 'segments' if backbone.num_segments else 'frame'
    has_3d = any(isinstance(part, STRIDED) for part in backbone.modules())
    return 'video' if has_3d else 'frame'


def _segments(backbone: Any) -> list[tuple[Any, float]]:
    """Parts of TSM that need the number of frames, and their share of it."""
    # Temporal pooling halves it in the later stages.
    return [
        (part, part.num_segments / backbone.num_segments)
        for part in backbone.modules()
        if part is not backbone
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
