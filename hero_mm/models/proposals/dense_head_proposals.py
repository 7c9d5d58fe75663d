"""Proposals of an mmdet dense head that learns on HERO's own features.

Shape legend: B clips, T frames, N real frames, H W grid, D width.
"""

import math
from typing import Any, Callable, Optional

import torch
import torch.nn.functional as F
from torch import Tensor

from hero_mm.registry import MODELS

from ..features import VideoFeatures
from ..video_encoders.building import build_part, in_words
from .base import ProposalGenerator, Samples
from .frame_samples import (
    frame_sample,
    real_frames,
    tell_batch_size,
    truth_of_frames,
)
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
        self.head: Any = build_part(head, 'proposal head')
        self.num_levels = num_levels
        self.loss_weight = loss_weight

    def _levels(self, grid_NHWD: Tensor) -> tuple[Tensor, ...]:
        """What the head sees, the finest level first."""
        levels = [grid_NHWD.permute(0, 3, 1, 2)]
        for _ in range(self.num_levels - 1):
            levels.append(F.max_pool2d(levels[-1], 2, ceil_mode=True))
        return tuple(levels)

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
        frames = real_frames(inputs)
        grid_NHWD = video.regions_BTHWD.detach()[video.frame_mask_BT]
        boxes: dict[int, Tensor] = {}
        scores: dict[int, Tensor] = {}
        # Frames of one size at a time, without what pads them: a head of
        # several convolutions would see the padding.
        for size in dict.fromkeys(one.size for one in frames):
            rows = [i for i, one in enumerate(frames) if one.size == size]
            height, width = (
                math.ceil(side / step)
                for side, step in zip(size, reversed(video.stride))
            )
            found = self._run(
                self.head.predict,
                grid_NHWD[rows, :height, :width],
                [frame_sample(size) for _ in rows],
                video,
                rescale=False,
            )
            boxes.update((row, one.bboxes) for row, one in zip(rows, found))
            scores.update((row, one.scores) for row, one in zip(rows, found))
        order = range(len(frames))
        return pack_proposals(
            [boxes[row] for row in order],
            [scores[row] for row in order],
            frames,
            video.frame_mask_BT,
        )

    def loss(
        self,
        video: VideoFeatures,
        inputs: dict[str, Tensor],
        samples: Samples,
    ) -> dict[str, Tensor]:
        """Losses of the head, by its own names behind ``loss_proposal_``.

        All frames at once, whatever their size: heads that count objects over
        all processes must be called equally often in each.
        """
        self._check_strides(video)
        frames = real_frames(inputs)
        grid = video.regions_BTHWD * video.real_BTHW[..., None]
        data = [
            frame_sample(one.size, truth)
            for one, truth in zip(frames, truth_of_frames(frames, samples))
        ]
        losses = self._run(
            self.head.loss, grid[video.frame_mask_BT], data, video
        )
        return sum_losses(losses, self.loss_weight)

    def _run(
        self,
        method: Callable[..., Any],
        grid_NHWD: Tensor,
        data: list[Any],
        video: VideoFeatures,
        **options: Any,
    ) -> Any:
        """Run the head; ValueError where it does not take what it gets."""
        _, height, width, dims = grid_NHWD.shape
        size = round(height * video.stride[1]), round(width * video.stride[0])
        tell_batch_size(data, size, self.head)
        with in_words(
            f'the proposal head {type(self.head).__name__} does not run on '
            f'{self.num_levels} level(s) of {dims} channels',
            'Its in_channels are embed_dims of the video encoder, and '
            'train_cfg and test_cfg stand inside head',
        ):
            return method(self._levels(grid_NHWD), data, **options)
