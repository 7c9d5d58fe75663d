"""Boxes between the input of a model and the original video."""

from typing import TypeVar

import numpy as np
from torch import Tensor

from .grounding_data_sample import GroundingDataSample

Boxes = TypeVar('Boxes', np.ndarray, Tensor)


def to_original(boxes: Boxes, sample: GroundingDataSample) -> Boxes:
    """Map boxes from pixels of the input to those of the original video.

    They are xyxy, (..., 4), and cut to the picture. The sample has
    ``ori_shape`` and ``img_shape``, and ``crop_box`` and ``flip`` where the
    clip was changed so.
    """
    ori_height, ori_width = sample.ori_shape
    height, width = sample.img_shape
    whole = (0.0, 0.0, float(ori_width), float(ori_height))
    x1, y1, x2, y2 = sample.get('crop_box') or whole
    moved = boxes * 1.0  # A copy.
    if sample.get('flip', False):
        moved[..., [0, 2]] = width - moved[..., [2, 0]]
    x = moved[..., 0::2] * ((x2 - x1) / width) + x1
    y = moved[..., 1::2] * ((y2 - y1) / height) + y1
    moved[..., 0::2] = x.clip(0, ori_width)
    moved[..., 1::2] = y.clip(0, ori_height)
    return moved
