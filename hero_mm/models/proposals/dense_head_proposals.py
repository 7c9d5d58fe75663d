"""Proposals of an mmdet dense head that learns on HERO's own features.

Shape legend: B clips, T frames, D width.
"""

from typing import Any, Optional

import torch
import torch.nn.functional as F
from torch import Tensor

from hero_mm.registry import MODELS, in_own_scope

from ..features import VideoFeatures
from .base import ProposalGenerator, Samples
from .frame_samples import frame_samples
from .proposal_set import ProposalSet, pack_proposals, sum_losses


@MODELS.register_module()
class DenseHeadProposals(ProposalGenerator):
    """An anchor-based or anchor-free head of mmdet, trained jointly.

    The head sees the grid of the video encoder and, as coarser levels,
    maxima over 2 x 2 neighbours of the level before. Every annotated object
    is of its one class.

    Args:
        head (dict): Config of a dense head, such as ``mmdet.RPNHead`` or
            ``mmdet.FCOSHead``; its strides are those of the levels, in
            pixels. ``train_cfg`` and ``test_cfg`` go in here, too.
        num_levels (int): Levels that the head sees. Defaults to 1.
        loss_weight (float): Weight of all its losses. Defaults to 1.
        init_cfg (dict, optional): Initialization config.
    """

    def __init__(
        self,
        head: dict,
        num_levels: int = 1,
        loss_weight: float = 1.0,
        init_cfg: Optional[dict] = None,
    ) -> None:
        super().__init__(init_cfg)
        if num_levels < 1:
            raise ValueError(f'num_levels must be at least 1: {num_levels}')
        self.head = MODELS.build(in_own_scope(head))
        self.num_levels = num_levels
        self.loss_weight = loss_weight

    def _levels(self, video: VideoFeatures) -> list[Tensor]:
        level = video.regions_BTHWD.flatten(0, 1).permute(0, 3, 1, 2)
        levels = [level]
        for _ in range(self.num_levels - 1):
            levels.append(F.max_pool2d(levels[-1], 2, ceil_mode=True))
        return levels

    def _check_strides(self, video: VideoFeatures) -> None:
        """The strides that the head takes for granted must be ours."""
        maker = getattr(self.head, 'prior_generator', None)
        told = getattr(maker, 'strides', None)
        if told is None:
            return
        wanted = [
            tuple(side * 2**level for side in video.stride)
            for level in range(self.num_levels)
        ]
        if [tuple(map(float, stride)) for stride in told] != wanted:
            raise ValueError(
                f'the proposal head is built for strides {list(told)} (x, y), '
                f'but the levels that it sees have {wanted}: set the strides '
                'of its anchor_generator (or prior_generator) to these, and '
                'num_levels to their number'
            )

    @torch.no_grad()
    def forward(
        self,
        video: VideoFeatures,
        inputs: dict[str, Tensor],
        samples: Samples,
    ) -> ProposalSet:
        """See :meth:`ProposalGenerator.forward`."""
        self._check_strides(video)
        found = self.head.predict(
            tuple(level.detach() for level in self._levels(video)),
            self._samples(video, inputs, samples, with_truth=False),
            rescale=False,
        )
        return pack_proposals(
            [one.bboxes for one in found],
            [one.scores for one in found],
            len(video.regions_BTHWD),
        )

    def loss(
        self,
        video: VideoFeatures,
        inputs: dict[str, Tensor],
        samples: Samples,
    ) -> dict[str, Tensor]:
        """Losses of the head, by its own names behind ``loss_proposal_``."""
        self._check_strides(video)
        losses = self.head.loss(
            tuple(self._levels(video)),
            self._samples(video, inputs, samples, with_truth=True),
        )
        return sum_losses(losses, self.loss_weight)

    @staticmethod
    def _samples(
        video: VideoFeatures,
        inputs: dict[str, Tensor],
        samples: Samples,
        with_truth: bool,
    ) -> list[Any]:
        height, width = inputs['imgs'].shape[-2:]
        frames = video.frame_mask_BT.shape[1]
        return frame_samples(samples, frames, (height, width), with_truth)
