"""Boxes and losses of a generator.

Boxes of frames are padded to one number.

Shape legend: B clips, T frames, N real frames, K proposals a frame. Boxes are
xyxy in pixels of the input.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .frame_samples import RealFrame


@dataclass
class ProposalSet:
    """Proposals of B clips.

    Attributes:
        boxes_BTK4 (Tensor): The boxes, float32, zeros on padding.
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
        # Stable: what is equally sure must not depend on the padding.
        order = score.sort(dim=-1, descending=True, stable=True).indices
        index = order[..., :number]
        return ProposalSet(
            self.boxes_BTK4.gather(2, index[..., None].expand(-1, -1, -1, 4)),
            self.scores_BTK.gather(2, index),
            self.valid_BTK.gather(2, index),
        )

    def or_whole_frames(
        self, sizes_B2: Tensor, frame_mask_BT: Tensor
    ) -> 'ProposalSet':
        """The whole frame where nothing was proposed in it.

        Without any region a frame could neither answer nor be left out.

        Args:
            sizes_B2 (Tensor): (width, height) of the clips in pixels.
            frame_mask_BT (Tensor): True on real frames.

        Returns:
            ProposalSet: At least one valid proposal a real frame.
        """
        empty_BT = frame_mask_BT & ~self.valid_BTK.any(-1)
        if not empty_BT.any():
            return self
        whole = torch.cat([torch.zeros_like(sizes_B2), sizes_B2], dim=-1)
        clips = empty_BT.nonzero()[:, 0]
        boxes, valid = self.boxes_BTK4.clone(), self.valid_BTK.clone()
        boxes[:, :, 0][empty_BT] = whole[clips].to(boxes)
        valid[:, :, 0][empty_BT] = True
        return ProposalSet(boxes, self.scores_BTK, valid)


def pack_proposals(
    boxes: Sequence[Tensor],
    scores: Sequence[Tensor],
    frames: Sequence[RealFrame],
    frame_mask_BT: Tensor,
) -> ProposalSet:
    """Pad the proposals of frames to one number.

    Args:
        boxes (Sequence[Tensor]): N times xyxy, has shape (K_i, 4).
        scores (Sequence[Tensor]): N times has shape (K_i,).
        frames (Sequence[RealFrame]): Whose they are.
        frame_mask_BT (Tensor): Tells the shape, and where the result lies.

    Returns:
        ProposalSet: Of B clips; K is at least 1.
    """
    most = max([1, *(len(one) for one in boxes)])
    shape = (*frame_mask_BT.shape, most)
    device = boxes[0].device
    packed = torch.zeros(*shape, 4, device=device)
    told = torch.zeros(*shape, device=device)
    valid = torch.zeros_like(told, dtype=torch.bool)
    for one, box, score in zip(frames, boxes, scores):
        packed[one.clip, one.frame, : len(box)] = box
        told[one.clip, one.frame, : len(box)] = score
        valid[one.clip, one.frame, : len(box)] = True
    device = frame_mask_BT.device
    return ProposalSet(packed.to(device), told.to(device), valid.to(device))


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
