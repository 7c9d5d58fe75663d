"""Proposals that were made before and lie in files.

The transform ``LoadProposals`` reads them; see
``tools/extract_proposals.py``.
"""

import torch
from torch import Tensor

from hero_mm.registry import MODELS

from ..features import VideoFeatures
from .base import ProposalGenerator, Samples
from .frame_samples import real_frames
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
        """See :meth:`ProposalGenerator.forward`.

        Raises:
            ValueError: A clip has no proposals.
        """
        if len(samples) != len(video.frame_mask_BT):
            raise ValueError(
                f'{len(samples)} samples for {len(video.frame_mask_BT)} '
                'clips: FileProposals reads the proposals from the samples, '
                'give them to encode_video'
            )
        frames = real_frames(inputs)
        boxes, scores = [], []
        for one in frames:
            sample = samples[one.clip]
            if 'proposals' not in sample:
                raise ValueError(
                    f'the clip of video {sample.get("video_id")!r} has no '
                    "proposals: put dict(type='LoadProposals', folder=...) "
                    'before PackGroundingInputs; the files are made by '
                    'tools/extract_proposals.py'
                )
            told = sample.proposals
            real = told.valid[one.frame]
            boxes.append(told.bboxes[one.frame][real])
            scores.append(told.scores[one.frame][real])
        return pack_proposals(boxes, scores, frames, video.frame_mask_BT)
