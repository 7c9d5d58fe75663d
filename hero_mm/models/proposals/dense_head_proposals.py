"""Proposals of an mmdet dense head that learns on HERO's own features.

Shape legend: B clips, T frames, N real frames, H W cells of a level, D width.
"""

import math
from typing import Any, Callable, Optional

import torch
import torch.nn.functional as F
from mmengine.structures import InstanceData
from torch import Tensor

from hero_mm.errors import UserError
from hero_mm.parts.building import build_part, in_words
from hero_mm.registry import MODELS
from hero_mm.structures import send

from ..features import Pyramid
from ..regions import Regions
from .base import ProposalGenerator, Samples
from .frame_samples import (
    RealFrame,
    frame_sample,
    pack_proposals,
    real_frames,
)


@MODELS.register_module()
class DenseHeadProposals(ProposalGenerator):
    """An anchor-based or anchor-free head of mmdet, trained jointly.

    The head sees a level of the pyramid and, as coarser levels, maxima over
    2 x 2 neighbours of the level before. Every annotated object is of its one
    class, and everything else is background: it learns only from clips whose
    tracks are complete (``tracks_complete``).

    docs/proposals.md explains ``head``, ``level``, ``num_levels`` and
    ``loss_weight``.
    """

    def __init__(
        self,
        head: dict,
        level: int = -1,
        num_levels: int = 1,
        loss_weight: float = 1.0,
        init_cfg: Optional[dict] = None,
    ) -> None:
        super().__init__(init_cfg)
        self.head: Any = build_part(head, 'proposal head')
        self.level = level
        self.num_levels = num_levels
        self.loss_weight = loss_weight

    @torch.no_grad()
    def forward(
        self, pyramid: Pyramid, inputs: dict[str, Tensor], samples: Samples
    ) -> Regions:
        """See :meth:`ProposalGenerator.forward`."""
        _, (across, down) = pyramid.level(self.level)
        frames = real_frames(inputs)
        found: dict[int, Any] = {}
        # Frames of one size at a time, without what pads them: a head of
        # several convolutions would see the padding.
        for size in dict.fromkeys(one.size for one in frames):
            rows = [row for row, one in enumerate(frames) if one.size == size]
            cells = math.ceil(size[0] / down), math.ceil(size[1] / across)
            level_NDHW = self._cells(pyramid, [frames[row] for row in rows])
            results = self._run(
                self.head.predict,
                level_NDHW[..., : cells[0], : cells[1]],
                [frame_sample(size) for _ in rows],
                rescale=False,
            )
            found.update(zip(rows, results))
        ordered = [found[row] for row in range(len(frames))]
        return pack_proposals(
            [one.bboxes for one in ordered],
            [one.scores for one in ordered],
            frames,
            pyramid.frame_mask_BT,
        )

    def loss_and_predict(
        self, pyramid: Pyramid, inputs: dict[str, Tensor], samples: Samples
    ) -> tuple[dict[str, Tensor], Regions]:
        """See :meth:`ProposalGenerator.loss_and_predict`.

        All frames of complete clips go at once, whatever their size: heads
        that count objects over all processes must be called equally often in
        each. Where no clip is complete, one frame without objects stands in,
        whose losses weigh 0: every weight needs a gradient.
        """
        frames = real_frames(inputs)
        learned = [
            one
            for one in frames
            if samples[one.clip].get('tracks_complete', False)
        ]
        weight = self.loss_weight if learned else 0.0
        data = []
        for clip, frame, size in learned or frames[:1]:
            tracks = samples[clip].gt_tracks
            boxes = tracks.bboxes[tracks.valid[:, frame], frame]
            boxes = boxes if learned else boxes[:0]
            labels = boxes.new_zeros(len(boxes), dtype=torch.long)
            sample = frame_sample(size)
            sample.gt_instances = InstanceData(bboxes=boxes, labels=labels)
            # Nothing is to be ignored; mmdet's own pipelines say so, too.
            sample.ignored_instances = sample.gt_instances[:0]
            data.append(sample)
        level_NDHW = self._cells(pyramid, learned or frames[:1])
        losses = {}
        for name, value in self._run(self.head.loss, level_NDHW, data).items():
            parts = value if isinstance(value, (list, tuple)) else [value]
            total = weight * sum(part.mean() for part in parts)
            losses[f'loss_proposal_{name.replace("loss_", "")}'] = total
        return losses, self(pyramid, inputs, samples)

    def _cells(self, pyramid: Pyramid, frames: list[RealFrame]) -> Tensor:
        """The level of some frames; ValueError for heads of other strides."""
        level_BTDHW, stride = pyramid.level(self.level)
        priors: Any = getattr(self.head, 'prior_generator', None)
        wanted = [
            tuple(side * 2**level for side in stride)
            for level in range(self.num_levels)
        ]
        if priors and [tuple(map(float, s)) for s in priors.strides] != wanted:
            raise UserError(
                f'the proposal head is built for strides {priors.strides} '
                f'(x, y), but the levels that it sees have {wanted}: set the '
                'strides of its anchor_generator to these, and num_levels to '
                'their number, or choose another level'
            )
        length = level_BTDHW.shape[1]
        places = [one.clip * length + one.frame for one in frames]
        return level_BTDHW.flatten(0, 1)[send(places, level_BTDHW.device)]

    def _run(
        self,
        method: Callable[..., Any],
        level_NDHW: Tensor,
        data: list[Any],
        **options: Any,
    ) -> Any:
        """Run the head; ValueError where it does not take what it gets."""
        maps = [level_NDHW]
        for _ in range(self.num_levels - 1):
            maps.append(F.max_pool2d(maps[-1], 2, ceil_mode=True))
        with in_words(
            f'the proposal head {type(self.head).__name__} does not run on '
            f'{self.num_levels} level(s) of {level_NDHW.shape[1]} channels',
            'Its in_channels are embed_dims of the video encoder, and '
            'train_cfg and test_cfg stand inside head',
        ):
            return method(tuple(maps), data, **options)
