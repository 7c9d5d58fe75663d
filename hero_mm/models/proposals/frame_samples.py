"""Real frames of clips as samples of mmdet, what is found in them as regions.

Shape legend: B clips, T frames, N real frames of all of them, K boxes of a
frame. Boxes are xyxy in pixels of the input.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..features import read_extents
from ..regions import Regions


class RealFrame(NamedTuple):
    """A frame that is no padding: clip, place in it, real (height, width)."""

    clip: int
    frame: int
    size: tuple[int, int]


def real_frames(inputs: dict[str, Any]) -> list[RealFrame]:
    """The N real frames of a batch of the data preprocessor, clip by clip."""
    extents = inputs.get('extents') or read_extents(
        inputs['frame_mask'], inputs['pixel_mask']
    )
    return [
        RealFrame(clip, frame, (height, width))
        for clip, (count, height, width) in enumerate(extents)
        for frame in range(count)
    ]


def frame_sample(size: tuple[int, ...]) -> Any:
    """A frame of (height, width) as a ``DetDataSample`` of mmdet."""
    from mmdet.structures import DetDataSample

    return DetDataSample(
        metainfo=dict(
            img_shape=size,
            ori_shape=size,
            pad_shape=size,
            batch_input_shape=size,
            scale_factor=(1.0, 1.0),
            # Top, bottom, left and right edge of the picture, for CornerNet.
            border=(0, size[0], 0, size[1]),
        )
    )


def pack_proposals(
    boxes: Sequence[Tensor],
    scores: Sequence[Tensor],
    frames: Iterable[RealFrame],
    frame_mask_BT: Tensor,
) -> Regions:
    """Pad boxes (K_i, 4) and scores (K_i,) of N frames to one number."""
    most = max([1, *(len(one) for one in boxes)])
    shape = (*frame_mask_BT.shape, most)
    device = boxes[0].device
    packed = torch.zeros(*shape, 4, device=device)
    sure = torch.zeros(*shape, device=device)
    mask = torch.zeros(*shape, dtype=torch.bool, device=device)
    for one, box, score in zip(frames, boxes, scores):
        packed[one.clip, one.frame, : len(box)] = box
        sure[one.clip, one.frame, : len(box)] = score
        mask[one.clip, one.frame, : len(box)] = True
    device = frame_mask_BT.device
    return Regions.from_boxes(
        packed.to(device), sure.to(device), mask.to(device), frame_mask_BT
    )
