"""From the steps of a 3-D backbone back to the frames that were sampled.

A backbone that strides time gives fewer steps than frames, one that was made
for clips of one length takes no other. Here frames are held or cut into
windows before it, and its steps are interpolated after it.

Shape legend: B clips, N windows a clip, T frames, C channels, H W pixels or
grid.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

_STRIDED = (nn.Conv3d, nn.MaxPool3d, nn.AvgPool3d)


class StepCentres:
    """Where the steps of a backbone lie in time, seen on a trial clip.

    A convolution of kernel 2 and stride 2 looks at frames 0 and 1, so its
    first step lies at frame 0.5; one of kernel 3, stride 2 and padding 1 lies
    at frame 0.
    """

    def __init__(self) -> None:
        # Steps before a strided layer -> its shift in such steps. Layers of
        # one length stand side by side (a block and its shortcut).
        self._shifts: dict[int, float] = {}

    @contextmanager
    def watch(self, backbone: nn.Module) -> Iterator[None]:
        """Note every layer that strides time while the backbone runs.

        Args:
            backbone (nn.Module): Runs once within the context.
        """
        handles = [
            module.register_forward_pre_hook(self._note)
            for module in backbone.modules()
            if isinstance(module, _STRIDED)
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _note(self, module: Any, inputs: tuple[Tensor, ...]) -> None:
        kernel, stride, padding = (
            value[0] if isinstance(value, tuple) else value
            for value in (module.kernel_size, module.stride, module.padding)
        )
        if stride != 1 and isinstance(padding, int):
            shift = (kernel - 1) / 2 - padding
            self._shifts.setdefault(inputs[0].shape[2], shift)

    def first(self, num_frames: int, num_steps: int) -> float:
        """The frame at which the first step of a level is centred.

        Args:
            num_frames (int): Frames of the trial clip.
            num_steps (int): Steps of the level on that clip.
        """
        return sum(
            shift * num_frames / length
            for length, shift in self._shifts.items()
            if length > num_steps
        )


def align_steps(level: Tensor, num_frames: int, first: float) -> Tensor:
    """Interpolate the steps of a level at the sampled frames.

    Linear between the centres of two steps, held before the first and after
    the last.

    Args:
        level (Tensor): Features of the steps, has shape (B, T', C, H, W).
        num_frames (int): The frames T that the steps were made of.
        first (float): The frame at which the first step is centred.

    Returns:
        Tensor: Features of the frames, has shape (B, T, C, H, W).
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
    """Cut clips into windows of one length.

    All windows are full: the last one starts early enough to end with the
    clip.

    Args:
        imgs (Tensor): Clips, has shape (B, T, ...) with T >= length.
        length (int): Frames of a window.

    Returns:
        Tensor: Windows, has shape (B * N, length, ...).
    """
    last = imgs.shape[1] - length
    starts = [*range(0, last, length), last]
    windows = [imgs[:, start : start + length] for start in starts]
    return torch.stack(windows, 1).flatten(0, 1)


def join_windows(windows: Tensor, num_clips: int, num_frames: int) -> Tensor:
    """Undo :func:`cut_windows`.

    Args:
        windows (Tensor): Has shape (B * N, length, ...).
        num_clips (int): B.
        num_frames (int): T.

    Returns:
        Tensor: Has shape (B, T, ...).
    """
    length = windows.shape[1]
    clips = windows.unflatten(0, (num_clips, -1))
    before = (clips.shape[1] - 1) * length
    tail = clips[:, -1, length - (num_frames - before) :]
    return torch.cat([clips[:, :-1].flatten(1, 2), tail], 1)
