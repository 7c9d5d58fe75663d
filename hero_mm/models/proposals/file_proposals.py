"""Proposals that were made before and lie in files.

The transform ``LoadProposals`` reads them; see
``tools/extract_proposals.py``.

Shape legend: B clips, T frames, K boxes of a frame.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from hero_mm.errors import UserError
from hero_mm.registry import MODELS

from ..features import Pyramid
from ..regions import Regions
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
        most = max(1, *(one.valid.shape[1] for one in found))
        boxes, scores, valid = [], [], []
        for one in found:
            frames, number = one.valid.shape
            grow = (0, most - number, 0, mask.shape[1] - frames)
            boxes.append(F.pad(one.bboxes, (0, 0, *grow)))
            scores.append(F.pad(one.scores, grow))
            valid.append(F.pad(one.valid, grow))
        valid_BTK = torch.stack(valid).to(mask.device)
        return Regions.from_boxes(
            torch.stack(boxes).to(mask.device).float() * valid_BTK[..., None],
            torch.stack(scores).to(mask.device).float() * valid_BTK,
            valid_BTK,
            mask,
        )
