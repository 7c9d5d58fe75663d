"""Boxes of the input in pixels of the original video."""

import numpy as np
import pytest
import torch

from hero_mm.datasets.transforms.loading import boxes_to_frame
from hero_mm.structures import GroundingDataSample, to_original

# The input is half of a 40x20 crop.
META = dict(
    ori_shape=(60, 80), img_shape=(10, 20), crop_box=(8.0, 4.0, 48.0, 24.0)
)


def moved(boxes, **changes):
    return to_original(
        boxes, GroundingDataSample(metainfo={**META, **changes})
    )


@pytest.mark.parametrize(
    ('changes', 'expected'),
    [
        ({}, [10, 8, 18, 16]),
        (dict(flip=False), [10, 8, 18, 16]),
        (dict(flip=True), [38, 8, 46, 16]),
        (dict(crop_box=None), [4, 12, 20, 36]),
        (dict(ori_shape=(15, 17)), [10, 8, 17, 15]),
    ],
)
def test_arrays_and_tensors_are_moved_alike(changes, expected):
    boxes = np.array([[[1, 2, 5, 6]]], np.float32)
    found = moved(boxes, **changes)
    assert found.tolist() == [[expected]] and found.dtype == np.float32
    found = moved(torch.from_numpy(boxes), **changes)
    assert found.tolist() == [[expected]] and found.dtype == torch.float32
    assert boxes.tolist() == [[[1, 2, 5, 6]]]


@pytest.mark.parametrize('flip', [False, True])
def test_it_undoes_what_transforms_do(flip):
    meta = dict(META, flip=flip)
    boxes = np.array([[9.0, 5, 20, 11], [30, 8, 47, 23]])
    inside = boxes_to_frame(boxes, meta)
    np.testing.assert_allclose(moved(inside, flip=flip), boxes, rtol=1e-6)
