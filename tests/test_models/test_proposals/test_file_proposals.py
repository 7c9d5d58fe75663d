"""FileProposals: what the samples carry becomes the regions."""

import pytest
import torch


@pytest.fixture(scope='module')
def model(build_proposing):
    return build_proposing('file', hero=dict(max_regions=3))


def test_the_surest_proposals_are_the_regions(
    model, make_clip, with_proposals, collate
):
    clips = [
        with_proposals(make_clip(2)),
        with_proposals(make_clip(3, seed=1), seed=1),
    ]
    batch = collate(model, *clips)
    with torch.no_grad():
        video = model.encode_video(batch['inputs'], batch['data_samples'])
    for clip, one in enumerate(clips):
        told = one['data_samples'].proposals
        for frame in range(len(told)):
            score = told.scores[frame] * told.valid[frame]
            best = told.bboxes[frame][score.topk(3).indices]
            torch.testing.assert_close(
                video.proposals_BTHW4[clip, frame, 0], best
            )
    assert not video.real_BTHW[0, 2].any()


@pytest.mark.parametrize('where', ['a frame', 'the clip'])
def test_frames_without_proposals(
    where, model, make_clip, with_proposals, predict, total_loss
):
    """They answer with the whole frame, and cost nothing special."""
    clip = with_proposals(make_clip(3))
    empty = slice(1, 2) if where == 'a frame' else slice(None)
    clip['data_samples'].proposals.valid[empty] = False
    (told,) = predict(model, clip)
    assert told.bboxes.isfinite().all()
    # One region to choose.
    assert (told.scores[:, empty] == 1).all()
    clip['data_samples'].gt_tracks.valid[:, empty] = False
    losses, total = total_loss(model, clip)
    assert total.isfinite()
    assert losses['loss_actionness'] < 20, 'hidden regions spoke for a frame'


def test_clips_without_proposals_are_told(model, make_clip, collate):
    batch = collate(model, make_clip(2))
    with pytest.raises(ValueError, match="'v0' has no proposals.*LoadProp"):
        model(**batch, mode='predict')
    with pytest.raises(ValueError, match='0 samples for 1 clips'):
        model.encode_video(batch['inputs'])
