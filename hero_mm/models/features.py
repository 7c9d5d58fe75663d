"""What the encoders hand on: a pyramid of features, and features of sentences.

Shape legend: B clips, Q sentences, T frames, H W cells of a level, L words,
D width.
"""

from dataclasses import dataclass
from typing import Optional

import torch
from torch import Tensor

from hero_mm.errors import UserError

Stride = tuple[float, float]


def none_is_padding(mask: Tensor) -> bool:
    """Whether a mask is all True; False where the host would have to wait."""
    return mask.device.type == 'cpu' and bool(mask.all())


def read_extents(
    frame_mask_BT: Tensor, pixel_mask_BHW: Tensor
) -> list[tuple[int, int, int]]:
    """Frames, height and width of each clip, by the masks; the host waits."""
    sides = [
        frame_mask_BT.sum(1),
        pixel_mask_BHW.any(2).sum(1),
        pixel_mask_BHW.any(1).sum(1),
    ]
    return [(t, h, w) for t, h, w in torch.stack(sides, 1).tolist()]


@dataclass
class Pyramid:
    """Features of B clips at several resolutions, the finest level first."""

    # Each (B, T, D, H, W), zero on padding.
    levels: tuple[Tensor, ...]
    # Pixels that a cell of each level covers, (x, y).
    strides: tuple[Stride, ...]
    frame_mask_BT: Tensor
    # Width and height of the frames in pixels, without padding.
    sizes_B2: Tensor
    # The frames themselves, in cells of half the finest level.
    picture_BT3HW: Optional[Tensor] = None

    def level(self, number: int) -> tuple[Tensor, Stride]:
        """A level and its stride; ValueError where there is no such level."""
        count = len(self.levels)
        if not -count <= number < count:
            raise UserError(
                f'level {number} of the pyramid does not exist: there are '
                f'{count}; set model.video_encoder.finer_levels'
            )
        return self.levels[number], self.strides[number]

    def real_cells(self, number: int) -> Tensor:
        """Cells whose first pixel is real, has shape (B, H, W)."""
        level, (across, down) = self.level(number)
        height, width = level.shape[-2:]
        device = self.sizes_B2.device
        x = torch.arange(width, device=device) * across
        y = torch.arange(height, device=device) * down
        in_width = x < self.sizes_B2[:, :1]
        in_height = y < self.sizes_B2[:, 1:]
        return in_height[:, :, None] & in_width[:, None]

    def unit(self, number: int) -> Tensor:
        """Pixels that a cell of a level covers, (x, y), has shape (2,)."""
        across, down = self.level(number)[1]
        one = self.sizes_B2.new_ones(1)
        return torch.cat([one * across, one * down])

    def means(self, number: int) -> Tensor:
        """Mean over the real cells of each frame, has shape (B, T, D)."""
        count = self.real_cells(number).sum((1, 2)).clamp(min=1)
        total = self.level(number)[0].sum((-2, -1))
        return total / count[:, None, None]


@dataclass
class TextFeatures:
    """Features of Q sentences: words, the whole, the action.

    The action is pooled from the words, by weights.
    """

    words_QLD: Tensor
    word_mask_QL: Tensor
    sentence_QD: Tensor
    action_QD: Tensor
    action_weights_QL: Tensor

    def select(self, rows: slice) -> 'TextFeatures':
        """Some of the sentences."""
        return TextFeatures(*(value[rows] for value in vars(self).values()))
