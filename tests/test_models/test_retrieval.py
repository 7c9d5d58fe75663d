"""Which frames are reasoned about, and which are encoded whole."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from hero_mm.models.retrieval import FrameRetrieval, best_frames
from hero_mm.registry import MODELS


def real_frames(*lengths) -> torch.Tensor:
    return torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=4),
    st.floats(0.05, 1.0),
    st.integers(0, 99),
)
def test_each_clip_keeps_its_own_share(lengths, ratio, seed):
    """The best of them, in order of time, whatever stands beside it."""
    mask = real_frames(*lengths)
    scores = torch.tensor(
        np.random.default_rng(seed).permutation(mask.numel())
    ).view(mask.shape)
    kept, real = best_frames(scores.float(), mask, ratio)
    for row, score, length, meant in zip(kept, scores, lengths, real):
        number = max(1, math.ceil(length * ratio - 1e-4))
        best = score[:length].argsort(descending=True)[:number]
        assert row[meant].tolist() == sorted(best.tolist())
        assert meant[:number].all() and not meant[number:].any()
        # What is not meant can be read all the same.
        assert ((row >= 0) & (row < mask.shape[1])).all()


def plain(**options) -> FrameRetrieval:
    return MODELS.build(dict(type='FrameRetrieval', **options))


def numbers_kept(retrieval, draws: int = 60) -> list[int]:
    """Of 20 frames; 20 where all go on."""
    torch.manual_seed(0)
    score, mask = torch.randn(1, 20), real_frames(20)
    found = [retrieval.train()(score, mask) for _ in range(draws)]
    return [20 if one is None else int(one[1].sum()) for one in found]


def test_training_draws_shares():
    always = numbers_kept(plain(depth='reason', train_prob=1.0))
    assert set(always) == {5, 10, 15}
    sometimes = numbers_kept(plain(depth='reason', train_prob=0.5))
    assert set(sometimes) == {5, 10, 15, 20}
    assert 15 < sometimes.count(20) < 45
    never = numbers_kept(plain(depth='reason', train_prob=0.0))
    assert set(never) == {20}
    none = plain(depth='reason', train_prob=1.0, train_ratios=())
    assert set(numbers_kept(none)) == {20}


@pytest.mark.parametrize('depth', ['reason', 'scout'])
def test_training_chooses_alike_beside_a_longer_clip(depth):
    """What pads a clip, far below all scores, brings no noise into it."""
    torch.manual_seed(0)
    retrieval = plain(depth=depth, train_prob=1.0, run=1).train()
    clips = torch.arange(400)

    def share_of_best(frames):
        score = torch.randn(400, frames)
        score[:, 16:] = -100.0
        mask = real_frames(16, frames)[:1].expand(400, frames)
        if depth == 'scout':
            kept, meant = retrieval.choose_runs(score, mask, clips, 0.5)
        else:
            retrieval.train_ratios = (0.5,)
            kept, meant = retrieval(score, mask)
        best = score.argsort(1, descending=True)[:, :8]
        found = (kept[:, None] == best[..., None]) & meant[:, None]
        return found.any(-1).float().mean().item()

    alone = share_of_best(16)
    assert 0.8 < alone < 0.95
    assert share_of_best(32) == pytest.approx(alone, abs=0.03)


def test_wrong_options_are_refused():
    with pytest.raises(ValueError, match="'weigh', 'reason'.*got 'drop'"):
        FrameRetrieval(depth='drop')
    for options in (dict(keep_ratio=0.0), dict(train_ratios=(0.5, 1.2))):
        with pytest.raises(ValueError, match='shares of the frames'):
            FrameRetrieval(**options)
    with pytest.raises(ValueError, match='at least 1; got 0'):
        FrameRetrieval(run=0)


# --- the scout


def scout_config(**options) -> dict:
    return dict(dict(type='FrameRetrieval', depth='scout', run=2), **options)


def choose_half(score, mask, clips):
    retrieval = MODELS.build(scout_config()).eval()
    return retrieval.choose_runs(score, mask, torch.tensor(clips), 0.5)


def test_a_clip_keeps_the_runs_of_its_best_frames():
    score = torch.tensor([[0.0, 0, 0, 9, 0, 0, 0, 5.0]])
    kept, real = choose_half(score, real_frames(8), [0])
    assert kept.tolist() == [[2, 3, 6, 7]] and real.all()


def test_what_fits_any_sentence_is_kept():
    """How sure a sentence is of its frames in general counts nothing."""
    score = torch.tensor([[0, 0, 0, 0, 0, 0, 9.0, 0], [100, 0, 0, 0] * 2])
    score[1, 4:] = 0
    kept, _ = choose_half(score, real_frames(8), [0, 0])
    assert kept.tolist() == [[0, 1, 6, 7]]


def test_each_clip_has_its_share_of_its_own_frames():
    """Of clips of 7 and 4 frames; the last run of the first is half."""
    score = torch.arange(7.0).repeat(2, 1)
    kept, real = choose_half(score, real_frames(7, 4), [0, 1])
    assert [k[r].tolist() for k, r in zip(kept, real)] == [[4, 5, 6], [2, 3]]
    alone, _ = choose_half(score[:1, :4], real_frames(4), [0])
    assert alone.tolist() == [[2, 3]]


@pytest.fixture(scope='module')
def scouting(build_hero):
    def make(**options):
        return build_hero(retrieval=scout_config(**options))

    return make


def scouted(model, batch) -> tuple:
    return model.scout(batch['inputs'], batch['data_samples'])


@torch.no_grad()
def test_chosen_runs_are_encoded_whole(scouting, make_clip, collate):
    """A run gives what it gives as a clip of its own."""
    model = scouting(keep_ratio=0.5)
    batch = collate(model, make_clip(8), make_clip(5, seed=1))
    glance = scouted(model, batch)
    pyramid = model.encode(batch['inputs'], glance)
    real = batch['inputs']['frame_mask'].gather(1, glance.kept_BK)
    real &= glance.meant_BK
    kept = [k[m].tolist() for k, m in zip(glance.kept_BK, real)]
    assert len(kept[0]) == 4 and len(kept[1]) in (3, 4)
    for row, places in enumerate(kept):
        for first in range(0, len(places), 2):
            run = places[first : first + 2]
            alone = model.video_encoder(
                batch['inputs']['imgs'][row : row + 1, run],
                torch.ones(1, len(run), dtype=torch.bool),
                batch['inputs']['pixel_mask'][row : row + 1],
            )
            for one, other in zip(alone.levels, pyramid.levels):
                torch.testing.assert_close(one[0], other[row, run])
        others = [n for n in range(8) if n not in places]
        for one, other in zip(glance.pyramid.levels, pyramid.levels):
            assert torch.equal(one[row, others], other[row, others])


@torch.no_grad()
def test_the_whole_frames_are_those_that_are_consistent(
    scouting, make_clip, collate
):
    """As the action head finds them at the first layers."""
    model = scouting(keep_ratio=0.25)
    score = torch.full((2, 8), -5.0)
    score[1, 5] = 5.0
    model.action_head.forward = lambda *_: score
    glance = scouted(model, collate(model, make_clip(8)))
    assert glance.kept_BK.tolist() == [[4, 5]]


@torch.no_grad()
@pytest.mark.parametrize('size', [(32, 32), (30, 21)])
def test_a_glance_ends_with_the_finest_level(
    scouting, make_clip, collate, size
):
    """It is projected alone; the coarser ones are means of its cells."""
    model = scouting()
    encoder = model.video_encoder
    inputs = collate(model, make_clip(4, size))['inputs']
    ran = []
    for blocks in encoder.backbone.stages:
        blocks[-1].register_forward_hook(lambda *_: ran.append(1))
    glance = encoder.glance(**inputs)
    assert len(ran) == 1 < len(encoder.backbone.stages)
    whole = encoder(**inputs)
    assert torch.equal(glance.sizes_B2, whole.sizes_B2)
    assert torch.equal(glance.picture_BT3HW, whole.picture_BT3HW)
    assert glance.strides == whole.strides
    shapes = [level.shape for level in whole.levels]
    assert [level.shape for level in glance.levels] == shapes
    finest, coarse = glance.levels
    ratio = finest.shape[-1] // coarse.shape[-1]
    means = F.avg_pool2d(finest.flatten(0, 1), ratio)
    torch.testing.assert_close(coarse.flatten(0, 1), means)
    rows, columns = finest.shape[-2:]
    # Beside a larger and longer clip.
    both = make_clip(4, size), make_clip(6, (48, 40), seed=1)
    beside = encoder.glance(**collate(model, *both)['inputs']).levels[0]
    torch.testing.assert_close(
        finest[0], beside[0, :4, :, :rows, :columns], atol=1e-4, rtol=1e-4
    )
    # Nothing stays behind.
    torch.testing.assert_close(encoder(**inputs).levels[1], whole.levels[1])


@torch.no_grad()
def test_answers_are_of_the_whole_clip(scouting, make_clip, predict):
    model = scouting(keep_ratio=0.5)
    seen = []
    hook = model.video_encoder.register_forward_hook(
        lambda _, given, __: seen.append(tuple(given[0].shape))
    )
    (tubes,) = predict(model, make_clip(8))
    hook.remove()
    assert seen == [(2, 2, 3, 32, 32)]
    assert tubes.bboxes.shape == (2, 8, 4)
    assert tubes.action_consistency.shape == (2, 8)


@torch.no_grad()
def test_a_clip_is_encoded_for_the_sentences_that_are_known(
    scouting, make_clip, collate
):
    model = scouting(keep_ratio=0.25)
    inputs, samples = collate(model, make_clip(8)).values()
    seen = []
    model.video_encoder.register_forward_hook(
        lambda _, __, found: seen.append(found.frame_mask_BT.shape[1])
    )
    model.ground(model.encode_video(inputs, samples), samples)
    known = samples[0].pred_queries.bboxes
    model(inputs, samples, mode='predict')
    assert torch.equal(known, samples[0].pred_queries.bboxes)
    model.encode_video(inputs)
    assert seen == [2, 2, 8]


@torch.no_grad()
def test_neighbours_in_the_batch_change_nothing(
    scouting, make_clip, predict, same_predictions
):
    """Neither longer ones nor larger ones."""
    model = scouting(keep_ratio=0.5)
    (alone,) = predict(model, make_clip(6))
    beside, _ = predict(model, make_clip(6), make_clip(9, (48, 40), seed=1))
    same_predictions(alone, beside, atol=1e-3)


def test_all_frames_are_trained(scouting, make_clip, collate):
    """Those that are not chosen, too, teach the encoder."""
    model = scouting(train_prob=1.0, train_ratios=(0.25,)).train()
    batch = collate(model, make_clip(8))
    batch['inputs']['imgs'].requires_grad_()
    losses = model(**batch, mode='loss')
    model.parse_losses(losses)[0].backward()
    grads = batch['inputs']['imgs'].grad.abs().flatten(2).sum(-1)
    assert (grads > 0).all()


@pytest.mark.filterwarnings('error')
def test_a_clip_of_one_frame_keeps_it():
    retrieval = plain(depth='reason', train_prob=1.0)
    for training in (False, True):
        kept, meant = retrieval.train(training)(
            torch.zeros(1, 1), real_frames(1)
        )
        assert kept.tolist() == [[0]] and meant.all()
