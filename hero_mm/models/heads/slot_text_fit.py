"""How well a slot fits a sentence before the two have met.

Late fusion, as in retrieval: looks and action of a region are vectors, looks
and action of a sentence are vectors, and their products say where and when
the sentence may be true. It is learned long before attention binds words to
regions.

Shape legend: B clips, Q sentences, T frames, N slots, D width, E width of
the common space.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..features import TextFeatures
from ..regions import Regions


class SlotTextFit(nn.Module):
    """Unit vectors of looks and of action, of regions and of sentences.

    Args:
        embed_dims (int): Width D.
        common_dims (int): Width E.
        scale (float): Start of a learned inverse temperature of what is
            learned from products.
    """

    def __init__(
        self,
        embed_dims: int,
        common_dims: int,
        scale: float = 10.0,
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(embed_dims)
        self.region = nn.Linear(embed_dims, 2 * common_dims)
        self.text_look = nn.Linear(embed_dims, common_dims)
        self.text_action = nn.Linear(embed_dims, common_dims)
        self.log_scale = nn.Parameter(torch.tensor([scale]).log())

    def scale(self) -> Tensor:
        """Inverse temperature; up to 50, where it stays finite."""
        return self.log_scale.exp().clamp(max=50)

    def slots(self, regions: Regions) -> tuple[Tensor, Tensor]:
        """Looks (B, N, E) of slots and actions (B, T, N, E) of their regions.

        What an object looks like stays the same: its looks are the mean along
        its slot. What it does changes from frame to frame.
        """
        look, action = self.region(self.norm(regions.features)).chunk(2, -1)
        look = (look * regions.mask_BTN[..., None]).sum(1)
        return F.normalize(look, dim=-1), F.normalize(action, dim=-1)

    def texts(self, text: TextFeatures) -> tuple[Tensor, Tensor]:
        """Looks and action of sentences, unit vectors (Q, E)."""
        look = F.normalize(self.text_look(text.sentence_QD), dim=-1)
        action = F.normalize(self.text_action(text.action_QD), dim=-1)
        return look, action

    def forward(
        self, regions: Regions, text: TextFeatures, clip_of_query: Tensor
    ) -> Tensor:
        """Cosines of looks and of action, has shape (Q, T, N, 2)."""
        return self.cosines(self.slots(regions), text, clip_of_query)

    def cosines(
        self,
        slots: tuple[Tensor, Tensor],
        text: TextFeatures,
        clip_of_query: Tensor,
    ) -> Tensor:
        """As :meth:`forward`, of what :meth:`slots` says."""
        look_BNE, action_BTNE = slots
        look_QE, act_QE = self.texts(text)
        look = torch.einsum(
            'qne,qe->qn', look_BNE.index_select(0, clip_of_query), look_QE
        )
        action = torch.einsum(
            'qtne,qe->qtn', action_BTNE.index_select(0, clip_of_query), act_QE
        )
        return torch.stack([look[:, None].expand_as(action), action], -1)
