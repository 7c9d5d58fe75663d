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

from hero_mm.registry import MODELS, TASK_UTILS, in_own_scope
from hero_mm.structures import GroundingDataSample

from ..features import VideoFeatures
from .frame_samples import tracks_of_frame
from .proposal_set import ProposalSet, pack_proposals


@MODELS.register_module()
class RoIEncoder(BaseModule):
    """One feature a proposal, aligned on the grid of the clip.

    Args:
        embed_dims (int): Width D.
        output_size (int): Side of the aligned map. Defaults to 3.
        sampling_ratio (int): Points a side of each of its cells. Defaults
            to 2.
        num_train (int): Candidates of a frame in training, of which at most
            half lie on an object. Defaults to 16.
        assigner (dict, optional): Config of an mmdet assigner that says
            which proposals lie on an object. Defaults to ``MaxIoUAssigner``
            at 0.5.
        sampler (dict, optional): Config of an mmdet sampler that chooses the
            candidates. Defaults to ``RandomSampler`` with ``num_train``,
            half of them on objects, the annotated boxes among them.
        init_cfg (dict, optional): Initialization config.
    """

    def __init__(
        self,
        embed_dims: int,
        output_size: int = 3,
        sampling_ratio: int = 2,
        num_train: int = 16,
        assigner: Optional[dict] = None,
        sampler: Optional[dict] = None,
        init_cfg: Optional[dict] = None,
    ) -> None:
        super().__init__(init_cfg)
        from mmcv.ops import RoIAlign

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
        self.assigner = TASK_UTILS.build(in_own_scope(assigner or default))
        default = dict(
            type='mmdet.RandomSampler',
            num=num_train,
            pos_fraction=0.5,
            add_gt_as_proposals=True,
        )
        self.sampler = TASK_UTILS.build(in_own_scope(sampler or default))

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
            ProposalSet: Annotated boxes, proposals on objects, and others.
        """
        boxes, scores = [], []
        num_frames = proposals.boxes_BTK4.shape[1]
        for clip, sample in enumerate(samples):
            for frame in range(num_frames):
                valid = proposals.valid_BTK[clip, frame]
                priors = proposals.boxes_BTK4[clip, frame][valid]
                truth = tracks_of_frame(sample, frame).to(priors)
                labels = truth.new_zeros(len(truth), dtype=torch.long)
                real = InstanceData(bboxes=truth, labels=labels)
                given = InstanceData(priors=priors)
                assigned = self.assigner.assign(given, real)
                chosen = self.sampler.sample(assigned, given, real)
                boxes.append(chosen.priors)
                # None is surer than another: all of them are wanted.
                scores.append(chosen.priors.new_ones(len(chosen.priors)))
        return pack_proposals(boxes, scores, len(samples))

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
        boxes = proposals.boxes_BTK4.to(grid.dtype)
        unit = grid.new_tensor(video.stride)
        number = boxes.shape[2]
        rows = torch.arange(clips * frames, device=grid.device)
        rows = rows.repeat_interleave(number)[:, None].to(grid)
        rois = torch.cat([rows, (boxes / unit.repeat(2)).flatten(0, 2)], dim=1)
        maps = grid.flatten(0, 1).permute(0, 3, 1, 2).contiguous()
        # mmcv's operators take single precision only on the CPU.
        aligned = self.align(maps.float(), rois.float()).to(grid.dtype)
        regions = self.norm(self.project(aligned.flatten(1)))
        valid = proposals.valid_BTK & video.frame_mask_BT[..., None]
        centres = (boxes[..., :2] + boxes[..., 2:]) / 2
        sides = (boxes[..., 2:] - boxes[..., :2]).clamp(min=1e-2)
        raw = torch.cat([torch.zeros_like(sides), (sides / unit).log()], -1)
        limit = torch.tensor([width - 1, height - 1], device=grid.device)
        cell = (centres / unit).long().clamp(min=0).minimum(limit)
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
