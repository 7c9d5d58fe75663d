"""From proposals to regions: features, and which ones train the model.

Shape legend: B clips, T frames, K proposals a frame, D width.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Optional

import torch
from mmengine.model import BaseModule
from mmengine.structures import InstanceData
from torch import Tensor, nn

from hero_mm.registry import MODELS, TASK_UTILS
from hero_mm.structures import GroundingDataSample

from ..features import VideoFeatures
from ..video_encoders.building import build_part, in_words
from .frame_samples import RealFrame, tracks_of_frame
from .proposal_set import ProposalSet, pack_proposals

# Edges moved inwards by this leave more than half of a box.
_MOST_JITTER = 0.14


@MODELS.register_module()
class RoIEncoder(BaseModule):
    """One feature a proposal, aligned on the grid of the clip.

    Args:
        embed_dims (int): Width D.
        output_size (int): Side of the aligned map. Defaults to 3.
        sampling_ratio (int): Points a side of each of its cells. Defaults
            to 2.
        num_train (int): Proposals of a frame in training, of which at most
            half lie on an object. The annotated boxes always stand beside
            them. Defaults to 16.
        jitter (float): Each edge of those is moved at random by up to this
            share of the box's side, so that the head learns to correct what
            is as rough as a proposal. They still overlap the true boxes by
            0.5. From 0 (as annotated) to 0.14, the default.
        assigner (dict, optional): Config of an mmdet assigner that says
            which proposals lie on an object. Defaults to ``MaxIoUAssigner``
            at 0.5.
        sampler (dict, optional): Config of an mmdet sampler that chooses the
            proposals. Defaults to ``RandomSampler`` with ``num_train``, half
            of them on objects.
        init_cfg (dict, optional): Initialization config.
    """

    def __init__(
        self,
        embed_dims: int,
        output_size: int = 3,
        sampling_ratio: int = 2,
        num_train: int = 16,
        jitter: float = 0.14,
        assigner: Optional[dict] = None,
        sampler: Optional[dict] = None,
        init_cfg: Optional[dict] = None,
    ) -> None:
        super().__init__(init_cfg)
        if not 0 <= jitter <= _MOST_JITTER:
            raise ValueError(
                f'jitter={jitter} moves the edges of annotated boxes by that '
                f'share of their sides; choose from 0 to {_MOST_JITTER}'
            )
        from mmcv.ops import RoIAlign

        self.jitter = jitter
        self.align = RoIAlign(output_size, 1.0, sampling_ratio, aligned=True)
        self.project = nn.Linear(embed_dims * output_size**2, embed_dims)
        self.norm = nn.LayerNorm(embed_dims)
        default = dict(
            type='mmdet.MaxIoUAssigner',
            pos_iou_thr=0.5,
            neg_iou_thr=0.5,
            min_pos_iou=0.5,
            match_low_quality=False,
        )
        self.assigner = build_part(assigner or default, 'assigner', TASK_UTILS)
        default = dict(
            type='mmdet.RandomSampler',
            num=num_train,
            pos_fraction=0.5,
        )
        self.sampler = build_part(sampler or default, 'sampler', TASK_UTILS)
        # They would be drawn by lot, and the target with them.
        self.sampler.add_gt_as_proposals = False

    @torch.no_grad()
    def sample(
        self,
        proposals: ProposalSet,
        samples: Sequence[GroundingDataSample],
    ) -> ProposalSet:
        """Choose the candidates of a training step.

        Args:
            proposals (ProposalSet): Of B clips.
            samples (Sequence[GroundingDataSample]): With ``gt_tracks``.

        Returns:
            ProposalSet: Annotated boxes, moved a little, then proposals on
            objects, then others.
        """
        # Dozens of small steps a frame: an accelerator would wait for each.
        told_BTK4 = proposals.boxes_BTK4.cpu()
        valid_BTK = proposals.valid_BTK.cpu()
        frames, boxes = [], []
        for clip, sample in enumerate(samples):
            tracks = sample.gt_tracks.cpu()
            for frame in range(len(sample.frame_inds)):
                priors = told_BTK4[clip, frame][valid_BTK[clip, frame]]
                truth = tracks_of_frame(tracks, frame).to(priors)
                chosen = self._choose(priors, truth)
                moved = self._moved(truth, sample.img_shape)
                boxes.append(torch.cat([moved, chosen]))
                frames.append(RealFrame(clip, frame, sample.img_shape))
        # None is surer than another: all of them are wanted.
        scores = [one.new_ones(len(one)) for one in boxes]
        return pack_proposals(
            boxes, scores, frames, proposals.valid_BTK[..., 0]
        )

    def _moved(self, truth: Tensor, size: tuple[int, int]) -> Tensor:
        """Annotated boxes as rough as proposals, inside their frame."""
        sides = (truth[:, 2:] - truth[:, :2]).repeat(1, 2)
        share = self.jitter * (2 * torch.rand_like(truth) - 1)
        height, width = size
        edges = truth.new_tensor([width, height, width, height])
        return (truth + share * sides).clamp(min=0).minimum(edges)

    def _choose(self, priors: Tensor, truth: Tensor) -> Tensor:
        """The proposals of a frame that train the model."""
        labels = truth.new_zeros(len(truth), dtype=torch.long)
        real = InstanceData(bboxes=truth, labels=labels)
        given = InstanceData(priors=priors)
        with in_words(
            f'{type(self.assigner).__name__} and '
            f'{type(self.sampler).__name__} do not take {len(priors)} '
            f'proposals and {len(truth)} boxes of a frame',
            'Choose those of a region head, such as mmdet.MaxIoUAssigner and '
            'mmdet.RandomSampler',
        ):
            assigned = self.assigner.assign(given, real)
            chosen: Tensor = self.sampler.sample(assigned, given, real).priors
        return chosen

    def forward(
        self, video: VideoFeatures, proposals: ProposalSet
    ) -> VideoFeatures:
        """Encode proposals.

        Args:
            video (VideoFeatures): B clips, as a grid; ``contexts`` of the
                grid are picked at the centres of the proposals.
            proposals (ProposalSet): Of the same clips.

        Returns:
            VideoFeatures: Sets of K regions a frame, with the proposals as
            their boxes.
        """
        grid = video.regions_BTHWD
        clips, frames, height, width, dims = grid.shape
        # Boxes keep their precision, whatever that of the features is.
        unit = video.centres_BTHW2.new_tensor(video.stride)
        cells_B2 = _real_cells(video.real_BTHW)
        proposals = proposals.or_whole_frames(
            cells_B2 * unit, video.frame_mask_BT
        )
        boxes = proposals.boxes_BTK4.to(unit)
        number = boxes.shape[2]
        rows = torch.arange(clips * frames, device=grid.device)
        rows = rows.repeat_interleave(number)[:, None].to(boxes)
        rois = torch.cat([rows, (boxes / unit.repeat(2)).flatten(0, 2)], dim=1)
        maps = _edge_padded(grid, video.real_BTHW, cells_B2)
        maps = maps.flatten(0, 1).permute(0, 3, 1, 2).contiguous()
        # mmcv's operators take single precision only on the CPU.
        aligned = self.align(maps.float(), rois).to(grid.dtype)
        regions = self.norm(self.project(aligned.flatten(1)))
        valid = proposals.valid_BTK & video.frame_mask_BT[..., None]
        centres = (boxes[..., :2] + boxes[..., 2:]) / 2
        sides = (boxes[..., 2:] - boxes[..., :2]).clamp(min=1e-2)
        raw = torch.cat([torch.zeros_like(sides), (sides / unit).log()], -1)
        last = (cells_B2 - 1)[:, None, None]
        cell = (centres / unit).long().clamp(min=0).minimum(last)
        place = cell[..., 1] * width + cell[..., 0]
        return replace(
            video,
            regions_BTHWD=regions.view(clips, frames, 1, number, dims),
            real_BTHW=valid[:, :, None],
            centres_BTHW2=centres[:, :, None],
            is_grid=False,
            raw_boxes_BTHW4=raw[:, :, None],
            proposals_BTHW4=boxes[:, :, None],
            contexts=_pick(video.contexts, place),
        )


def _real_cells(real_BTHW: Tensor) -> Tensor:
    """Real columns and rows of the grids, has shape (B, 2)."""
    real = real_BTHW.any(1)
    return torch.stack([real.any(1).sum(1), real.any(2).sum(1)], dim=1)


def _edge_padded(
    grid_BTHWD: Tensor, real_BTHW: Tensor, cells_B2: Tensor
) -> Tensor:
    """Grids whose padding repeats their last real row and column.

    What is aligned at the edge of a clip then is the same with padding and
    without.
    """
    if real_BTHW.flatten(2).all(-1).eq(real_BTHW.flatten(2).any(-1)).all():
        return grid_BTHWD
    clips, _, height, width = real_BTHW.shape
    last = (cells_B2 - 1).clamp(min=0)
    rows = torch.arange(height, device=last.device).minimum(last[:, 1:])
    columns = torch.arange(width, device=last.device).minimum(last[:, :1])
    clip = torch.arange(clips, device=last.device)[:, None, None]
    moved = grid_BTHWD.movedim(1, 3)
    moved = moved[clip, rows[:, :, None], columns[:, None]]
    return moved.movedim(3, 1)


def _pick(
    contexts: Optional[dict[int, Tensor]], place_BTK: Tensor
) -> Optional[dict[int, Tensor]]:
    """Contexts of the cells; the mean of a frame serves all of them."""
    if contexts is None:
        return None
    picked = {}
    for scale, value in contexts.items():
        flat = value.flatten(2, 3)
        if flat.shape[2] > 1:
            index = place_BTK[..., None].expand(-1, -1, -1, flat.shape[-1])
            value = flat.gather(2, index)[:, :, None]
        picked[scale] = value
    return picked
