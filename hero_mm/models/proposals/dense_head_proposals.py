"""Proposals of an mmdet dense head that learns on HERO's own features.

Shape legend: B clips, T frames, N real frames, H W cells of a level, D width.
"""

import math
from typing import Any, Callable, Optional

import torch
import torch.nn.functional as F
from torch import Tensor

from hero_mm.errors import UserError
from hero_mm.registry import MODELS

from ..features import Pyramid
from ..regions import Regions
from ..video_encoders.building import build_part, in_words
from .base import ProposalGenerator, Samples
from .frame_samples import (
    frame_sample,
    frames_to_learn,
    pack_proposals,
    pick_frames,
    real_frames,
    set_batch_size,
    sum_losses,
)


@MODELS.register_module()
class DenseHeadProposals(ProposalGenerator):
    """An anchor-based or anchor-free head of mmdet, trained jointly.

    The head sees a level of the pyramid and, as coarser levels, maxima over
    2 x 2 neighbours of the level before. Every annotated object is of its one
    class, and everything else is background: it learns only from clips whose
    tracks are complete (``tracks_complete``). Where no clip of a batch is,
    its losses are zero; a data set of such clips needs
    :class:`ObjectProposals`.

    Args:
        head (dict): Config of a dense head, such as ``mmdet.RPNHead`` or
            ``mmdet.FCOSHead``; its strides are those of the levels, in
            pixels. ``train_cfg`` and ``test_cfg`` go in here, too.
        level (int): The level of the pyramid that it sees. Defaults to -1,
            the coarsest.
        num_levels (int): Levels that the head sees, this one and coarser
            ones made of it. Defaults to 1.
        loss_weight (float): Weight of all its losses. Defaults to 1.
        init_cfg (dict, optional): Initialization config.
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

    def _maps(self, level_NDHW: Tensor) -> tuple[Tensor, ...]:
        """What the head sees, the finest level first."""
        maps = [level_NDHW]
        for _ in range(self.num_levels - 1):
            maps.append(F.max_pool2d(maps[-1], 2, ceil_mode=True))
        return tuple(maps)

    def _check_strides(self, stride: tuple[float, float]) -> None:
        """The strides that the head is built for must be ours."""
        maker = getattr(self.head, 'prior_generator', None)
        built_for = getattr(maker, 'strides', None)
        if built_for is None:
            return
        wanted = [
            tuple(side * 2**level for side in stride)
            for level in range(self.num_levels)
        ]
        if [tuple(map(float, one)) for one in built_for] != wanted:
            raise UserError(
                f'the proposal head is built for strides {list(built_for)} '
                f'(x, y), but the levels that it sees have {wanted}: set the '
                'strides of its anchor_generator (or prior_generator) to '
                'these, and num_levels to their number, or choose another '
                'level of the pyramid'
            )

    @torch.no_grad()
    def forward(
        self, pyramid: Pyramid, inputs: dict[str, Tensor], samples: Samples
    ) -> Regions:
        """See :meth:`ProposalGenerator.forward`."""
        level_BTDHW, stride = pyramid.level(self.level)
        self._check_strides(stride)
        frames = real_frames(inputs)
        found: dict[int, Any] = {}
        # Frames of one size at a time, without what pads them: a head of
        # several convolutions would see the padding.
        for size in dict.fromkeys(one.size for one in frames):
            rows = [i for i, one in enumerate(frames) if one.size == size]
            height, width = (
                math.ceil(side / step)
                for side, step in zip(size, reversed(stride))
            )
            level = pick_frames(level_BTDHW, [frames[row] for row in rows])
            samples = [frame_sample(size) for _ in rows]
            results = self._run(
                self.head.predict,
                level[..., :height, :width],
                samples,
                stride,
                rescale=False,
            )
            found.update(zip(rows, results))
        order = range(len(frames))
        return pack_proposals(
            [found[row].bboxes for row in order],
            [found[row].scores for row in order],
            frames,
            pyramid.frame_mask_BT,
        )

    def loss_and_predict(
        self, pyramid: Pyramid, inputs: dict[str, Tensor], samples: Samples
    ) -> tuple[dict[str, Tensor], Regions]:
        """See :meth:`ProposalGenerator.loss_and_predict`.

        Losses of the head keep its own names behind ``loss_proposal_``. All
        frames of complete clips go at once, whatever their size: heads that
        count objects over all processes must be called equally often in each.
        """
        level_BTDHW, stride = pyramid.level(self.level)
        self._check_strides(stride)
        frames = real_frames(inputs)
        rows, truth, weight = frames_to_learn(frames, samples)
        data = [
            frame_sample(frames[row].size, boxes)
            for row, boxes in zip(rows, truth)
        ]
        level_NDHW = pick_frames(level_BTDHW, [frames[row] for row in rows])
        losses = self._run(self.head.loss, level_NDHW, data, stride)
        losses = sum_losses(losses, weight * self.loss_weight)
        return losses, self(pyramid, inputs, samples)

    def _run(
        self,
        method: Callable[..., Any],
        level_NDHW: Tensor,
        data: list[Any],
        stride: tuple[float, float],
        **options: Any,
    ) -> Any:
        """Run the head; ValueError where it does not take what it gets."""
        dims, height, width = level_NDHW.shape[1:]
        size = round(height * stride[1]), round(width * stride[0])
        set_batch_size(data, size, self.head)
        with in_words(
            f'the proposal head {type(self.head).__name__} does not run on '
            f'{self.num_levels} level(s) of {dims} channels',
            'Its in_channels are embed_dims of the video encoder, and '
            'train_cfg and test_cfg stand inside head',
        ):
            return method(self._maps(level_NDHW), data, **options)
