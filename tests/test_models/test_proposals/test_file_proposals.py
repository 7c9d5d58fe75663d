"""FileProposals: what the samples carry becomes the regions."""

import pytest
import torch


@pytest.fixture(scope='module')
def model(build_proposing):
    return build_proposing('file', hero=dict(max_regions=3))


def test_proposals_of_the_samples_are_the_regions(
    model, make_clip, with_proposals, propose
):
    clips = [
        with_proposals(make_clip(2)),
        with_proposals(make_clip(3, seed=1), number=4, seed=1),
    ]
    regions, _ = propose(model, *clips)
    assert regions.boxes_BTN4.shape == (2, 3, 7, 4)
    for clip, one in enumerate(clips):
        given = one['data_samples'].proposals
        frames, number = given.valid.shape
        mask = regions.mask_BTN[clip, :frames, :number]
        assert torch.equal(mask, given.valid)
        boxes = regions.boxes_BTN4[clip, :frames, :number]
        assert torch.equal(boxes[mask], given.bboxes[given.valid])
        scores = regions.scores_BTN[clip, :frames, :number]
        assert torch.equal(scores[mask], given.scores[given.valid])
    assert not regions.mask_BTN[0, 2].any()
    assert not regions.mask_BTN[1, :, 4:].any()
    hidden = ~regions.mask_BTN
    assert not regions.boxes_BTN4[hidden].any()
    assert not regions.scores_BTN[hidden].any()


@pytest.mark.parametrize('where', ['a frame', 'the clip'])
def test_frames_without_proposals(
    where, model, make_clip, with_proposals, predict, total_loss
):
    """They are no error and show nothing; the others answer."""
    clip = with_proposals(make_clip(3))
    empty = slice(1, 2) if where == 'a frame' else slice(None)
    clip['data_samples'].proposals.valid[empty] = False
    (pred,) = predict(model, clip)
    for name in pred.keys():  # noqa: SIM118
        assert pred[name].isfinite().all(), name
    clip['data_samples'].gt_tracks.valid[:, empty] = False
    losses, total = total_loss(model, clip)
    assert total.isfinite()
    assert losses['loss_actionness'] < 20, 'hidden regions spoke for a frame'


def test_clips_without_proposals_are_named(model, make_clip, collate):
    batch = collate(model, make_clip(2))
    with pytest.raises(ValueError, match="'v0'.* need proposals.*LoadProp"):
        model(**batch, mode='predict')
    with pytest.raises(ValueError, match='give the samples to encode_video'):
        model.encode_video(batch['inputs'])


@torch.no_grad()
def test_duplicates_are_left_out_before_the_best_are_taken(
    model, make_clip, with_proposals, collate
):
    clip = with_proposals(make_clip(1))
    given = clip['data_samples'].proposals
    low = torch.arange(7.0)[:, None] * 4
    given.bboxes[0] = torch.cat([low, low, low + 4, low + 4], 1)
    given.bboxes[0, 3] = given.bboxes[0, 5] + 0.1
    given.scores[0] = torch.tensor([0.1, 0.5, 0.3, 0.7, 0.4, 0.9, 0.2])
    given.valid[:] = True
    batch = collate(model, clip)
    inputs, samples = batch['inputs'], batch['data_samples']
    regions, _ = model.propose(model.encode(inputs), inputs, samples)
    assert torch.equal(regions.boxes_BTN4[0, 0], given.bboxes[0, [5, 1, 4]])
