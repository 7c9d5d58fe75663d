"""What a proposal generator is."""

from collections.abc import Sequence

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from hero_mm.structures import GroundingDataSample

from ..features import Pyramid
from ..regions import Regions

Samples = Sequence[GroundingDataSample]


class ProposalGenerator(BaseModule):
    """Finds boxes that may hold an object in each frame of clips."""

    # Whether it has ``ask(inputs, samples)``, as DetectorProposals.
    scores_sentences = False

    def bind(self, data_preprocessor: nn.Module) -> None:
        """Learn how pixels were normalised; called once by the grounder."""

    @torch.no_grad()
    def forward(
        self, pyramid: Pyramid, inputs: dict[str, Tensor], samples: Samples
    ) -> Regions:
        """Propose boxes and scores, which carry no gradient.

        Of B clips: their pyramid, what the data preprocessor gives, and
        samples, which a generator of pixels alone does not need.
        """
        raise NotImplementedError

    def loss_and_predict(
        self, pyramid: Pyramid, inputs: dict[str, Tensor], samples: Samples
    ) -> tuple[dict[str, Tensor], Regions]:
        """Losses of the ``gt_tracks`` of the samples, and :meth:`forward`."""
        return {}, self(pyramid, inputs, samples)
