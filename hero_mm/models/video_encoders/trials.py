"""What a backbone gives, found by running it on trial clips.

Shape legend: T frames, T' steps, C channels, H W pixels or grid.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from torch import Tensor, nn

from .building import CHOOSE, FAILURES, NoMapError, reason
from .time_steps import StepCentres

# Frames of the trial clips, by what a backbone sees: a longer one follows
# where one does not tell the steps in time. 24 is a length that nobody trains
# with, so that what runs on it runs on any multiple of its stride.
LENGTHS = {
    'frame': (1,),
    'clip': (8,),
    'segments': (12, 24),
    'video': (24, 48, 96, 192),
}
# Lengths of clips that backbones of one length are trained with.
FIXED_LENGTHS = (16, 8, 32)
# Some run on frames of this size alone.
FIXED_SIDE = 224
STRIDED = (
    nn.Conv2d,
    nn.Conv3d,
    nn.MaxPool2d,
    nn.MaxPool3d,
    nn.AvgPool2d,
    nn.AvgPool3d,
)
# A clip of so many frames and pixels a side -> levels (1, T', C, H, W).
Run = Callable[[int, int], list[Tensor]]


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


def find_levels(
    run: Run,
    backbone: nn.Module,
    kind: str,
    clip_len: Optional[int],
    usual: Optional[int] = None,
) -> tuple[list[Level], Optional[int]]:
    """Find what a backbone gives, and the frames that it takes.

    Args:
        run (Callable): Runs it on a clip of zeros.
        backbone (nn.Module): The backbone.
        kind (str): What it sees: 'frame', 'segments' (frames, but of one
            clip at a time), 'clip' or 'video'.
        clip_len (int, optional): The frames that it shall see at once.
        usual (int, optional): The frames that it was made for, where it
            takes no other number; some usual ones are tried otherwise.

    Returns:
        tuple[list[Level], int | None]: Its levels, and the frames that it
        sees at once; None where it takes any number.

    Raises:
        ValueError: It does not run, or gives no map of whole cells and steps.
    """
    side = _side(backbone, 128 if kind == 'frame' else 64)
    trials = _Trials(run, type(backbone).__name__)
    if clip_len is not None:
        found = trials.of_length(clip_len, side)
    else:
        found = trials.of_any_length(LENGTHS[kind], side)
        if found is None and kind == 'frame':
            found = trials.of_any_length(LENGTHS[kind], FIXED_SIDE)
        if found is None and kind in ('segments', 'video'):
            for length in (usual,) if usual else FIXED_LENGTHS:
                found = trials.of_length(length, side)
                if found is not None:
                    return found, length
    if found is None:
        raise trials.refusal(kind, clip_len)
    return found, clip_len


class _Trials:
    """Trial runs of one backbone, and what it said."""

    def __init__(self, run: Run, name: str) -> None:
        self.run = run
        self.name = name
        # Reason -> the clips for which it was given.
        self.said: dict[str, list[str]] = {}

    def of_any_length(
        self, lengths: Sequence[int], side: int
    ) -> Optional[list[Level]]:
        """Run on whole clips until the steps in time are known.

        Returns None where it does not run on the first two lengths.
        """
        before: list[Optional[int]] = []
        told: list[str] = []
        for place, frames in enumerate(lengths):
            levels = self._try(frames, side)
            if levels is None:
                if place > 0 and not told:
                    break
                continue
            steps, strides = _steps(levels, frames)
            told.append(f'{steps} steps for {frames} frames')
            # 24 frames at stride 16 may look like stride 12; so few steps as
            # one or two tell little.
            whole = all(strides) and min(steps) >= min(3, frames)
            plain = all(
                stride & (stride - 1) == 0 for stride in strides if stride
            )
            if whole and (plain or strides == before):
                return self._describe(levels, frames, side)
            before = strides
        if told:
            raise ValueError(
                f'{self.name} gives {", ".join(told)}: grounding needs steps '
                'of a whole number of frames each, and more of them for a '
                'longer clip. Choose other strides or paddings in time, or '
                'give clip_len, the frames that it sees at once'
            )
        return None

    def of_length(self, frames: int, side: int) -> Optional[list[Level]]:
        """Run on a clip of the one length that it takes, if it does."""
        levels = self._try(frames, side)
        if levels is None:
            return None
        steps, strides = _steps(levels, frames)
        if not all(strides):
            raise ValueError(
                f'{self.name} gives {steps} steps for clip_len={frames}: a '
                'step must be a whole number of frames. Choose a multiple of '
                'its stride in time'
            )
        return self._describe(levels, frames, side)

    def refusal(self, kind: str, clip_len: Optional[int]) -> ValueError:
        """The error that tells why it does not run."""
        # More say the same of other numbers.
        said = '; '.join(
            f'{why} (on {", ".join(clips)})'
            for why, clips in [*self.said.items()][:2]
        )
        hint = ''
        if clip_len is not None:
            hint = ', leave clip_len out or give the length it was made for'
        elif kind in ('segments', 'video'):
            hint = ', or give clip_len if it was made for one length'
        return ValueError(
            f'{self.name} does not run on trial clips of T x H x W: {said}. '
            f'Check its arguments{hint}'
        )

    def _try(self, frames: int, side: int) -> Optional[list[Any]]:
        """Levels and the first frame of each; None where it fails."""
        try:
            with StepCentres() as centres:
                levels = self.run(frames, side)
        except NoMapError:
            raise
        except FAILURES as error:
            why = reason(error.__cause__ or error)
            clips = self.said.setdefault(why, [])
            clips.append(f'{frames} x {side} x {side}')
            return None
        return [
            (level, centres.first(frames, level.shape[1])) for level in levels
        ]

    def _describe(
        self, levels: list[Any], frames: int, side: int
    ) -> list[Level]:
        found = []
        for level, first in levels:
            _, steps, channels, height, width = level.shape
            if height != width or not height or side % height:
                raise ValueError(
                    f'{self.name} gives a map of {height}x{width} cells for '
                    f'frames of {side}x{side} pixels: grounding needs cells '
                    f'of a whole number of pixels, which layers without '
                    f'padding do not give. {CHOOSE}'
                )
            found.append(
                Level(channels, side // height, frames // steps, first)
            )
        return found


def _steps(
    levels: list[Any], frames: int
) -> tuple[list[int], list[Optional[int]]]:
    """Steps of each level, and frames a step where these are whole."""
    steps = [level.shape[1] for level, _ in levels]
    return steps, [None if not n or frames % n else frames // n for n in steps]


def _side(backbone: nn.Module, least: int) -> int:
    """Pixels a side that show strides of 14 as well as those of 16."""
    odd = 1
    for module in backbone.modules():
        if isinstance(module, STRIDED):
            stride: Any = module.stride
            stride = stride if isinstance(stride, int) else stride[-1]
            odd = math.lcm(odd, stride // (stride & -stride))
    return odd * 2 ** max(0, math.ceil(math.log2(least / odd)))
