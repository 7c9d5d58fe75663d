"""Every kind of generator: it trains, predicts, and sees no neighbours."""

import copy

import pytest
import torch

from hero_mm.apis.model_zoo.generators import DETECTORS, HEADS

KINDS = (*HEADS, *DETECTORS, 'file')


@pytest.fixture(scope='module', params=KINDS)
def model(request, build_proposing):
    """A HERO in evaluation mode; a detector in it is frozen."""
    return build_proposing(request.param)


@pytest.fixture(scope='module', params=[*HEADS, *DETECTORS])
def learner(request, build_proposing):
    """A HERO whose generator learns, too."""
    options = {}
    if request.param in DETECTORS:
        options['frozen'] = False
    if request.param == 'Grounding DINO':
        options['text'] = 'object'
    return build_proposing(request.param, **options).train()


@pytest.fixture(scope='module')
def clip_of(make_clip, with_proposals):
    """Function: a clip, with proposals where they come from files."""

    def make(model, *args, **kwargs):
        clip = make_clip(*args, **kwargs)
        if type(model.proposal_generator).__name__ == 'FileProposals':
            with_proposals(clip, seed=kwargs.get('seed', 0))
        return clip

    return make


def check_learns(model, total_loss, *clips) -> dict:
    """Losses are finite, and every weight that can learn gets a gradient."""
    model.zero_grad()
    losses, total = total_loss(model, *clips)
    for name, value in losses.items():
        assert torch.isfinite(value).all(), name
    total.backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
    return losses


def test_generator_learns(learner, make_clip, total_loss):
    clips = make_clip(2), make_clip(3, (24, 40), seed=1)
    losses = check_learns(learner, total_loss, *clips)
    own = [key for key in losses if key.startswith('loss_proposal_')]
    assert len(own) > 1
    grads = [
        p.grad.abs().sum()
        for p in learner.proposal_generator.parameters()
        if p.requires_grad
    ]
    assert sum(g > 0 for g in grads) > 0.8 * len(grads)


@pytest.mark.parametrize('where', ['some frames', 'no track'])
def test_objects_are_missing(where, learner, make_clip, total_loss):
    clips = make_clip(2), make_clip(3, (24, 40), seed=1)
    for clip in clips:
        sample = clip['data_samples']
        if where == 'some frames':
            sample.gt_tracks.valid[:, 1:] = False
        else:
            sample.gt_tracks = sample.gt_tracks[:0]
    check_learns(learner, total_loss, *clips)


def test_a_frozen_detector_stays_as_it_is(model, clip_of, total_loss):
    model = copy.deepcopy(model).train()
    clips = clip_of(model, 2), clip_of(model, 3, (24, 40), seed=1)
    losses = check_learns(model, total_loss, *clips)
    detector = getattr(model.proposal_generator, 'detector', None)
    if detector is None:
        return
    assert not any(key.startswith('loss_proposal_') for key in losses)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    changed = {
        name
        for name, value in model.state_dict().items()
        if not torch.equal(value, before[name])
    }
    assert changed
    assert not any(name.startswith('proposal_gen') for name in changed)
    assert not any(module.training for module in detector.modules())


def test_beside_a_longer_and_larger_clip(
    model, clip_of, predict, same_predictions
):
    texts = 'what grows ?', 'the red square moves left', 'who turns'
    larger = clip_of(model, 4, (40, 48), texts, seed=1)
    for clip in (
        clip_of(model, 3, (24, 40)),
        clip_of(model, 1, (19, 30), texts[:1], seed=2),
    ):
        (alone,) = predict(model, clip)
        _, beside = predict(model, larger, clip)
        same_predictions(beside, alone)


def test_blind_and_encoded_once(
    model, clip_of, collate, predict, same_predictions
):
    (usual,) = predict(model, clip_of(model, 3, (24, 40)))
    blind = clip_of(
        model, 3, (24, 40), truth=False, tracks=False, negatives=False
    )
    batch = collate(model, blind)
    with torch.no_grad():
        video = model.encode_video(batch['inputs'], batch['data_samples'])
        (sample,) = model.ground(video, batch['data_samples'])
    same_predictions(sample.pred_queries, usual, atol=0)


def test_proposals_depend_on_the_pixels(model, clip_of, collate):
    """The tests above could not fail if all clips had the same."""
    clips = clip_of(model, 2), clip_of(model, 2, seed=5)
    batch = collate(model, *clips)
    with torch.no_grad():
        video = model.encode_video(batch['inputs'], batch['data_samples'])
    one, other = video.proposals_BTHW4
    assert (one - other).abs().max() > 0.01
    assert video.real_BTHW.any(-1).all()
    assert torch.equal(one, one.clamp(0, 32))
