"""What the towers hand to the reasoning: features of clips and sentences.

Shape legend: B clips, Q queries, T frames, H W grid, L words, D width.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, Optional

import torch
from torch import Tensor


def decode_boxes(
    raw: Tensor, centres: Tensor, stride: tuple[float, float]
) -> Tensor:
    """Boxes from offsets of the centre and logarithms of the size.

    Args:
        raw (Tensor): In units of the stride, has shape (..., N, 4).
        centres (Tensor): Centres of the regions, has shape (..., N, 2).
        stride (tuple[float, float]): Pixels a region covers, (x, y).

    Returns:
        Tensor: Boxes xyxy in pixels, has shape (..., N, 4).
    """
    unit = raw.new_tensor(stride)
    centre = centres + raw[..., :2] * unit
    half = raw[..., 2:].clamp(-5, 5).exp() * unit / 2
    return torch.cat([centre - half, centre + half], dim=-1)


@dataclass
class Details:
    """A finer level of the pyramid, of which regions read what they show.

    Attributes:
        map_BTCHW (Tensor): Features, zero on padding.
        stride (tuple[float, float]): Pixels a cell covers, (x, y).
    """

    map_BTCHW: Tensor
    stride: tuple[float, float]


@dataclass
class VideoFeatures:
    """Regions of B clips, computed once whatever the number of sentences.

    The regions of a frame are a grid of H x W, or, after
    :func:`hero_mm.models.pruning.select_regions`, a set of W with H = 1.

    Attributes:
        regions_BTHWD (Tensor): Features of the regions.
        frame_mask_BT (Tensor): True on real frames, False on padding.
        real_BTHW (Tensor): True on regions that hold real pixels of real
            frames.
        centres_BTHW2 (Tensor): Centres of the regions in pixels, x, y.
        stride (tuple[float, float]): Pixels a region covers, (x, y).
        is_grid (bool): The regions are a grid, not a set.
        objectness_BTHW (Tensor, optional): Logits of "an object is centred
            here", of the tube head.
        raw_boxes_BTHW4 (Tensor, optional): The clip's own boxes, of the tube
            head, see :func:`decode_boxes`.
        contexts (dict[int, Tensor], optional): Means over the neighbourhoods
            of the regions in the grid that a set was chosen from, one a
            scale of the pyramid alignment.
        geometry_BTHW5 (Tensor, optional): Centre and size of the clip's own
            boxes in units of the stride, and the frame number.
        proposals_BTHW4 (Tensor, optional): Where regions are proposals, the
            proposed boxes, xyxy in pixels.
        details (Details, optional): A finer level of the clips; it is read
            once a clip and then let go.
    """

    regions_BTHWD: Tensor
    frame_mask_BT: Tensor
    real_BTHW: Tensor
    centres_BTHW2: Tensor
    stride: tuple[float, float]
    is_grid: bool = True
    objectness_BTHW: Optional[Tensor] = None
    raw_boxes_BTHW4: Optional[Tensor] = None
    contexts: Optional[dict[int, Tensor]] = None
    geometry_BTHW5: Optional[Tensor] = None
    proposals_BTHW4: Optional[Tensor] = None
    details: Optional[Details] = None

    def boxes(self) -> Tensor:
        """The clip's own boxes, xyxy in pixels, has shape (B, T, H, W, 4)."""
        if self.raw_boxes_BTHW4 is None:
            raise ValueError(
                'these features have no boxes: run TubeHead.clip_outputs first'
            )
        return decode_boxes(
            self.raw_boxes_BTHW4, self.centres_BTHW2, self.stride
        )

    def apply(self, function: Callable[[Tensor], Tensor]) -> 'VideoFeatures':
        """Apply a function to every tensor but the details.

        Args:
            function (Callable): Takes and gives a tensor whose first axes
                are clips and frames.

        Returns:
            VideoFeatures: The results.
        """
        changed: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Tensor):
                changed[field.name] = function(value)
            elif isinstance(value, dict):
                changed[field.name] = {
                    key: function(item) for key, item in value.items()
                }
        return replace(self, **changed)

    def frame_means(self) -> Tensor:
        """Mean of the real regions of each frame, has shape (B, T, D)."""
        real = self.real_BTHW.to(self.regions_BTHWD.dtype)
        total = torch.einsum('bthwd,bthw->btd', self.regions_BTHWD, real)
        return total / real.sum((2, 3)).clamp(min=1)[..., None]

    def of_queries(self, clip_of_query: Tensor) -> 'VideoFeatures':
        """Repeat each clip for its sentences.

        Args:
            clip_of_query (Tensor): Index of the clip of each query, has
                shape (Q,).

        Returns:
            VideoFeatures: The same features with Q in the place of B.
        """
        return self.apply(lambda value: value[clip_of_query])


@dataclass
class TextFeatures:
    """Features of Q sentences.

    Attributes:
        words_QLD (Tensor): One feature a word (or sub-word).
        word_mask_QL (Tensor): True on real words, False on padding.
        sentence_QD (Tensor): One vector a sentence.
        action_QD (Tensor): The action that the sentence names, pooled from
            the words by learned attention.
        action_weights_QL (Tensor): The weights of that pooling; they sum to
            one over the real words.
    """

    words_QLD: Tensor
    word_mask_QL: Tensor
    sentence_QD: Tensor
    action_QD: Tensor
    action_weights_QL: Tensor

    def select(self, rows: slice) -> 'TextFeatures':
        """Take some of the sentences.

        Args:
            rows (slice): Which ones.

        Returns:
            TextFeatures: These sentences, cut to their longest.
        """
        mask = self.word_mask_QL[rows]
        longest = int(mask.sum(-1).max()) if len(mask) else 0
        return TextFeatures(
            self.words_QLD[rows, :longest],
            mask[:, :longest],
            self.sentence_QD[rows],
            self.action_QD[rows],
            self.action_weights_QL[rows, :longest],
        )
