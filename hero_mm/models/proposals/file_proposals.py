"""Proposals that were made before and lie in files.

The transform ``LoadProposals`` reads them; see
``tools/extract_proposals.py``.
"""

import torch
from torch import Tensor

from hero_mm.registry import MODELS

from ..features import VideoFeatures
from .base import ProposalGenerator, Samples
from .proposal_set import ProposalSet, pack_proposals


@MODELS.register_module()
class FileProposals(ProposalGenerator):
    """The proposals that the samples carry."""

    @torch.no_grad()
    def forward(
        self,
        video: VideoFeatures,
        inputs: dict[str, Tensor],
        samples: Samples,
    ) -> ProposalSet:
        """See :meth:`ProposalGenerator.forward`."""
        num_frames = video.frame_mask_BT.shape[1]
        boxes, scores = [], []
        for sample in samples:
            if 'proposals' not in sample:
                raise ValueError(
                    f'the clip of video {sample.video_id!r} has no proposals: '
                    "put dict(type='LoadProposals', folder=...) before "
                    'PackGroundingInputs; the files are made by '
                    'tools/extract_proposals.py'
                )
            told = sample.proposals
            device = video.regions_BTHWD.device
            for frame in range(num_frames):
                real = (
                    told.valid[frame]
                    if frame < len(told)
                    else torch.zeros_like(told.valid[0])
                )
                at = min(frame, len(told) - 1)
                boxes.append(told.bboxes[at][real].to(device))
                scores.append(told.scores[at][real].to(device))
        return pack_proposals(boxes, scores, len(samples))
