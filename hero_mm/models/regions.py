"""Regions: the boxes of a clip that may hold an object, and what they show.

The abstract of HERO says that *redundant interfering correlations* are
removed. We choose that N regions a frame, and nothing else of the picture,
meet the words. After :class:`RegionLinker` place n holds the same object in
all frames: it is a slot.

Shape legend: B clips, Q sentences, T frames, N regions (or slots) a frame, M
annotated objects, S sizes, P points, D width. Boxes are xyxy in pixels of the
input.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Optional

import torch
import torch.nn.functional as F
from torch import Tensor

from hero_mm.errors import UserError
from hero_mm.structures import GroundingDataSample, send

from .features import Pyramid
from .losses import pairwise_iou


@dataclass
class Regions:
    """Regions of B clips; of Q sentences after :meth:`of_queries`.

    Attributes:
        boxes_BTN4 (Tensor): The boxes, zeros on padding.
        scores_BTN (Tensor): How likely each holds an object, in [0, 1].
        mask_BTN (Tensor): True on regions, False where there is none.
        times_BT (Tensor): Place of each frame among the sampled ones:
            0, 1, 2, ... until frames are left out.
        frame_mask_BT (Tensor): True on real frames.
        features_BTND (Tensor, optional): What each region shows.
        looks_BTNSD (Tensor, optional): The same at several sizes of its box.
    """

    boxes_BTN4: Tensor
    scores_BTN: Tensor
    mask_BTN: Tensor
    times_BT: Tensor
    frame_mask_BT: Tensor
    features_BTND: Optional[Tensor] = None
    looks_BTNSD: Optional[Tensor] = None

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
            index = index_BTK.reshape(
                *index_BTK.shape, *[1] * (value.dim() - 3)
            )
            return value.gather(
                2, index.expand(*index_BTK.shape, *value.shape[3:])
            )

        return self._map(gather, but=('times_BT', 'frame_mask_BT'))

    @property
    def features(self) -> Tensor:
        """What the regions show, (B, T, N, D); ValueError before encoding."""
        if self.features_BTND is None:
            raise UserError(
                'these regions have no features: run HERO.encode_regions first'
            )
        return self.features_BTND

    def best(self, number: int) -> 'Regions':
        """The regions of highest score of each frame, at most ``number``."""
        score = self.scores_BTN.masked_fill(~self.mask_BTN, -1.0)
        # Stable: what is equally sure must not depend on the padding.
        order = score.sort(dim=-1, descending=True, stable=True).indices
        return self.pick(order[..., :number])

    def suppress(self, threshold: float) -> 'Regions':
        """Mask regions that overlap a better one by more than an IoU.

        All pairs at once: a region that a suppressed one overlaps is
        suppressed too.
        """
        ordered = self.best(self.mask_BTN.shape[-1])
        overlap = pairwise_iou(ordered.boxes_BTN4, ordered.boxes_BTN4)
        overlap = overlap.triu(diagonal=1) > threshold
        beaten = (overlap & ordered.mask_BTN[..., None]).any(-2)
        return replace(ordered, mask_BTN=ordered.mask_BTN & ~beaten)

    def join(self, boxes: Tensor, scores: Tensor, mask: Tensor) -> 'Regions':
        """Put further boxes (B, T, M, 4) beside these, before encoding."""
        return replace(
            self,
            boxes_BTN4=torch.cat([self.boxes_BTN4, boxes], 2),
            scores_BTN=torch.cat([self.scores_BTN, scores], 2),
            mask_BTN=torch.cat([self.mask_BTN, mask], 2),
        )

    def of_queries(self, clip_of_query: Tensor) -> 'Regions':
        """Each clip repeated for its sentences: Q in the place of B."""
        return self._map(lambda value: value.index_select(0, clip_of_query))

    def frames(self, kept_BK: Tensor, real_BK: Tensor) -> 'Regions':
        """Some frames (B, K) of each clip, and which of them are meant.

        They keep their times.
        """
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
    """A grid of ``number`` x ``number`` points over boxes (..., 4).

    Its side is ``scale`` sides of the box. x and y in pixels, (..., P, 2).
    """
    centre = (boxes[..., :2] + boxes[..., 2:]) / 2
    reach = (boxes[..., 2:] - boxes[..., :2]) * (scale / 2)
    steps = torch.arange(number, device=boxes.device) + 0.5
    steps = (2 / number * steps - 1).to(boxes)
    y, x = torch.meshgrid(steps, steps, indexing='ij')
    offsets = torch.stack([x, y], dim=-1).flatten(0, 1)
    return centre[..., None, :] + reach[..., None, :] * offsets


def read_points(
    level_BTCHW: Tensor, stride: tuple[float, float], points_BTNP2: Tensor
) -> Tensor:
    """Read a level at points (x, y), bilinearly; zero outside.

    In single precision at least, has shape (B, T, N, C * P).
    """
    clips, frames, number, _, _ = points_BTNP2.shape
    height, width = level_BTCHW.shape[-2:]
    x, y = points_BTNP2.flatten(0, 1).unbind(-1)
    grid = torch.stack(
        [
            2 * x / (width * stride[0]) - 1,
            2 * y / (height * stride[1]) - 1,
        ],
        -1,
    )
    # In half precision, places of a large picture would be rounded.
    exact = torch.promote_types(level_BTCHW.dtype, grid.dtype)
    maps = level_BTCHW.flatten(0, 1).to(exact)
    read = F.grid_sample(maps, grid.to(exact), align_corners=False)
    return read.permute(0, 2, 1, 3).reshape(clips, frames, number, -1)


def read_centres(pyramid: Pyramid, boxes: Tensor) -> Tensor:
    """The coarsest level at the centres of boxes, (B, T, N, D)."""
    level, stride = pyramid.level(-1)
    return read_points(level, stride, region_points(boxes, 1.0, 1))
