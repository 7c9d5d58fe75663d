"""From the steps of a 3-D backbone back to the frames that were sampled.

A backbone that strides time gives fewer steps than frames, one that was made
for clips of one length takes no other. Here frames are held or cut into
windows before it, and its steps are interpolated after it.

Shape legend: B clips, N windows a clip, T frames, C channels, H W grid.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

STRIDED = (nn.Conv3d, nn.MaxPool3d, nn.AvgPool3d)


@contextmanager
def step_shifts(backbone: nn.Module) -> Iterator[dict[int, float]]:
    """See where the layers of a backbone put their steps in time.

    A convolution of kernel 2 and stride 2 looks at frames 0 and 1, so its
    first step lies at frame 0.5; one of kernel 3, stride 2 and padding 1 lies
    at frame 0. The backbone is run once within. Yields, by the number of steps
    before a layer that strides time, its shift in such steps; layers of one
    length stand side by side (a block and its shortcut).
    """
    shifts: dict[int, float] = {}

    def note(layer: Any, inputs: tuple, output: Any) -> None:
        values = (
            layer.kernel_size,
            layer.stride,
            layer.padding,
            getattr(layer, 'dilation', 1),
        )
        kernel, stride, padding, dilation = (
            value if isinstance(value, int) else value[0] for value in values
        )
        if stride > 1 and inputs[0].dim() == 5:
            reach = (kernel - 1) * dilation
            shifts.setdefault(inputs[0].shape[2], reach / 2 - padding)

    layers = [part for part in backbone.modules() if isinstance(part, STRIDED)]
    handles = [layer.register_forward_hook(note) for layer in layers]
    try:
        yield shifts
    finally:
        for handle in handles:
            handle.remove()


def first_step(
    shifts: dict[int, float], num_frames: int, num_steps: int
) -> float:
    """The frame at which the first step of a level is centred.

    From :func:`step_shifts`, the frames that were run, the steps of the level.
    """
    return sum(
        shift * num_frames / length
        for length, shift in shifts.items()
        if length > num_steps
    )


def align_steps(level: Tensor, num_frames: int, first: float) -> Tensor:
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


def hold_last(imgs: Tensor, num_frames: int) -> Tensor:
    """Repeat the last frame of clips (B, T, ...) up to ``num_frames``."""
    missing = num_frames - imgs.shape[1]
    if missing <= 0:
        return imgs
    last = imgs[:, -1:].expand(-1, missing, *imgs.shape[2:])
    return torch.cat([imgs, last], 1)


def cut_windows(imgs: Tensor, length: int) -> Tensor:
    """Cut clips (B, T, ...) into windows (B * N, length, ...).

    All are full: the last one starts early enough to end with the clip.
    """
    last = imgs.shape[1] - length
    starts = [*range(0, last, length), last]
    windows = [imgs[:, start : start + length] for start in starts]
    return torch.stack(windows, 1).flatten(0, 1)


def join_windows(windows: Tensor, num_clips: int, num_frames: int) -> Tensor:
    """Undo :func:`cut_windows`: back to (B, T, ...)."""
    length = windows.shape[1]
    clips = windows.unflatten(0, (num_clips, -1))
    before = (clips.shape[1] - 1) * length
    tail = clips[:, -1, length - (num_frames - before) :]
    return torch.cat([clips[:, :-1].flatten(1, 2), tail], 1)
