"""Frames of clips as samples of mmdet.

Only real frames are handed on: what pads a batch is no picture.

Shape legend: B clips, N real frames of all of them, M objects.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Optional

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from hero_mm.structures import GroundingDataSample


@dataclass(frozen=True)
class RealFrame:
    """A frame that is no padding.

    Attributes:
        clip (int): Its clip in the batch.
        frame (int): Its place in the clip.
        size (tuple[int, int]): Real (height, width) in pixels.
    """

    clip: int
    frame: int
    size: tuple[int, int]


def real_frames(inputs: dict[str, Tensor]) -> list[RealFrame]:
    """The real frames of a batch, clip by clip.

    Args:
        inputs (dict): ``frame_mask`` (B, T) and ``pixel_mask`` (B, H, W) of
            the data preprocessor.

    Returns:
        list[RealFrame]: N frames.
    """
    pixels = inputs['pixel_mask']
    told = torch.stack(
        [
            inputs['frame_mask'].sum(1),
            pixels.any(2).sum(1),
            pixels.any(1).sum(1),
        ],
        dim=1,
    )
    return [
        RealFrame(clip, frame, (height, width))
        for clip, (count, height, width) in enumerate(told.tolist())
        for frame in range(count)
    ]


def frame_sample(size: tuple[int, int], truth: Optional[Tensor] = None) -> Any:
    """One frame as a sample of mmdet.

    Args:
        size (tuple[int, int]): (height, width) in pixels.
        truth (Tensor, optional): Boxes of its objects, all of class 0, has
            shape (M, 4).

    Returns:
        DetDataSample: With what heads and detectors ask for.
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


def tell_batch_size(
    samples: Sequence[Any], size: tuple[int, int], head: Any
) -> None:
    """Tell the samples of frames the size of their batch.

    Heads without priors (CenterNet) take their stride from ``pad_shape`` of
    the first frame, for all of them.

    Args:
        samples (Sequence[DetDataSample]): Changed in place.
        size (tuple[int, int]): Height and width in pixels, with padding.
        head (nn.Module): That they are for.
    """
    told = dict(batch_input_shape=size)
    if not hasattr(head, 'prior_generator'):
        told['pad_shape'] = size
    for sample in samples:
        sample.set_metainfo(told)


def tracks_of_frame(tracks: InstanceData, frame: int) -> Tensor:
    """Annotated boxes of a frame, has shape (M, 4).

    Args:
        tracks (InstanceData): ``gt_tracks`` of a clip.
        frame (int): Its place in the clip.
    """
    boxes: Tensor = tracks.bboxes[tracks.valid[:, frame], frame]
    return boxes


def truth_of_frames(
    frames: Iterable[RealFrame], samples: Sequence[GroundingDataSample]
) -> list[Tensor]:
    """Annotated boxes of frames.

    Args:
        frames (Iterable[RealFrame]): N frames.
        samples (Sequence[GroundingDataSample]): B samples with ``gt_tracks``.

    Returns:
        list[Tensor]: N times has shape (M, 4).
    """
    return [
        tracks_of_frame(samples[one.clip].gt_tracks, one.frame)
        for one in frames
    ]
