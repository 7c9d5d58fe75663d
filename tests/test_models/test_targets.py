"""Truth as tensors: who is annotated, and which regions show it."""

import torch
from mmengine.structures import InstanceData
from tiny_clips import annotated_clip

from hero_mm.models import Regions
from hero_mm.models.targets import (
    RegionAssigner,
    Tracks,
    Tubes,
    with_annotated,
)
from hero_mm.structures import GroundingDataSample


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


def test_tracks_are_padded_to_one_number():
    one = annotated_clip([[A, B]], [[True, False]], complete=True)
    other = annotated_clip([[A], [B]])
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


def tube(spans, boxes, valid, known=None) -> GroundingDataSample:
    sample = annotated_clip([[A]])
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


def test_a_region_shows_a_box_shows_none_or_is_not_asked():
    """Of a box of ten pixels: eight, five, four of them, and another one."""
    rows = [[0.0, 0, 10, 8], [0, 0, 10, 5], [0, 0, 10, 4], B]
    regions = regions_of([rows, rows[2:], rows])
    boxes = torch.tensor(A).expand(1, 3, 1, 4)
    valid = torch.tensor([[[True], [True], [False]]])
    shows, near = RegionAssigner()(regions, boxes, valid)
    no = [False] * 4
    assert near[0, ..., 0].tolist() == [
        [True, True, True, False],
        [True, False, False, False],
        no,
    ]
    # The best one shows it in any case.
    assert shows[0, ..., 0].tolist() == [
        [True, True, False, False],
        [True, False, False, False],
        no,
    ]


def test_objects_that_no_region_shows_are_added():
    near_a, half_a = [0, 0, 10, 8], [0, 0, 10, 4]
    tracks = Tracks.of([annotated_clip([[A] * 3, [B] * 3])], 3)
    tracks.valid_BTM[0, 2, 1] = False
    regions = regions_of([[near_a, half_a], [half_a], []])
    joined = with_annotated(regions, tracks, 0.0)
    assert joined.mask_BTN.shape == (1, 3, 4)
    added = joined.mask_BTN[0, :, 2:]
    assert added.tolist() == [[False, True], [True, True], [True, False]]
    assert joined.boxes_BTN4[0, 1, 2:].tolist() == [A, B]
    assert torch.equal(joined.mask_BTN[:, :, :2], regions.mask_BTN)
