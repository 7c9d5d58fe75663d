"""What the towers hand to the reasoning: features of clips and sentences.

Shape legend: B clips, Q queries, T frames, H W grid, L words, D width.
"""

from dataclasses import dataclass

from torch import Tensor


@dataclass
class VideoFeatures:
    """Features of B clips, computed once whatever the number of sentences.

    Attributes:
        grid_BTHWD (Tensor): Region features of the grid that is reasoned on.
        frame_mask_BT (Tensor): True on real frames, False on padding.
        region_mask_BHW (Tensor): True on regions that hold real pixels.
        stride (tuple[float, float]): Pixels a region covers, (x, y).
    """

    grid_BTHWD: Tensor
    frame_mask_BT: Tensor
    region_mask_BHW: Tensor
    stride: tuple[float, float]

    def of_queries(self, clip_of_query: Tensor) -> 'VideoFeatures':
        """Repeat each clip for its sentences.

        Args:
            clip_of_query (Tensor): Index of the clip of each query, has
                shape (Q,).

        Returns:
            VideoFeatures: The same features with Q in the place of B.
        """
        return VideoFeatures(
            self.grid_BTHWD[clip_of_query],
            self.frame_mask_BT[clip_of_query],
            self.region_mask_BHW[clip_of_query],
            self.stride,
        )


@dataclass
class TextFeatures:
    """Features of Q sentences.

    Attributes:
        words_QLD (Tensor): One feature a word (or sub-word).
        word_mask_QL (Tensor): True on real words, False on padding.
        sentence_QD (Tensor): One vector a sentence.
        action_QD (Tensor): The action that the sentence names, pooled from
            the words by learned attention.
        action_weights_QL (Tensor): The weights of that pooling; they sum to
            one over the real words.
    """

    words_QLD: Tensor
    word_mask_QL: Tensor
    sentence_QD: Tensor
    action_QD: Tensor
    action_weights_QL: Tensor

    def select(self, rows: slice) -> 'TextFeatures':
        """Take some of the sentences.

        Args:
            rows (slice): Which ones.

        Returns:
            TextFeatures: These sentences, cut to their longest.
        """
        mask = self.word_mask_QL[rows]
        longest = int(mask.sum(-1).max()) if len(mask) else 0
        return TextFeatures(
            self.words_QLD[rows, :longest],
            mask[:, :longest],
            self.sentence_QD[rows],
            self.action_QD[rows],
            self.action_weights_QL[rows, :longest],
        )
