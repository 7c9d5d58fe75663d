"""Frames of clips as samples of mmdet, and what is found in them as regions.

Only real frames are handed on: what pads a batch is no picture.

Shape legend: B clips, T frames, N real frames of all of them, M objects, K
boxes of a frame. Boxes are xyxy in pixels of the input.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Optional

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from hero_mm.structures import GroundingDataSample, send

from ..features import read_extents
from ..regions import Regions


class RealFrame(NamedTuple):
    """A frame that is no padding: clip, place in it, real (height, width)."""

    clip: int
    frame: int
    size: tuple[int, int]


def real_frames(inputs: dict[str, Any]) -> list[RealFrame]:
    """The N real frames of a batch, clip by clip.

    From ``frame_mask`` (B, T) and ``pixel_mask`` (B, H, W) of the data
    preprocessor, or its ``extents`` where they are known.
    """
    extents = inputs.get('extents') or read_extents(
        inputs['frame_mask'], inputs['pixel_mask']
    )
    return [
        RealFrame(clip, frame, (height, width))
        for clip, (count, height, width) in enumerate(extents)
        for frame in range(count)
    ]


def pick_frames(x_BTC: Tensor, frames: Sequence[RealFrame]) -> Tensor:
    """Those frames of (B, T, ...), has shape (N, ...)."""
    length = x_BTC.shape[1]
    places = [one.clip * length + one.frame for one in frames]
    return x_BTC.flatten(0, 1)[send(places, x_BTC.device)]


def frame_sample(size: tuple[int, int], truth: Optional[Tensor] = None) -> Any:
    """A frame of (height, width) as a ``DetDataSample`` of mmdet.

    ``truth``: boxes (M, 4) of its objects, all of class 0.
    """
    from mmdet.structures import DetDataSample

    sample = DetDataSample(
        metainfo=dict(
            img_shape=size,
            ori_shape=size,
            pad_shape=size,
            batch_input_shape=size,
            scale_factor=(1.0, 1.0),
            # Top, bottom, left and right edge of the picture, for CenterNet.
            border=(0, size[0], 0, size[1]),
        )
    )
    if truth is not None:
        labels = truth.new_zeros(len(truth), dtype=torch.long)
        sample.gt_instances = InstanceData(bboxes=truth, labels=labels)
        # Nothing is to be ignored; mmdet's own pipelines say so, too.
        sample.ignored_instances = sample.gt_instances[:0]
    return sample


def set_batch_size(
    samples: Sequence[Any], size: tuple[int, int], head: Any
) -> None:
    """Set the (height, width) of their batch in the samples of frames.

    Heads without priors (CenterNet) take their stride from ``pad_shape`` of
    the first frame, for all of them.
    """
    meta = dict(batch_input_shape=size)
    if not hasattr(head, 'prior_generator'):
        meta['pad_shape'] = size
    for sample in samples:
        sample.set_metainfo(meta)


def frames_to_learn(
    frames: Sequence[RealFrame], samples: Sequence[GroundingDataSample]
) -> tuple[list[int], list[Tensor], float]:
    """Frames that a head or detector of mmdet learns: of complete clips.

    To it everything outside the annotated boxes is background, and in a clip
    whose tracks are not complete that may be an object that nobody annotated.

    Where no clip is complete, one frame without objects stands in, and its
    losses weigh 0. Heads that count objects over all processes must be called
    equally often in each, and every weight needs a gradient.

    Gives which of the frames, the annotated boxes (M, 4) of each, and the
    weight of the losses.
    """
    rows = [
        row
        for row, one in enumerate(frames)
        if samples[one.clip].get('tracks_complete', False)
    ]
    truth = []
    for row in rows:
        tracks = samples[frames[row].clip].gt_tracks
        frame = frames[row].frame
        truth.append(tracks.bboxes[tracks.valid[:, frame], frame])
    if rows:
        return rows, truth, 1.0
    return [0], [samples[0].gt_tracks.bboxes.new_zeros(0, 4)], 0.0


def pack_proposals(
    boxes: Sequence[Tensor],
    scores: Sequence[Tensor],
    frames: Iterable[RealFrame],
    frame_mask_BT: Tensor,
) -> Regions:
    """Pad the proposals of N frames to one number, at least 1.

    ``boxes`` are N times xyxy (K_i, 4), ``scores`` N times (K_i,). The result
    lies where ``frame_mask_BT`` lies, and is masked where nothing was found.
    """
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


def sum_losses(losses: dict[str, Any], weight: float) -> dict[str, Tensor]:
    """Losses of an mmdet part, as one number each, ``loss_proposal_*``.

    What is no loss by its name, such as an accuracy, is logged as it is.
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
