"""RoIEncoder: what a proposal sees, and which ones train."""

import numpy as np
import pytest
import torch
from mmdet.structures.bbox import bbox_overlaps
from mmengine.structures import InstanceData

from hero_mm.models.proposals import RoIEncoder
from hero_mm.structures import GroundingDataSample


@pytest.fixture
def encoder():
    """Its features are the means of what is aligned, one a channel."""
    encoder = RoIEncoder(2, output_size=1, sampling_ratio=2)
    encoder.project = encoder.norm = torch.nn.Identity()
    return encoder


@pytest.fixture
def ramp(make_video):
    """Features that tell their place in pixels, x and y."""

    def make(clips, frames, height, width):
        video = make_video(torch.ones(clips, frames, height, width, 2))
        video.regions_BTHWD = (
            video.centres_BTHW2 * video.real_BTHW[..., None]
        ).clone()
        return video

    return make


def test_features_are_those_of_the_box(encoder, ramp, make_set):
    video = ramp(1, 2, 5, 6)
    boxes = [[[8, 8, 24, 16], [12, 4, 20, 36]], [[16, 8, 40, 32]]]
    out = encoder(video, make_set([boxes]))
    assert out.regions_BTHWD.shape == (1, 2, 1, 2, 2)
    centres = torch.tensor([[16.0, 12.0], [16.0, 20.0]])
    torch.testing.assert_close(out.regions_BTHWD[0, 0, 0], centres)
    torch.testing.assert_close(out.centres_BTHW2[0, 0, 0], centres)
    torch.testing.assert_close(
        out.regions_BTHWD[0, 1, 0, 0], torch.tensor([28.0, 20.0])
    )
    assert out.real_BTHW[0, :, 0].tolist() == [[True, True], [True, False]]
    assert not out.is_grid
    assert out.proposals_BTHW4[0, 0, 0].tolist() == boxes[0]


def test_raw_boxes_decode_to_the_proposals(encoder, ramp, make_set):
    from hero_mm.models.features import decode_boxes

    video = ramp(1, 1, 4, 4)
    boxes = [[3.5, 2.25, 17.0, 30.0], [0.0, 0.0, 1.0, 2.0]]
    out = encoder(video, make_set([[boxes]]))
    told = decode_boxes(
        out.raw_boxes_BTHW4[0, 0, 0], out.centres_BTHW2[0, 0, 0], video.stride
    )
    torch.testing.assert_close(told, torch.tensor(boxes), atol=1e-5, rtol=0)


def test_boxes_keep_their_precision(encoder, ramp, make_set):
    video = ramp(1, 1, 4, 60)
    video.regions_BTHWD = video.regions_BTHWD.bfloat16()
    out = encoder(video, make_set([[[[401.0, 3.0, 403.0, 9.0]]]]))
    assert out.regions_BTHWD.dtype == torch.bfloat16
    assert out.proposals_BTHW4.dtype == torch.float32
    assert out.proposals_BTHW4[0, 0, 0, 0].tolist() == [401, 3, 403, 9]
    assert out.centres_BTHW2[0, 0, 0, 0, 0] == 402


def test_the_edge_is_the_same_with_padding(encoder, ramp, make_set):
    """A box at the edge sees the last real regions, not what pads them."""
    box = [[[10, 9, 24, 16]]]
    (alone,) = encoder(ramp(1, 1, 2, 3), make_set([box])).regions_BTHWD
    video = ramp(2, 1, 4, 5)
    video.real_BTHW = video.real_BTHW.clone()
    video.real_BTHW[0, :, 2:] = False
    video.real_BTHW[0, :, :, 3:] = False
    # Layers before leave anything there.
    video.regions_BTHWD[~video.real_BTHW] = 77.0
    beside = encoder(video, make_set([box, box])).regions_BTHWD
    torch.testing.assert_close(beside[0], alone)
    assert not torch.equal(beside[1], alone)


def test_contexts_are_those_of_the_centre(encoder, ramp, make_set):
    video = ramp(1, 1, 3, 4)
    frame = torch.full((1, 1, 1, 1, 2), 5.0)
    video.contexts = {3: video.regions_BTHWD + 1, 0: frame}
    boxes = [[[8, 8, 16, 16], [24, 0, 32, 6], [30, 22, 50, 40]]]
    out = encoder(video, make_set([boxes]))
    assert out.contexts[3][0, 0, 0].tolist() == [[13, 13], [29, 5], [29, 21]]
    assert out.contexts[0] is frame


def test_a_frame_without_proposals_answers_as_a_whole(encoder, ramp, make_set):
    out = encoder(ramp(1, 2, 2, 3), make_set([[[[8, 8, 16, 16]], []]]))
    assert out.proposals_BTHW4[0, 1, 0, 0].tolist() == [0, 0, 24, 16]
    assert out.real_BTHW.all()


def sample_of(tracks, valid=None):
    """A clip whose tracks are M times T boxes."""
    frames = len(tracks[0]) if tracks else 1
    tracks = torch.tensor(tracks, dtype=torch.float32).view(-1, frames, 4)
    sample = GroundingDataSample(
        metainfo=dict(frame_inds=np.arange(frames), img_shape=(64, 64))
    )
    if valid is None:
        valid = torch.ones(len(tracks), frames, dtype=torch.bool)
    sample.gt_tracks = InstanceData(bboxes=tracks, valid=valid)
    return sample


def test_candidates_hold_every_object_and_half_are_others(make_set):
    torch.manual_seed(0)
    encoder = RoIEncoder(4, num_train=6, jitter=0)
    objects = [[0, 0, 10, 10], [40, 40, 60, 60]]
    near = [[0, 0, 10, 9 + k / 10] for k in range(9)]
    far = [[20 + k, 0, 30 + k, 9] for k in range(9)]
    told = encoder.sample(
        make_set([[near + far]]), [sample_of([[box] for box in objects])]
    )
    boxes = told.boxes_BTK4[0, 0][told.valid_BTK[0, 0]].tolist()
    assert boxes[:2] == objects
    assert len(boxes) == 2 + 6
    assert [box[0] == 0 for box in boxes[2:]] == [True] * 3 + [False] * 3


def test_candidates_without_objects_or_proposals(make_set):
    encoder = RoIEncoder(4, num_train=6, jitter=0)
    far = [[20, 0, 30, 9], [1, 1, 5, 5]]
    told = encoder.sample(
        make_set([[far], [[]], [[]]]),
        [sample_of([]), sample_of([]), sample_of([[[0, 0, 9, 9]]])],
    )
    assert told.valid_BTK.sum(-1).flatten().tolist() == [2, 0, 1]
    assert told.boxes_BTK4[2, 0, 0].tolist() == [0, 0, 9, 9]


def test_invisible_objects_are_no_candidates(make_set):
    encoder = RoIEncoder(4)
    valid = torch.tensor([[True, False]])
    sample = sample_of([[[0, 0, 9, 9], [1, 0, 9, 9]]], valid)
    told = encoder.sample(make_set([[[], []]]), [sample])
    assert told.valid_BTK[0, :, 0].tolist() == [True, False]


def test_annotated_boxes_are_made_as_rough_as_proposals(make_set):
    """Or the head learns to leave every box as it is."""
    torch.manual_seed(0)
    objects = [[0, 0, 30, 20], [40, 44, 64, 64], [8.5, 9, 10, 13]] * 50
    told = RoIEncoder(4).sample(
        make_set([[[]]]), [sample_of([[box] for box in objects])]
    )
    boxes, truth = told.boxes_BTK4[0, 0], torch.tensor(objects)
    overlap = bbox_overlaps(boxes, truth, is_aligned=True)
    assert overlap.min() >= 0.5 and 0.7 < overlap.mean() < 0.85
    sides = (truth[:, 2:] - truth[:, :2]).repeat(1, 2)
    moved = ((boxes - truth) / sides)[truth[:, 0] == 8.5]
    assert moved.abs().max() <= 0.14 + 1e-6
    assert (moved.mean(0).abs() < 0.04).all() and (moved.std(0) > 0.06).all()
    assert boxes.min() == 0 and boxes.max() == 64


@pytest.mark.parametrize('jitter', [-0.1, 0.2])
def test_jitter_leaves_half_of_a_box(jitter):
    with pytest.raises(ValueError, match=f'jitter={jitter} .* from 0 to 0.14'):
        RoIEncoder(4, jitter=jitter)


def test_assigner_and_sampler_are_of_mmdet(make_set):
    encoder = RoIEncoder(
        4,
        jitter=0,
        assigner=dict(
            type='mmdet.MaxIoUAssigner', pos_iou_thr=0.9, neg_iou_thr=0.9
        ),
        sampler=dict(
            type='mmdet.RandomSampler',
            num=4,
            pos_fraction=1.0,
            add_gt_as_proposals=True,
        ),
    )
    boxes = [[0, 0, 10, 9.5], [0, 0, 10, 7], [0, 0, 10, 9.2], [5, 5, 9, 9]]
    told = encoder.sample(make_set([[boxes]]), [sample_of([[[0, 0, 10, 10]]])])
    boxes = told.boxes_BTK4[0, 0].tolist()
    # The object stands once, then what lies on it, then the others.
    assert len(boxes) == 5 and boxes[0] == [0, 0, 10, 10]
    assert sorted(box[3] for box in boxes[1:3]) == pytest.approx([9.2, 9.5])


def test_gradients_reach_the_grid(ramp, make_set):
    encoder = RoIEncoder(2)
    video = ramp(1, 1, 4, 4)
    video.regions_BTHWD.requires_grad_()
    out = encoder(video, make_set([[[[0, 0, 15, 15]]]]))
    (out.regions_BTHWD**2)[..., 0].sum().backward()
    seen = video.regions_BTHWD.grad.abs().sum(-1)[0, 0] > 0
    assert seen[:2, :2].all() and not seen[3].any() and not seen[:, 3].any()


@pytest.mark.parametrize('role', ['assigner', 'sampler'])
def test_an_unknown_part_is_told_with_one_that_is_near(role):
    name = {'assigner': 'MaxIoUAsigner', 'sampler': 'RandmSampler'}[role]
    with pytest.raises(ValueError, match=f"mmdet has no {role} '{name}'; did"):
        RoIEncoder(8, **{role: dict(type=f'mmdet.{name}')})


@pytest.mark.parametrize(
    ('part', 'words'),
    [
        (
            dict(assigner=dict(type='mmdet.SimOTAAssigner')),
            'SimOTAAssigner and RandomSampler do not take 1 proposals and 1 b',
        ),
        (
            dict(sampler=dict(type='mmdet.OHEMSampler', num=4)),
            'the sampler mmdet.OHEMSampler refuses its arguments',
        ),
    ],
)
def test_parts_of_other_heads_are_told(part, words, make_set):
    box = [0, 0, 8, 8]
    with pytest.raises(ValueError, match=words):
        RoIEncoder(4, **part).sample(make_set([[[box]]]), [sample_of([[box]])])
