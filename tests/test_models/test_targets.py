"""Truth as tensors: who is annotated, and which regions show it."""

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from hero_mm.models import Regions
from hero_mm.models.losses import pairwise_iou
from hero_mm.models.targets import (
    RegionAssigner,
    Tracks,
    Tubes,
    with_annotated,
)
from hero_mm.structures import GroundingDataSample


def clip(tracks, valid=None, complete=None) -> GroundingDataSample:
    """A clip whose tracks are M times T boxes."""
    tracks = torch.tensor(tracks, dtype=torch.float32)
    if valid is None:
        valid = torch.ones(tracks.shape[:2], dtype=torch.bool)
    frames = tracks.shape[1]
    sample = GroundingDataSample(
        metainfo=dict(video_id='v', frame_inds=np.arange(frames))
    )
    sample.gt_tracks = InstanceData(
        bboxes=tracks, valid=torch.as_tensor(valid)
    )
    if complete is not None:
        sample.set_metainfo(dict(tracks_complete=complete))
    return sample


def regions_of(boxes, scores=None) -> Regions:
    """Regions of one clip; frames are padded to one number."""
    most = max(map(len, boxes))
    shape = (1, len(boxes), most)
    packed, sure = torch.zeros(*shape, 4), torch.zeros(shape)
    mask = torch.zeros(shape, dtype=torch.bool)
    for t, frame in enumerate(boxes):
        for n, box in enumerate(frame):
            packed[0, t, n] = torch.tensor(box, dtype=torch.float32)
            sure[0, t, n] = scores[t][n] if scores else 0.5
            mask[0, t, n] = True
    return Regions.from_boxes(
        packed, sure, mask, torch.ones(1, len(boxes)) > 0
    )


A, B = [0.0, 0, 10, 10], [20.0, 20, 30, 30]


# Truth of a batch


def test_tracks_are_padded_to_one_number():
    one = clip([[A, B]], [[True, False]], complete=True)
    other = clip([[A], [B]])
    tracks = Tracks.of([one, other], num_frames=3)
    assert tracks.boxes_BTM4.shape == (2, 3, 2, 4)
    assert tracks.valid_BTM.tolist() == [
        [[True, False], [False, False], [False, False]],
        [[True, True], [False, False], [False, False]],
    ]
    assert tracks.boxes_BTM4[0, 1, 0].tolist() == B
    assert tracks.boxes_BTM4[1, 0].tolist() == [A, B]
    assert not tracks.boxes_BTM4[:, 2].any()
    # A clip is complete where somebody says so.
    assert tracks.complete_B.tolist() == [True, False]


def test_tracks_are_needed():
    sample = clip([[A]])
    del sample.gt_tracks
    with pytest.raises(ValueError, match="'v' has no gt_tracks: .*LoadTubes"):
        Tracks.of([sample], 1)


def tube(spans, boxes, valid, known=None) -> GroundingDataSample:
    sample = clip([[A]])
    sample.gt_queries = InstanceData(
        spans=torch.tensor(spans),
        bboxes=torch.tensor(boxes, dtype=torch.float32),
        valid=torch.tensor(valid),
    )
    if known is not None:
        sample.set_metainfo(dict(spans_known=known))
    return sample


def test_tubes_of_clips_whose_spans_are_unknown_teach_nothing():
    one = tube([[0.0, 5], [2, 4]], [[A, B], [B, A]], [[True] * 2] * 2)
    other = tube([[1.0, 3]], [[A]], [[True]], known=False)
    tubes = Tubes.of([one, other], num_frames=3)
    assert tubes.boxes_QT4.shape == (3, 3, 4)
    assert tubes.spans_Q2.tolist() == [[0, 5], [2, 4], [1, 3]]
    assert tubes.known_Q.tolist() == [True, True, False]
    assert tubes.valid_QT.tolist() == [
        [True, True, False],
        [True, True, False],
        [False, False, False],
    ]
    meant = torch.tensor([[True, True], [True, False], [True, True]])
    some = tubes.frames((torch.tensor([[1, 2], [0, 1], [0, 1]]), meant))
    assert some.boxes_QT4[0, 0].tolist() == B
    assert some.boxes_QT4[1].tolist() == [B, A]
    assert some.valid_QT.tolist() == [
        [True, False],
        [True, False],
        [False, False],
    ]
    assert tubes.frames(None) is tubes


# Regions and objects


def assigned_slowly(regions, boxes, valid, pos_iou, neg_iou):
    """Frame by frame, object by object."""
    shape = (*regions.mask_BTN.shape, boxes.shape[2])
    shows = torch.zeros(shape, dtype=torch.bool)
    near = torch.zeros_like(shows)
    for b in range(shape[0]):
        for t in range(shape[1]):
            for m in range(shape[3]):
                if not valid[b, t, m]:
                    continue
                found = {
                    n: pairwise_iou(
                        regions.boxes_BTN4[b, t, n : n + 1],
                        boxes[b, t, m : m + 1],
                    ).item()
                    for n in range(shape[2])
                    if regions.mask_BTN[b, t, n]
                }
                for n, iou in found.items():
                    near[b, t, n, m] = iou >= neg_iou
                    best = iou == max(found.values()) and iou >= neg_iou
                    shows[b, t, n, m] = iou >= pos_iou or best
    return shows, near


@pytest.mark.parametrize(
    ('pos_iou', 'neg_iou'), [(0.5, 0.3), (0.7, 0.2), (0.4, 0.4)]
)
def test_assigned_as_one_by_one(pos_iou, neg_iou):
    generator = torch.Generator().manual_seed(0)

    def rand(*shape):
        return torch.rand(*shape, generator=generator)

    def boxes(*shape):
        low = 16 * rand(*shape, 2)
        return torch.cat([low, low + 6 + 6 * rand(*shape, 2)], -1)

    mask = rand(3, 4, 9) < 0.8
    regions = Regions.from_boxes(
        boxes(3, 4, 9), rand(3, 4, 9), mask, torch.ones(3, 4) > 0
    )
    truth, valid = boxes(3, 4, 3), rand(3, 4, 3) < 0.8
    shows, near = RegionAssigner(pos_iou, neg_iou)(regions, truth, valid)
    wanted = assigned_slowly(regions, truth, valid, pos_iou, neg_iou)
    assert torch.equal(shows, wanted[0]) and torch.equal(near, wanted[1])
    assert shows.any() and not shows.all()
    # Between the two, regions are neither.
    assert (near & ~shows).any() == (neg_iou < pos_iou)


# Annotated boxes beside the regions


def test_objects_that_no_region_shows_are_added():
    near_a, half_a = [0, 0, 10, 8], [0, 0, 10, 4]
    tracks = Tracks.of([clip([[A] * 3, [B] * 3], [[True] * 3] * 2)], 3)
    tracks.valid_BTM[0, 2, 1] = False
    regions = regions_of([[near_a, half_a], [half_a], []])
    joined = with_annotated(regions, tracks, 0.0)
    assert joined.mask_BTN.shape == (1, 3, 4)
    added = joined.mask_BTN[0, :, 2:]
    assert added.tolist() == [[False, True], [True, True], [True, False]]
    assert joined.boxes_BTN4[0, 1, 2:].tolist() == [A, B]
    assert torch.equal(joined.mask_BTN[:, :, :2], regions.mask_BTN)
