"""What a proposal generator is."""

from collections.abc import Sequence

from mmengine.model import BaseModule
from torch import Tensor, nn

from hero_mm.structures import GroundingDataSample

from ..features import VideoFeatures
from .proposal_set import ProposalSet

Samples = Sequence[GroundingDataSample]


class ProposalGenerator(BaseModule):
    """Finds boxes that may hold an object in each frame of clips."""

    def bind(self, data_preprocessor: nn.Module) -> None:
        """Learn how pixels were normalised; called once by the grounder.

        Args:
            data_preprocessor (nn.Module): Has ``mean`` and ``std``.
        """

    def forward(
        self,
        video: VideoFeatures,
        inputs: dict[str, Tensor],
        samples: Samples,
    ) -> ProposalSet:
        """Propose.

        Args:
            video (VideoFeatures): B clips, as a grid.
            inputs (dict): ``imgs``, ``frame_mask``, ``pixel_mask`` of the
                data preprocessor.
            samples (Sequence[GroundingDataSample]): B samples; may be empty
                for a generator that looks at the pixels alone.

        Returns:
            ProposalSet: Of B clips; carries no gradient.
        """
        raise NotImplementedError

    def loss(
        self,
        video: VideoFeatures,
        inputs: dict[str, Tensor],
        samples: Samples,
    ) -> dict[str, Tensor]:
        """Losses of the generator itself, on all annotated objects.

        Args:
            video (VideoFeatures): As in :meth:`forward`.
            inputs (dict): As in :meth:`forward`.
            samples (Sequence[GroundingDataSample]): With ``gt_tracks``.

        Returns:
            dict: Empty where the generator does not learn.
        """
        return {}
