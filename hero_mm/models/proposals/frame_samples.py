"""Frames of clips as samples of mmdet.

Shape legend: B clips, T frames, M tracks.
"""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from hero_mm.structures import GroundingDataSample


def frame_samples(
    samples: Sequence[GroundingDataSample],
    num_frames: int,
    padded: tuple[int, int],
    with_truth: bool,
) -> list[Any]:
    """One mmdet sample a frame; the frames of padding have no object.

    Args:
        samples (Sequence[GroundingDataSample]): B samples; with
            ``gt_tracks`` where the truth is wanted.
        num_frames (int): T.
        padded (tuple[int, int]): Padded (height, width) of the input.
        with_truth (bool): Whether to give the annotated objects, all of
            class 0.

    Returns:
        list[DetDataSample]: B * T samples.
    """
    from mmdet.structures import DetDataSample

    result = []
    for sample in samples:
        height, width = sample.img_shape
        meta = dict(
            img_shape=(height, width),
            ori_shape=(height, width),
            pad_shape=padded,
            batch_input_shape=padded,
            scale_factor=(1.0, 1.0),
        )
        for frame in range(num_frames):
            one = DetDataSample(metainfo=meta)
            if with_truth:
                boxes = tracks_of_frame(sample, frame)
                labels = boxes.new_zeros(len(boxes), dtype=torch.long)
                one.gt_instances = InstanceData(bboxes=boxes, labels=labels)
                one.ignored_instances = InstanceData(
                    bboxes=boxes[:0], labels=labels[:0]
                )
            result.append(one)
    return result


def tracks_of_frame(sample: GroundingDataSample, frame: int) -> Tensor:
    """Annotated boxes of a frame, has shape (M', 4); none on padding.

    Args:
        sample (GroundingDataSample): With ``gt_tracks``.
        frame (int): Its place in the clip.
    """
    tracks = sample.gt_tracks
    if frame >= tracks.valid.shape[1]:
        return tracks.bboxes[:0, 0]
    return tracks.bboxes[tracks.valid[:, frame], frame]
