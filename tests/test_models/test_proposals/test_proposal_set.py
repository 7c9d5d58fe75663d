"""Proposals of frames: padded, chosen, and never none."""

import torch

from hero_mm.models.proposals import pack_proposals
from hero_mm.models.proposals.frame_samples import (
    frame_sample,
    real_frames,
    truth_of_frames,
)
from hero_mm.models.proposals.proposal_set import sum_losses

A, B, C = [0, 0, 4, 4], [1, 1, 9, 9], [2, 0, 6, 8]


def masks(lengths, sizes):
    longest = max(lengths)
    height, width = (max(size[axis] for size in sizes) for axis in (0, 1))
    frame_mask = torch.zeros(len(lengths), longest, dtype=torch.bool)
    pixel_mask = torch.zeros(len(sizes), height, width, dtype=torch.bool)
    for clip, (length, (h, w)) in enumerate(zip(lengths, sizes)):
        frame_mask[clip, :length] = True
        pixel_mask[clip, :h, :w] = True
    return dict(frame_mask=frame_mask, pixel_mask=pixel_mask)


def test_real_frames_are_told_in_order():
    frames = real_frames(masks([1, 2], [(5, 3), (4, 6)]))
    told = [(one.clip, one.frame, one.size) for one in frames]
    assert told == [(0, 0, (5, 3)), (1, 0, (4, 6)), (1, 1, (4, 6))]


def test_truth_is_that_of_the_frame(make_clip):
    clips = make_clip(2), make_clip(3, seed=1)
    samples = [clip['data_samples'] for clip in clips]
    samples[1].gt_tracks.valid[0, 2] = False
    frames = real_frames(masks([2, 3], [(32, 32)] * 2))
    truth = truth_of_frames(frames, samples)
    assert [len(one) for one in truth] == [3, 3, 3, 3, 2]
    assert torch.equal(truth[1], samples[0].gt_tracks.bboxes[:, 1])
    assert torch.equal(truth[4], samples[1].gt_tracks.bboxes[1:, 2])


def test_a_sample_of_mmdet():
    sample = frame_sample((24, 40), torch.tensor([A, B]).float())
    assert sample.img_shape == sample.pad_shape == (24, 40)
    assert sample.gt_instances.labels.tolist() == [0, 0]
    assert 'gt_instances' not in frame_sample((24, 40))


def test_pack_pads_to_the_longest_frame():
    inputs = masks([1, 2], [(9, 9)] * 2)
    boxes = [torch.tensor(one).float() for one in ([A, B], [C])]
    boxes.append(torch.zeros(0, 4))
    scores = [torch.tensor([0.3, 0.5]), torch.tensor([0.7]), torch.zeros(0)]
    told = pack_proposals(
        boxes, scores, real_frames(inputs), inputs['frame_mask']
    )
    assert told.boxes_BTK4.shape == (2, 2, 2, 4)
    assert told.valid_BTK.sum(-1).tolist() == [[2, 0], [1, 0]]
    assert told.boxes_BTK4[0, 0].tolist() == [A, B]
    assert told.boxes_BTK4[1, 0].tolist() == [C, [0] * 4]
    torch.testing.assert_close(told.scores_BTK[0, 0], scores[0])


def test_pack_of_nothing_has_one_place():
    inputs = masks([1], [(9, 9)])
    told = pack_proposals(
        [torch.zeros(0, 4)],
        [torch.zeros(0)],
        real_frames(inputs),
        inputs['frame_mask'],
    )
    assert told.valid_BTK.shape == (1, 1, 1) and not told.valid_BTK.any()


def test_best_takes_the_surest_that_are_valid(make_set):
    told = make_set([[[A, B, C], [C]]], [[[0.1, 0.9, 0.5], [0.2]]])
    best = told.best(2)
    assert best.boxes_BTK4[0, 0].tolist() == [B, C]
    assert best.valid_BTK.tolist() == [[[True, True], [True, False]]]
    # A score of zero still comes before padding.
    told = make_set([[[A], [A, B]]], [[[0.0], [0.0, 0.0]]])
    assert told.best(1).valid_BTK.all()
    assert told.best(9).boxes_BTK4.shape[2] == 2


def test_equally_sure_ones_keep_their_order(make_set):
    boxes = [[k, 0, k + 4, 4] for k in range(40)]
    few = make_set([[boxes]])
    many = make_set([[boxes, boxes * 9]])
    few, many = few.best(8), many.best(8)
    assert torch.equal(few.boxes_BTK4[0, 0], many.boxes_BTK4[0, 0])


def test_a_frame_without_proposals_gets_the_whole(make_set):
    told = make_set([[[A], [], []], [[], [B], [C]]])
    mask = torch.tensor([[True, True, False], [True, True, True]])
    sizes = torch.tensor([[16.0, 24.0], [8.0, 8.0]])
    full = told.or_whole_frames(sizes, mask)
    assert full.boxes_BTK4[0, 1, 0].tolist() == [0, 0, 16, 24]
    assert full.boxes_BTK4[1, 0, 0].tolist() == [0, 0, 8, 8]
    assert full.valid_BTK[..., 0].tolist() == [
        [True, True, False],
        [True, True, True],
    ]
    assert full.boxes_BTK4[0, 0, 0].tolist() == A
    assert not told.valid_BTK[0, 1].any(), 'the old one was changed'
    assert full.or_whole_frames(sizes, mask) is full


def test_losses_keep_their_names_and_are_weighted():
    one = torch.tensor([1.0, 3.0], requires_grad=True)
    losses = {
        'loss_rpn_cls': [one, one],
        's0.loss_bbox': one,
        'd0.dn_loss_iou': one,
        's0.acc': one,
    }
    told = sum_losses(losses, 0.5)
    assert set(told) == {
        'loss_proposal_rpn_cls',
        'loss_proposal_s0.bbox',
        'loss_proposal_d0.dn_iou',
        'proposal_s0.acc',
    }
    assert told['loss_proposal_rpn_cls'] == 2
    assert told['loss_proposal_s0.bbox'] == 1
    assert told['proposal_s0.acc'] == 2
    assert not told['proposal_s0.acc'].requires_grad
