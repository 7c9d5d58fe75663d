"""Every kind of generator: it trains, predicts, and sees no neighbours."""

import copy

import pytest
import torch
from zoo_detectors import HEADS, SHRUNK

KINDS = ('own', *HEADS, *SHRUNK, 'file')


@pytest.fixture(scope='module', params=KINDS)
def model(request, build_proposing):
    """A HERO in evaluation mode."""
    return build_proposing(request.param)


@pytest.fixture(scope='module', params=('own', *HEADS))
def learner(request, build_proposing):
    """A HERO whose generator learns, too."""
    return build_proposing(request.param).train()


@pytest.fixture(scope='module')
def clip_of(make_clip, with_proposals):
    """Function: a clip, with proposals where they come from files."""

    def make(model, *args, **kwargs):
        clip = make_clip(*args, **kwargs)
        if type(model.proposal_generator).__name__ == 'FileProposals':
            with_proposals(clip, seed=kwargs.get('seed', 0))
        return clip

    return make


def own_losses(losses: dict) -> dict:
    """Those of the generator."""
    starts = 'loss_proposal_', 'loss_object'
    return {k: v for k, v in losses.items() if k.startswith(starts)}


def check_learns(model, total_loss, *clips) -> dict:
    """Losses are finite; each weight of the generator gets a gradient."""
    model.zero_grad()
    losses, total = total_loss(model, *clips)
    for name, value in losses.items():
        assert torch.isfinite(value).all(), name
    total.backward()
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            assert parameter.grad.isfinite().all(), name
        elif name.startswith('proposal_generator'):
            assert not parameter.requires_grad, name
    return losses


def gradients(generator) -> torch.Tensor:
    """Size of the gradient of each weight that learns."""
    return torch.stack([p.grad.abs().sum() for p in generator.parameters()])


@pytest.mark.parametrize('missing', ['nothing', 'some frames', 'no track'])
def test_generator_learns(missing, learner, make_clip, total_loss):
    clips = make_clip(2), make_clip(3, (24, 40), seed=1)
    for clip in clips:
        sample = clip['data_samples']
        if missing == 'some frames':
            sample.gt_tracks.valid[:, 1:] = False
        elif missing == 'no track':
            sample.gt_tracks = sample.gt_tracks[:0]
            sample.gt_queries.track_index[:] = -1
    losses = check_learns(learner, total_loss, *clips)
    assert len(own_losses(losses)) > 1
    if missing == 'nothing':
        sizes = gradients(learner.proposal_generator)
        assert (sizes > 0).sum() > 0.8 * len(sizes)


@pytest.mark.parametrize('name', HEADS)
def test_incomplete_clips_teach_mmdet_nothing(
    name, build_proposing, make_clip, learn
):
    """What nobody annotated may be an object; every weight has a gradient."""
    model = build_proposing(name).train()
    clip, unknown = make_clip(3, seed=1), make_clip(3, seed=2, complete=False)
    losses, regions = learn(model, unknown, unknown)
    own = own_losses(losses)
    assert len(own) > 1 and not any(value.any() for value in own.values())
    sum(own.values()).backward()
    assert not gradients(model.proposal_generator).any()
    assert regions.mask_BTN[0, 0].any()
    # Beside such a clip, the losses are those that a clip gives alone.
    model.eval()
    found = []
    for clips in ((clip,), (unknown, clip)):
        torch.manual_seed(0)
        found.append(own_losses(learn(model, *clips)[0]))
    assert all(value > 0 for value in found[0].values())
    for key, value in found[0].items():
        torch.testing.assert_close(found[1][key], value, msg=key)


def test_a_detector_stays_as_it_is(model, clip_of, total_loss):
    model = copy.deepcopy(model).train()
    clips = clip_of(model, 2), clip_of(model, 3, (24, 40), seed=1)
    losses = check_learns(model, total_loss, *clips)
    detector = getattr(model.proposal_generator, 'detector', None)
    if detector is None:
        return
    assert not own_losses(losses)
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
    nothing = dict(truth=False, tracks=False, negatives=False)
    blind = clip_of(model, 3, (24, 40), **nothing)
    batch = collate(model, blind)
    with torch.no_grad():
        regions = model.encode_video(batch['inputs'], batch['data_samples'])
        (sample,) = model.ground(regions, batch['data_samples'])
    same_predictions(sample.pred_queries, usual, atol=0)


def test_proposals_depend_on_the_pixels(model, clip_of, propose):
    """The tests above could not fail if all clips had the same."""
    regions, _ = propose(model, clip_of(model, 2), clip_of(model, 2, seed=5))
    assert regions.mask_BTN.any(-1).all()
    one, other = regions.boxes_BTN4
    assert (one - other).abs().max() > 0.01


@pytest.mark.slow
def test_two_processes_of_which_one_has_no_complete_clip(
    hero_config, generator_config, make_clip, train_twice
):
    """One waits for the other's numbers of objects, and it comes."""
    config = hero_config(proposal_generator=generator_config('FCOSHead'))
    clips = [make_clip(3), make_clip(2, seed=1, complete=False)]
    one, other = map(own_losses, train_twice(config, clips))
    assert len(one) > 1 and all(value > 0 for value in one.values())
    assert not any(other.values())
