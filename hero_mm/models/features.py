"""What the encoders hand on: a pyramid of features, and features of sentences.

Shape legend: B clips, Q sentences, T frames, H W cells of a level, L words,
C encoder width, D width.
"""

from dataclasses import dataclass
from typing import Optional

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

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


class TextPooling(BaseModule):
    """Project words from width C to D, pool a sentence and an action.

    How the action is read from the caption, the abstract of HERO does not say.
    We choose attention pooling over the words, learned, with no parser.
    """

    def __init__(self, in_dims: int, embed_dims: int) -> None:
        super().__init__()
        self.project = nn.Sequential(
            nn.Linear(in_dims, embed_dims), nn.LayerNorm(embed_dims)
        )
        self.sentence_attention = nn.Linear(embed_dims, 1)
        self.action_attention = nn.Linear(embed_dims, 1)
        self.action_out = nn.Linear(embed_dims, embed_dims)

    def forward(self, words_QLC: Tensor, mask_QL: Tensor) -> TextFeatures:
        """Pool words (Q, L, C), which are real where the mask is True."""
        words_QLD = self.project(words_QLC)
        pooled = []
        for attention in (self.sentence_attention, self.action_attention):
            logits_QL = attention(words_QLD).squeeze(-1)
            logits_QL = logits_QL.masked_fill(~mask_QL, float('-inf'))
            weights_QL = logits_QL.softmax(-1)
            pooled.append(torch.einsum('ql,qld->qd', weights_QL, words_QLD))
        sentence_QD, action_QD = pooled
        return TextFeatures(
            words_QLD,
            mask_QL,
            sentence_QD,
            self.action_out(action_QD),
            weights_QL,
        )
