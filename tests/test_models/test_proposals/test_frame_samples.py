"""What is found in frames of clips becomes regions."""

import torch

from hero_mm.models.proposals import pack_proposals
from hero_mm.models.proposals.frame_samples import real_frames

A, B, C = [0, 0, 4, 4], [1, 1, 9, 9], [2, 0, 6, 8]


def test_pack_pads_to_the_longest_frame():
    inputs = dict(
        frame_mask=torch.tensor([[True, False], [True, True]]),
        pixel_mask=torch.ones(2, 9, 9, dtype=torch.bool),
    )
    boxes = [torch.tensor(one).float() for one in ([A, B], [C])]
    boxes.append(torch.zeros(0, 4))
    scores = [torch.tensor([0.3, 0.5]), torch.tensor([0.7]), torch.zeros(0)]
    frames = real_frames(inputs)
    regions = pack_proposals(boxes, scores, frames, inputs['frame_mask'])
    assert regions.boxes_BTN4.shape == (2, 2, 2, 4)
    assert regions.mask_BTN.sum(-1).tolist() == [[2, 0], [1, 0]]
    assert regions.boxes_BTN4[0, 0].tolist() == [A, B]
    assert regions.boxes_BTN4[1, 0].tolist() == [C, [0] * 4]
    torch.testing.assert_close(regions.scores_BTN[0, 0], scores[0])
    assert torch.equal(regions.frame_mask_BT, inputs['frame_mask'])
    # Where nothing is found there is one place.
    nothing = [torch.zeros(0, 4)] * 3, [torch.zeros(0)] * 3
    regions = pack_proposals(*nothing, frames, inputs['frame_mask'])
    assert regions.mask_BTN.tolist() == [[[False]] * 2] * 2
