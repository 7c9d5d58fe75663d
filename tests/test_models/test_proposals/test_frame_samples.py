"""Frames of clips as samples of mmdet, and what is found as regions."""

import torch

from hero_mm.models.proposals import pack_proposals
from hero_mm.models.proposals.frame_samples import (
    frames_to_learn,
    real_frames,
    sum_losses,
)

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


def test_frames_of_incomplete_clips_are_not_learned(make_clip):
    clips = make_clip(2, complete=False), make_clip(3, seed=1)
    samples = [clip['data_samples'] for clip in clips]
    samples[1].gt_tracks.valid[0, 2] = False
    frames = real_frames(masks([2, 3], [(32, 32)] * 2))
    rows, truth, weight = frames_to_learn(frames, samples)
    assert rows == [2, 3, 4] and weight == 1
    assert torch.equal(truth[0], samples[1].gt_tracks.bboxes[:, 0])
    assert torch.equal(truth[2], samples[1].gt_tracks.bboxes[1:, 2])
    # Nobody said that it is complete.
    del samples[1].tracks_complete
    rows, truth, weight = frames_to_learn(frames, samples)
    assert rows == [0] and weight == 0
    assert truth[0].shape == (0, 4)


def test_pack_pads_to_the_longest_frame():
    inputs = masks([1, 2], [(9, 9)] * 2)
    boxes = [torch.tensor(one).float() for one in ([A, B], [C])]
    boxes.append(torch.zeros(0, 4))
    scores = [torch.tensor([0.3, 0.5]), torch.tensor([0.7]), torch.zeros(0)]
    regions = pack_proposals(
        boxes, scores, real_frames(inputs), inputs['frame_mask']
    )
    assert regions.boxes_BTN4.shape == (2, 2, 2, 4)
    assert regions.mask_BTN.sum(-1).tolist() == [[2, 0], [1, 0]]
    assert regions.boxes_BTN4[0, 0].tolist() == [A, B]
    assert regions.boxes_BTN4[1, 0].tolist() == [C, [0] * 4]
    torch.testing.assert_close(regions.scores_BTN[0, 0], scores[0])
    assert torch.equal(regions.frame_mask_BT, inputs['frame_mask'])
    assert regions.times_BT.tolist() == [[0, 1], [0, 1]]


def test_losses_keep_their_names_and_are_weighted():
    one = torch.tensor([1.0, 3.0], requires_grad=True)
    losses = {
        'loss_rpn_cls': [one, one],
        's0.loss_bbox': one,
        'd0.dn_loss_iou': one,
        's0.acc': one,
    }
    summed = sum_losses(losses, 0.5)
    assert set(summed) == {
        'loss_proposal_rpn_cls',
        'loss_proposal_s0.bbox',
        'loss_proposal_d0.dn_iou',
        'proposal_s0.acc',
    }
    assert summed['loss_proposal_rpn_cls'] == 2
    assert summed['loss_proposal_s0.bbox'] == 1
    assert summed['proposal_s0.acc'] == 2
    assert not summed['proposal_s0.acc'].requires_grad
