"""Regions: the boxes of a clip that may hold an object, and what they show.

They, and nothing else of the picture, meet the words. After the linker place
n holds the same object in all frames: it is a slot.

Shape legend: B clips, Q sentences, T frames, N regions (or slots) a frame, M
annotated objects, S sizes, P points, D width. Boxes are xyxy in pixels of the
input.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Optional

import torch
import torch.nn.functional as F
from torch import Tensor

from hero_mm.structures import GroundingDataSample, send

from .features import Pyramid
from .layers import temporal_shift
from .losses import pairwise_iou


@dataclass
class Regions:
    """Regions of B clips; of Q sentences after :meth:`of_queries`."""

    boxes_BTN4: Tensor
    # How likely each holds an object, in [0, 1].
    scores_BTN: Tensor
    mask_BTN: Tensor
    # Place of each frame among the sampled ones.
    times_BT: Tensor
    frame_mask_BT: Tensor
    # What each region shows, also at several sizes of its box.
    features_BTND: Any = None
    looks_BTNSD: Optional[Tensor] = None
    # How well looks and action fit a sentence; logits of its consistency.
    fit_BTN2: Any = None
    gate_BT: Optional[Tensor] = None

    @classmethod
    def from_boxes(
        cls, boxes: Tensor, scores: Tensor, mask: Tensor, frames: Tensor
    ) -> 'Regions':
        """Of clips (B, T, N, 4), (B, T, N), (B, T, N), real frames (B, T)."""
        times = torch.arange(frames.shape[1], device=frames.device)
        return cls(boxes, scores, mask, times.expand(frames.shape), frames)

    def _map(
        self, change: Callable[[Tensor], Tensor], but: tuple[str, ...] = ()
    ) -> 'Regions':
        present = {k: v for k, v in vars(self).items() if v is not None}
        changed = {k: change(v) for k, v in present.items() if k not in but}
        return replace(self, **changed)

    def pick(self, index_BTK: Tensor) -> 'Regions':
        """Take K regions of each frame, by their places (B, T, K)."""

        def gather(value: Tensor) -> Tensor:
            shape = index_BTK.shape
            index = index_BTK.reshape(*shape, *[1] * (value.dim() - 3))
            return value.gather(2, index.expand(*shape, *value.shape[3:]))

        return self._map(gather, but=('times_BT', 'frame_mask_BT'))

    def best(self, number: int) -> 'Regions':
        """The regions of highest score of each frame, at most ``number``."""
        score = self.scores_BTN.masked_fill(~self.mask_BTN, -1.0)
        # Stable: what is equally sure must not depend on the padding.
        order = score.sort(dim=-1, descending=True, stable=True).indices
        return self.pick(order[..., :number])

    def suppress(self, threshold: float) -> 'Regions':
        """Mask regions that overlap a better one, masked or not, by an IoU."""
        ordered = self.best(self.mask_BTN.shape[-1])
        overlap = pairwise_iou(ordered.boxes_BTN4, ordered.boxes_BTN4)
        overlap = overlap.triu(diagonal=1) > threshold
        beaten = (overlap & ordered.mask_BTN[..., None]).any(-2)
        return replace(ordered, mask_BTN=ordered.mask_BTN & ~beaten)

    def of_queries(self, clip_of_query: Tensor) -> 'Regions':
        """Each clip repeated for its sentences: Q in the place of B."""
        if len(self.mask_BTN) == 1:
            # Nothing is copied.
            number = len(clip_of_query)
            return self._map(
                lambda value: value.expand(number, *value.shape[1:])
            )
        return self._map(lambda value: value.index_select(0, clip_of_query))

    def frames(self, chosen: Optional[tuple[Tensor, Tensor]]) -> 'Regions':
        """Some frames (B, K) of each clip, which are meant; None: all."""
        if chosen is None:
            return self
        kept_BK, real_BK = chosen
        kept = self._map(lambda value: take_frames(value, kept_BK))
        return replace(
            kept,
            mask_BTN=kept.mask_BTN & real_BK[..., None],
            frame_mask_BT=kept.frame_mask_BT & real_BK,
        )


def clips_of_queries(
    samples: Sequence[GroundingDataSample], device: torch.device
) -> Tensor:
    """The clip of each query of B samples, has shape (Q,)."""
    counts = torch.tensor([len(one.queries.texts) for one in samples])
    clips = torch.arange(len(samples)).repeat_interleave(counts)
    return send(clips, device)


def take_frames(value: Tensor, kept_BK: Tensor) -> Tensor:
    """Frames (B, K) of each clip, of values (B, T, ...)."""
    rows = torch.arange(len(kept_BK), device=kept_BK.device)[:, None]
    return value[rows, kept_BK]


def region_points(boxes: Tensor, scale: float, number: int) -> Tensor:
    """``number`` x ``number`` points over ``scale`` boxes, (..., P, 2)."""
    centre = (boxes[..., :2] + boxes[..., 2:]) / 2
    reach = (boxes[..., 2:] - boxes[..., :2]) * (scale / 2)
    steps = torch.arange(number, device=boxes.device) + 0.5
    steps = (2 / number * steps - 1).to(boxes)
    y, x = torch.meshgrid(steps, steps, indexing='ij')
    offsets = torch.stack([x, y], dim=-1).flatten(0, 1)
    return centre[..., None, :] + reach[..., None, :] * offsets


def read_cells(
    cells_BTHWC: Tensor,
    stride: tuple[float, float],
    points_BTNP2: Tensor,
    shift: int = 0,
) -> Tensor:
    """Read cells at points (x, y), bilinearly, (B, T, N, P, C).

    In single precision at least; zero outside. Behind them stand the first
    ``shift`` channels of the frame before and the next of the one after.
    """
    clips, frames, height, width, _ = cells_BTHWC.shape
    # In half precision, places of a large picture would be rounded.
    exact = torch.promote_types(cells_BTHWC.dtype, points_BTNP2.dtype)
    x, y = points_BTNP2.to(exact).unbind(-1)
    column, weight_x = _neighbours(x / stride[0] - 0.5, width)
    row, weight_y = _neighbours(y / stride[1] - 0.5, height)
    place = row[..., :, None] * width + column[..., None, :]
    weight = weight_y[..., :, None] * weight_x[..., None, :]
    cells = cells_BTHWC.to(exact)
    if shift:
        beside = temporal_shift(cells[..., : 2 * shift], shift)
        cells = torch.cat([cells, beside], -1)
    first = torch.arange(clips * frames, device=place.device) * height * width
    index = (first.view(clips, frames, 1, 1, 1, 1) + place).view(-1, 4)
    read = _WeightedRows.apply(cells.flatten(0, 3), index, weight.view(-1, 4))
    return read.view(*points_BTNP2.shape[:-1], -1)


class _WeightedRows(torch.autograd.Function):
    """Weighted sums of rows of a table; its gradient sorts nothing.

    Many times as fast as grid_sample where channels are last.
    """

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, table: Tensor, index: Tensor, weight: Tensor
    ) -> Tensor:
        ctx.rows = len(table)
        kept = table if weight.requires_grad else None
        ctx.save_for_backward(index, weight, kept)
        return F.embedding_bag(
            index, table, per_sample_weights=weight, mode='sum'
        )

    @staticmethod
    def backward(  # type: ignore[override]
        ctx: Any, grad: Tensor
    ) -> tuple[Tensor, None, Optional[Tensor]]:
        index, weight, cells = ctx.saved_tensors
        table = grad.new_zeros(ctx.rows, grad.shape[1])
        weights = []
        for rows, share in zip(index.unbind(1), weight.unbind(1)):
            table.index_add_(0, rows, grad * share[:, None])
            if cells is not None:
                weights.append((grad * cells[rows]).sum(-1))
        return table, None, torch.stack(weights, 1) if weights else None


def _neighbours(place: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """The two cells of a row beside places, and their weights, (..., 2)."""
    low = place.floor()
    share = place - low
    cell = torch.stack([low, low + 1], -1)
    weight = torch.stack([1 - share, share], -1)
    weight = weight * ((cell >= 0) & (cell < number))
    # What is no number stays one in its weight.
    return cell.nan_to_num().clamp(0, number - 1).long(), weight


def read_centres(pyramid: Pyramid, boxes: Tensor) -> Tensor:
    """The coarsest level at the centres of boxes, (B, T, N, D)."""
    level, stride = pyramid.level(-1)
    cells = level.permute(0, 1, 3, 4, 2)
    return read_cells(cells, stride, region_points(boxes, 1.0, 1)).squeeze(3)
