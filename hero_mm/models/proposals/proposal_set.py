"""Boxes and losses of a generator.

Boxes of frames are padded to one number.

Shape legend: B clips, T frames, K proposals a frame. Boxes are xyxy in pixels
of the input.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor


@dataclass
class ProposalSet:
    """Proposals of B clips.

    Attributes:
        boxes_BTK4 (Tensor): The boxes, zeros on padding.
        scores_BTK (Tensor): How sure the generator is, in [0, 1].
        valid_BTK (Tensor): True on proposals, False on padding.
    """

    boxes_BTK4: Tensor
    scores_BTK: Tensor
    valid_BTK: Tensor

    def best(self, number: int) -> 'ProposalSet':
        """The proposals of highest score of each frame.

        Args:
            number (int): How many stay at the most.

        Returns:
            ProposalSet: K is ``number``, or less where there were fewer.
        """
        score = self.scores_BTK.masked_fill(~self.valid_BTK, -1.0)
        number = min(number, score.shape[-1])
        index = score.topk(number, dim=-1).indices
        return ProposalSet(
            self.boxes_BTK4.gather(2, index[..., None].expand(-1, -1, -1, 4)),
            self.scores_BTK.gather(2, index),
            self.valid_BTK.gather(2, index),
        )

    def joined(self, other: 'ProposalSet') -> 'ProposalSet':
        """Both, side by side.

        Args:
            other (ProposalSet): Of the same clips.

        Returns:
            ProposalSet: With the sum of both K.
        """
        return ProposalSet(
            *(
                torch.cat(
                    [getattr(self, f.name), getattr(other, f.name)], dim=2
                )
                for f in fields(self)
            )
        )


def pack_proposals(
    boxes: Sequence[Tensor],
    scores: Sequence[Tensor],
    num_clips: int,
    least: int = 1,
) -> ProposalSet:
    """Pad the proposals of frames to one number.

    Args:
        boxes (Sequence[Tensor]): B * T times xyxy, has shape (K_i, 4).
        scores (Sequence[Tensor]): B * T times has shape (K_i,).
        num_clips (int): B.
        least (int): K is at least this. Defaults to 1.

    Returns:
        ProposalSet: Of B clips.
    """
    most = max([least, *(len(one) for one in boxes)])
    packed = boxes[0].new_zeros(len(boxes), most, 4)
    told = scores[0].new_zeros(len(boxes), most)
    valid = torch.zeros_like(told, dtype=torch.bool)
    for row, (box, score) in enumerate(zip(boxes, scores)):
        packed[row, : len(box)] = box
        told[row, : len(box)] = score
        valid[row, : len(box)] = True
    shape = (num_clips, -1, most)
    return ProposalSet(
        packed.view(*shape, 4), told.view(shape), valid.view(shape)
    )


def sum_losses(losses: dict[str, Any], weight: float) -> dict[str, Tensor]:
    """Losses of an mmdet part as losses of ours.

    Args:
        losses (dict): Tensors or lists of them, one a level.
        weight (float): Weight of those whose name tells a loss; others, such
            as accuracies, are told as they are.

    Returns:
        dict: One number each, with ``proposal_`` in its name.
    """
    result = {}
    for name, value in losses.items():
        values = value if isinstance(value, (list, tuple)) else [value]
        total = sum(one.mean() for one in values)
        if 'loss' in name:
            plain = name.replace('loss_', '').replace('_loss', '')
            result[f'loss_proposal_{plain}'] = weight * total
        else:
            result[f'proposal_{name}'] = total.detach()
    return result
