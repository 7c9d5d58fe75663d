"""From word features to the vectors that the other parts ask for.

How the action is read from the caption, the abstract of HERO does not say. We
choose attention pooling over the words, learned, with no parser.

Shape legend: Q queries, L words, C encoder width, D width.
"""

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from ..features import TextFeatures


class TextPooling(BaseModule):
    """Project words from width C to D, pool a sentence and an action."""

    def __init__(self, in_dims: int, embed_dims: int) -> None:
        super().__init__()
        self.project = nn.Sequential(
            nn.Linear(in_dims, embed_dims), nn.LayerNorm(embed_dims)
        )
        self.sentence_attention = nn.Linear(embed_dims, 1)
        self.action_attention = nn.Linear(embed_dims, 1)
        self.action_out = nn.Linear(embed_dims, embed_dims)

    def forward(self, words_QLC: Tensor, mask_QL: Tensor) -> TextFeatures:
        """Pool words (Q, L, C), which are real where the mask is True."""
        words_QLD = self.project(words_QLC)
        pooled = []
        for attention in (self.sentence_attention, self.action_attention):
            logits_QL = attention(words_QLD).squeeze(-1)
            logits_QL = logits_QL.masked_fill(~mask_QL, float('-inf'))
            weights_QL = logits_QL.softmax(-1)
            pooled.append(torch.einsum('ql,qld->qd', weights_QL, words_QLD))
        sentence_QD, action_QD = pooled
        return TextFeatures(
            words_QLD,
            mask_QL,
            sentence_QD,
            self.action_out(action_QD),
            weights_QL,
        )
