"""Proposals that were made before and lie in files.

The transform ``LoadProposals`` reads them; see
``tools/extract_proposals.py``.

Shape legend: B clips, T frames, K boxes of a frame.
"""

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
        """See :meth:`ProposalGenerator.forward`.

        Raises:
            ValueError: A clip has no proposals.
        """
        mask = pyramid.frame_mask_BT
        if len(samples) != len(mask):
            raise UserError(
                f'{len(samples)} samples for {len(mask)} clips: FileProposals '
                'reads the proposals from the samples, give them to '
                'encode_video'
            )
        for sample in samples:
            if 'proposals' not in sample:
                raise UserError(
                    f'the clip of video {sample.get("video_id")!r} has no '
                    "proposals: put dict(type='LoadProposals', folder=...) "
                    'before PackGroundingInputs; the files are made by '
                    'tools/extract_proposals.py'
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
