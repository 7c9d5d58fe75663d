"""Normalise clips, pad them to one size and say what is padding.

Shape legend: B clips, T frames, H W pixels.
"""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from hero_mm.registry import MODELS


@MODELS.register_module()
class GroundingDataPreprocessor(BaseDataPreprocessor):
    """Collate clips of different length and size into one batch.

    ``mean`` and ``std`` are of each channel that the backbone sees, in [0,
    255], B, G, R with ``rgb_to_bgr``. Sides are padded to a multiple of
    ``pad_size_divisor``, the largest stride of the backbone.
    """

    def __init__(
        self,
        mean: Sequence[float] = (123.675, 116.28, 103.53),
        std: Sequence[float] = (58.395, 57.12, 57.375),
        pad_size_divisor: int = 1,
        rgb_to_bgr: bool = False,
    ) -> None:
        super().__init__()
        self.pad_size_divisor = pad_size_divisor
        self.rgb_to_bgr = rgb_to_bgr
        for name, values in (('mean', mean), ('std', std)):
            value = torch.tensor(values, dtype=torch.float32).view(3, 1, 1)
            self.register_buffer(name, value, persistent=False)

    def forward(self, data: dict, training: bool = False) -> dict[str, Any]:
        """Move to the device, normalise and pad B clips, uint8 (T, 3, H, W).

        Gives ``data_samples``, and ``inputs``: ``imgs`` (B, T, 3, H, W), zero
        on padding, ``frame_mask`` (B, T) and ``pixel_mask`` (B, H, W), True on
        real data, and its ``extents``, B times (frames, height, width).
        """
        data = self.cast_data(data)
        clips: list[Tensor] = list(data['inputs'])
        divisor = self.pad_size_divisor
        num_frames = max(clip.shape[0] for clip in clips)
        height, width = (
            -(-max(clip.shape[axis] for clip in clips) // divisor) * divisor
            for axis in (2, 3)
        )
        imgs = self.mean.new_zeros(len(clips), num_frames, height, width, 3)
        frame_mask = imgs.new_zeros(len(clips), num_frames, dtype=torch.bool)
        pixel_mask = imgs.new_zeros(
            len(clips), height, width, dtype=torch.bool
        )
        for index, clip in enumerate(clips):
            t, _, h, w = clip.shape
            if self.rgb_to_bgr:
                clip = clip.flip(1)
            # Rows of pixels: axes of three numbers are slow.
            rows = clip.permute(0, 2, 3, 1).flatten(2)
            mean, std = self.mean.flatten(), self.std.flatten()
            rows = (rows - mean.repeat(w)) / std.repeat(w)
            imgs[index, :t, :h, :w] = rows.unflatten(2, (w, 3))
            frame_mask[index, :t] = True
            pixel_mask[index, :h, :w] = True
        inputs = dict(
            # Channels last in memory.
            imgs=imgs.permute(0, 1, 4, 2, 3),
            frame_mask=frame_mask,
            pixel_mask=pixel_mask,
            extents=[(len(clip), *clip.shape[2:]) for clip in clips],
        )
        return dict(inputs=inputs, data_samples=data.get('data_samples'))
