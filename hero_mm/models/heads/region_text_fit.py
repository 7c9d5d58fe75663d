"""How well a region fits a sentence before the two have met.

Late fusion, as in retrieval: looks and action of a region are vectors, looks
and action of a sentence are vectors, and their products say where and when
the sentence may be true. It is learned long before attention binds words to
regions, tells the reasoning layers where to look, and stays a summand of what
they say in the end.

Shape legend: Q queries, V captions with another action, T frames, H W
regions, D width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..features import TextFeatures, VideoFeatures


class RegionTextFit(nn.Module):
    """Logits of looks and action of each region.

    Args:
        embed_dims (int): Width D.
    """

    def __init__(self, embed_dims: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(embed_dims)
        self.region_look = nn.Linear(embed_dims, embed_dims)
        self.text_look = nn.Linear(embed_dims, embed_dims)
        self.region_action = nn.Linear(embed_dims, embed_dims)
        self.text_action = nn.Linear(embed_dims, embed_dims)
        self.log_scale = nn.Parameter(torch.tensor(10.0).log())
        self.action_weight = nn.Parameter(torch.tensor(0.3))
        self.bias = nn.Parameter(torch.tensor(-2.0))

    def forward(self, video: VideoFeatures, text: TextFeatures) -> Tensor:
        """Compare regions with sentences.

        Args:
            video (VideoFeatures): The clip of each query.
            text (TextFeatures): Q queries.

        Returns:
            Tensor: Logits of looks and of action, has shape (Q, T, H, W, 2).
        """
        regions = video.regions_BTHWD
        look = torch.einsum(
            'qthwd,qd->qthw',
            self.region_look(self.norm(regions)),
            self.text_look(text.sentence_QD),
        )
        action = torch.einsum(
            'qthwd,qd->qthw', self._does(regions), self._told(text)
        )
        action = self.action_weight * self._scale() * action
        return torch.stack([look / regions.shape[-1] ** 0.5, action], dim=-1)

    def total(self, fit_QTHW2: Tensor) -> Tensor:
        """Logits of "looks and action both fit", has shape (Q, T, H * W)."""
        return fit_QTHW2.sum(-1).flatten(2) + self.bias

    def _scale(self) -> Tensor:
        # Up to 40 the exponentials of the loss stay finite.
        return self.log_scale.exp().clamp(max=40)

    def _does(self, regions: Tensor) -> Tensor:
        return F.normalize(self.region_action(regions), dim=-1)

    def _told(self, text: TextFeatures) -> Tensor:
        return F.normalize(self.text_action(text.action_QD), dim=-1)

    def action_loss(
        self,
        tubes_QD: Tensor,
        known_Q: Tensor,
        text: TextFeatures,
        kinds_Q: Tensor,
        negatives: TextFeatures,
        query_of_negative: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """What the true tubes do, against captions of other actions.

        InfoNCE in both directions over the tubes and captions of the batch,
        same actions left out, and the captions in which only the action is
        replaced: looks cannot tell these apart.

        Args:
            tubes_QD (Tensor): Mean of the regions of each true tube.
            known_Q (Tensor): True where a tube has a region.
            text (TextFeatures): Q queries.
            kinds_Q (Tensor): A number for the action of each.
            negatives (TextFeatures): V captions with another action.
            query_of_negative (Tensor): The query of each, has shape (V,).

        Returns:
            tuple[Tensor, Tensor]: Loss; and the share of the tubes whose own
            caption fits better than those in which the action is replaced.
        """
        does, scale = self._does(tubes_QD), self._scale()
        logits = (scale * does @ self._told(text).t()).float()
        same = kinds_Q[:, None] == kinds_Q
        same = same ^ torch.eye(len(same), dtype=torch.bool).to(same.device)
        logits = logits.masked_fill(same, float('-inf'))
        own_Q = logits.diagonal()
        other_V = does[query_of_negative] * self._told(negatives)
        other_V = (scale * other_V.sum(-1)).float()
        # Bounded by the scale, so that plain exponentials do.
        total_Q = logits.exp().sum(1)
        total_Q = total_Q.index_add(0, query_of_negative, other_V.exp())
        loss_Q = total_Q.log() + logits.logsumexp(0) - 2 * own_Q
        known_Q = known_Q.to(own_Q)
        loss = (loss_Q * known_Q).sum() / known_Q.sum().clamp(min=1) / 2
        beaten_Q = torch.zeros_like(own_Q).index_add(
            0,
            query_of_negative,
            (other_V >= own_Q[query_of_negative]).to(own_Q),
        )
        asked_Q = torch.zeros_like(own_Q)
        asked_Q = asked_Q.index_fill(0, query_of_negative, 1.0) * known_Q
        right = ((beaten_Q == 0) * asked_Q).sum() / asked_Q.sum().clamp(min=1)
        return loss, right.detach()
