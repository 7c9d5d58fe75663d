"""TubeHead on proposals: which of them answer, and where boxes start."""

import pytest
import torch

from hero_mm.models.heads.region_boxes import overlapping_regions
from hero_mm.registry import MODELS

SWITCHES = {
    'no neck': dict(neck=None),
    'no action head': dict(action_head=None),
    'joint attention': dict(neck=dict(attention='joint')),
    'no alignment': dict(neck=dict(align=False)),
    'no clip layers': dict(neck=dict(num_clip_layers=0)),
    'all proposals': dict(max_regions=None),
    'half of the frames': dict(keep_ratio=0.5),
    'no linking': dict(tube_head=dict(link_weight=0)),
}


@pytest.mark.parametrize('name', SWITCHES)
def test_every_switch_goes_with_proposals(
    name, build_proposing, make_clip, with_proposals, predict, total_loss
):
    model = build_proposing('file', hero=SWITCHES[name])
    clips = [
        with_proposals(make_clip(4)),
        with_proposals(make_clip(6, (24, 32), seed=1)),
    ]
    _, total = total_loss(model.train(), *clips)
    total.backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
    for told, clip in zip(predict(model.eval(), *clips), clips):
        assert told.bboxes.shape[1] == len(clip['inputs'])
        assert told.bboxes.isfinite().all()


def test_proposals_that_overlap_enough_answer():
    boxes = torch.tensor([[0.0, 0, 10, 10], [20, 20, 30, 30]])
    proposals = torch.tensor(
        [[0.0, 0, 10, 5], [0, 0, 10, 6], [21, 20, 30, 30]]
    )
    told = overlapping_regions(boxes, proposals.expand(2, -1, -1), 0.55)
    assert told.tolist() == [[False, True, False], [False, False, True]]
    # At the threshold itself it counts.
    told = overlapping_regions(boxes, proposals.expand(2, -1, -1), 0.5)
    assert told[0].tolist() == [True, True, False]


@pytest.fixture
def head():
    return MODELS.build(
        dict(type='TubeHead', embed_dims=4, num_heads=1, num_span_layers=0)
    )


def test_between_half_and_whole_nothing_is_asked(
    head, constant_video, make_set
):
    """A proposal at an IoU of 0.3 is neither right nor wrong."""
    from hero_mm.models.proposals import RoIEncoder

    truth = [0, 0, 10, 10]
    near, half, far = truth, [0, 0, 10, 3], [20, 20, 30, 30]
    video = RoIEncoder(4)(
        constant_video(1, 1, 4, 4), make_set([[[near, half, far]]])
    )
    logits = torch.zeros(1, 1, 3, requires_grad=True)
    boxes = torch.tensor([[truth]]).float()
    valid = torch.ones(1, 1, dtype=torch.bool)
    head._match_loss(logits, video, boxes, valid).backward()
    right, unasked, wrong = logits.grad[0, 0].tolist()
    assert right < 0 < wrong and unasked == 0
    # Outside of the span all are wrong.
    logits.grad = None
    head._match_loss(logits, video, boxes, ~valid).backward()
    assert (logits.grad > 0).all()


def test_boxes_of_an_untrained_head_are_the_proposals(
    build_proposing, make_clip, with_proposals, collate
):
    model = build_proposing('file', hero=dict(shake=0.0))
    batch = collate(model, with_proposals(make_clip(3)))
    with torch.no_grad():
        video = model.encode_video(batch['inputs'], batch['data_samples'])
        output = model(**batch, mode='tensor')
    told = output.boxes_QTN4[0]
    wanted = video.proposals_BTHW4[0, :, 0]
    assert (told - wanted).abs().max() < 0.3
    assert wanted.amax() > 20
