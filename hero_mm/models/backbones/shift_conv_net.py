"""A small video backbone that learns from scratch on a CPU.

Residual 2-D convolutions a frame whose channels look one frame back and ahead
(TSM, arXiv 1811.08383): part of HERO's *shifted alignment* starts here. Padded
frames and pixels are kept at zero: a clip gives the same features alone and
padded beside a larger one.

Shape legend: B clips, T frames, C channels, H W grid.
"""

from collections.abc import Sequence
from typing import Optional

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from hero_mm.errors import UserError
from hero_mm.registry import MODELS

from ..features import none_is_padding
from ..layers import temporal_shift


class ClipNorm(nn.Module):
    """Normalise each channel over the real frames and pixels of a clip."""

    def __init__(self, dims: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dims))
        self.bias = nn.Parameter(torch.zeros(dims))
        self.eps = eps

    def forward(
        self, x: Tensor, num_frames: int, mask: Optional[Tensor]
    ) -> Tensor:
        """Features and mask (B * T, C or 1, H, W); None: no padding."""
        if mask is None:
            learned = self.weight, self.bias
            clips = [
                F.batch_norm(clip, None, None, *learned, True, 0.0)
                for clip in x.split(num_frames)
            ]
            return torch.cat(clips)
        clips = x.unflatten(0, (-1, num_frames))
        real = mask.unflatten(0, (-1, num_frames))
        # A run of frames may be all padding.
        count = real.sum((1, 3, 4), keepdim=True).clamp(min=1)
        mean = (clips * real).sum((1, 3, 4), keepdim=True) / count
        clips = clips - mean
        var = (clips.square() * real).sum((1, 3, 4), keepdim=True) / count
        scale = self.weight[:, None, None] * (var + self.eps).rsqrt()
        return (clips * scale + self.bias[:, None, None]).flatten(0, 1)


NORMS = {'BN': nn.BatchNorm2d, 'clip': ClipNorm}


class ConvNorm(nn.Sequential):
    """3x3 convolution and normalisation."""

    def __init__(
        self, in_dims: int, out_dims: int, norm: str, stride: int = 1
    ) -> None:
        super().__init__(
            nn.Conv2d(in_dims, out_dims, 3, stride, 1, bias=False),
            NORMS[norm](out_dims),
        )

    def forward(  # type: ignore[override]
        self, x: Tensor, num_frames: int, mask: Optional[Tensor]
    ) -> Tensor:
        """Refine features (B * T, C, H, W); the mask is that of the result."""
        conv, norm = self
        if isinstance(norm, ClipNorm):
            return norm(conv(x), num_frames, mask)
        return norm(conv(x))


class ShiftBlock(nn.Module):
    """Residual block of two convolutions on temporally shifted channels."""

    def __init__(self, dims: int, shift_div: int, norm: str) -> None:
        super().__init__()
        self.shift = dims // shift_div if shift_div else 0
        self.conv1 = ConvNorm(dims, dims, norm)
        self.conv2 = ConvNorm(dims, dims, norm)

    def forward(
        self, x: Tensor, num_frames: int, mask: Optional[Tensor]
    ) -> Tensor:
        """Refine features (B * T, C, H, W); as :class:`ClipNorm`."""
        out = x
        if self.shift:
            clips = x.view(-1, num_frames, *x.shape[1:])
            out = temporal_shift(clips, self.shift, dim=2).flatten(0, 1)
        out = _relu(self.conv1(out, num_frames, mask), mask)
        return _relu(x + self.conv2(out, num_frames, mask), mask)


@MODELS.register_module()
class ShiftConvNet(BaseModule):
    """Small residual network with temporal shift, one level a stage.

    The stem, of stride 2, sees each frame with its difference to the
    neighbours; stages begin at stride 4. 1/``shift_div`` of the channels look
    back and as many look ahead (0: none). ``norm`` is 'BN', or 'clip', over
    each clip alone, for batches of one or two clips.
    """

    input_layout = 'clip'

    def __init__(
        self,
        stem_channels: int = 24,
        channels: Sequence[int] = (40, 80),
        num_blocks: Sequence[int] = (1, 2),
        out_indices: Sequence[int] = (1,),
        shift_div: int = 8,
        norm: str = 'BN',
        init_cfg: Optional[dict] = None,
    ) -> None:
        super().__init__(
            init_cfg
            or dict(type='Kaiming', layer='Conv2d', nonlinearity='relu')
        )
        if len(channels) != len(num_blocks) or norm not in NORMS:
            raise UserError(
                'channels and num_blocks need one value a stage, and norm is '
                f'one of {[*NORMS]}; got {channels}, {num_blocks}, {norm!r}'
            )
        self.out_indices = tuple(out_indices)
        self.stem = ConvNorm(9, stem_channels, norm, 2)
        self.downs = nn.ModuleList()
        self.stages = nn.ModuleList()
        last = stem_channels
        for dims, blocks in zip(channels, num_blocks):
            self.downs.append(ConvNorm(last, dims, norm, 2))
            self.stages.append(
                nn.ModuleList(
                    ShiftBlock(dims, shift_div, norm) for _ in range(blocks)
                )
            )
            last = dims

    def _stem_input(self, imgs: Tensor, frame_mask: Tensor) -> Tensor:
        # At the ends of a clip the difference is zero, as for a still scene.
        imgs = imgs.permute(0, 1, 3, 4, 2)
        out = imgs.new_empty(*imgs.shape[:-1], 9)
        out[..., :3] = imgs
        # In place: at this width, copies are what costs.
        step = out[:, 1:, ..., 3:6]
        step.copy_(imgs[:, 1:]).sub_(imgs[:, :-1])
        if not none_is_padding(frame_mask):
            real = frame_mask[:, 1:] & frame_mask[:, :-1]
            step.mul_(real[:, :, None, None, None])
        out[:, :-1, ..., 6:] = step
        out[:, 0, ..., 3:6] = 0
        out[:, -1, ..., 6:] = 0
        return out.permute(0, 1, 4, 2, 3)

    def forward(
        self, imgs: Tensor, frame_mask: Tensor, pixel_mask: Tensor
    ) -> tuple[Tensor, ...]:
        """Frames (B, T, 3, H, W) and masks to levels (B, T, C, H', W')."""
        num_clips, num_frames = frame_mask.shape
        mask = None
        if not (none_is_padding(frame_mask) and none_is_padding(pixel_mask)):
            mask = frame_mask[:, :, None, None] & pixel_mask[:, None]
            mask = mask.flatten(0, 1)[:, None].to(imgs.dtype)
        x = self._stem_input(imgs, frame_mask).flatten(0, 1)
        x = x.contiguous(memory_format=torch.channels_last)
        mask = _halve(mask)
        x = _relu(self.stem(x, num_frames, mask), mask)
        outs = []
        for index, (down, blocks) in enumerate(zip(self.downs, self.stages)):
            mask = _halve(mask)
            x = _relu(down(x, num_frames, mask), mask)
            assert isinstance(blocks, nn.ModuleList)
            for block in blocks:
                x = block(x, num_frames, mask)
            if index in self.out_indices:
                outs.append(x.unflatten(0, (num_clips, num_frames)))
        return tuple(outs)


def _relu(x: Tensor, mask: Optional[Tensor]) -> Tensor:
    """In place; zero on padding."""
    x = x.relu_()
    return x if mask is None else x * mask


def _halve(mask: Optional[Tensor]) -> Optional[Tensor]:
    """The mask at twice the stride."""
    return None if mask is None else mask[..., ::2, ::2]
