"""Proposals of files, which the transform ``LoadProposals`` reads."""

import torch
from torch import Tensor

from hero_mm.errors import UserError
from hero_mm.registry import MODELS

from ..features import Pyramid
from ..regions import Regions
from ..targets import padded
from .base import ProposalGenerator, Samples


@MODELS.register_module()
class FileProposals(ProposalGenerator):
    """The proposals that the samples carry."""

    @torch.no_grad()
    def forward(
        self, pyramid: Pyramid, inputs: dict[str, Tensor], samples: Samples
    ) -> Regions:
        """See :meth:`ProposalGenerator.forward`."""
        mask = pyramid.frame_mask_BT
        if len(samples) != len(mask) or any(
            'proposals' not in sample for sample in samples
        ):
            names = [sample.get('video_id') for sample in samples]
            raise UserError(
                f'{len(mask)} clips (samples of the videos {names}) need '
                'proposals: give the samples to encode_video, and put '
                "dict(type='LoadProposals', folder=...) before "
                'PackGroundingInputs; tools/extract_proposals.py makes files'
            )
        found = [sample.proposals for sample in samples]
        size = mask.shape[1], max(1, *(one.valid.shape[1] for one in found))
        boxes, scores, valid = (
            torch.stack([padded(one[name], *size) for one in found])
            for name in ('bboxes', 'scores', 'valid')
        )
        valid = valid.to(mask.device)
        return Regions.from_boxes(
            boxes.to(mask.device).float() * valid[..., None],
            scores.to(mask.device).float() * valid,
            valid,
            mask,
        )
