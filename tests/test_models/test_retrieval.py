"""Which frames go on: to the reasoning, and, by the scout, to the encoder."""

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hero_mm.models.retrieval import FrameRetrieval, best_frames
from hero_mm.models.targets import Tubes
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


def test_wrong_options_are_refused():
    with pytest.raises(ValueError, match="'weigh', 'reason'.*got 'drop'"):
        FrameRetrieval(depth='drop')
    for options in (dict(keep_ratio=0.0), dict(train_ratios=(0.5, 1.2))):
        with pytest.raises(ValueError, match='shares of the frames'):
            FrameRetrieval(**options)


# --- the scout

SCOUT = dict(
    type='FrameScout',
    embed_dims=16,
    video_encoder=dict(
        type='VideoEncoder',
        embed_dims=8,
        backbone=dict(
            type='ShiftConvNet',
            stem_channels=4,
            channels=(4, 8),
            num_blocks=(1, 1),
            out_indices=(0, 1),
            shift_div=4,
        ),
        finer_levels=(0,),
    ),
)


def retrieval_config(**options) -> dict:
    return dict(
        dict(
            type='FrameRetrieval',
            depth='scout',
            run=2,
            scout=copy.deepcopy(SCOUT),
        ),
        **options,
    )


def build(**options) -> FrameRetrieval:
    return MODELS.build(retrieval_config(**options)).eval()


def test_a_clip_keeps_the_runs_of_its_best_frames():
    score = torch.tensor([[0.0, 0, 0, 9, 0, 0, 0, 5.0]])
    kept, real = build(keep_ratio=0.5).choose_runs(
        score, real_frames(8), torch.tensor([0])
    )
    assert kept.tolist() == [[2, 3, 6, 7]] and real.all()


def test_what_fits_any_sentence_is_kept():
    """How sure a sentence is of its frames in general counts nothing."""
    score = torch.tensor([[0, 0, 0, 0, 0, 0, 9.0, 0], [100, 0, 0, 0] * 2])
    score[1, 4:] = 0
    kept, _ = build(keep_ratio=0.5).choose_runs(
        score, real_frames(8), torch.tensor([0, 0])
    )
    assert kept.tolist() == [[0, 1, 6, 7]]


def test_each_clip_has_its_share_of_its_own_frames():
    """Of clips of 7 and 4 frames; the last run of the first is half."""
    score = torch.arange(7.0).repeat(2, 1)
    clips = torch.tensor([0, 1])
    retrieval = build(keep_ratio=0.5)
    kept, real = retrieval.choose_runs(score, real_frames(7, 4), clips)
    assert [k[r].tolist() for k, r in zip(kept, real)] == [[4, 5, 6], [2, 3]]
    alone, _ = retrieval.choose_runs(score[:1, :4], real_frames(4), clips[:1])
    assert alone.tolist() == [[2, 3]]


def test_a_scout_is_needed():
    with pytest.raises(ValueError, match="depth='scout' needs a scout"):
        FrameRetrieval(depth='scout')
    # At other depths it is not built.
    assert build(depth='reason').scout is None


@pytest.fixture(scope='module')
def scouting(build_hero):
    def make(**options):
        return build_hero(retrieval=retrieval_config(**options))

    return make


def asked(batch) -> list[str]:
    return [t for one in batch['data_samples'] for t in one.queries.texts]


def scouted(model, batch) -> tuple:
    clips = torch.arange(len(batch['data_samples'])).repeat_interleave(2)
    text = model.text_encoder(asked(batch))
    return model.scout(batch['inputs'], batch['data_samples'], text, clips)


@torch.no_grad()
def test_samples_and_pixels_are_those_of_the_kept_frames(
    scouting, make_clip, collate
):
    model = scouting(keep_ratio=0.5)
    batch = collate(model, make_clip(8), make_clip(5, seed=1))
    inputs, samples, logits = scouted(model, batch)
    assert logits.shape == (4, 8)
    for row, (sample, length) in enumerate(zip(samples, (4, 4))):
        whole = batch['data_samples'][row]
        mask = inputs['frame_mask'][row]
        places = inputs['times_BT'][row][mask]
        assert mask.sum() <= length
        pixels = inputs['imgs'][row][mask]
        assert torch.equal(pixels, batch['inputs']['imgs'][row][places])
        inds = whole.frame_inds[places.numpy()]
        assert sample.frame_inds.tolist() == inds.tolist()
        for name in ('gt_queries', 'gt_tracks'):
            wanted = whole.get(name).bboxes[:, places]
            assert torch.equal(sample.get(name).bboxes, wanted)
        assert torch.equal(sample.gt_queries.spans, whole.gt_queries.spans)


@torch.no_grad()
def test_the_encoder_sees_runs_alone(scouting, make_clip, collate):
    """A run gives what it gives as a clip of its own."""
    model = scouting(keep_ratio=0.5)
    batch = collate(model, make_clip(8), make_clip(8, seed=1))
    times = scouted(model, batch)[0]['times_BT']
    pyramid = model.encode(scouted(model, batch)[0])
    assert torch.equal(pyramid.times_BT, times)
    assert pyramid.sizes_B2.shape == (2, 2)
    for row in range(2):
        for first in (0, 2):
            places = times[row, first : first + 2]
            alone = model.video_encoder(
                batch['inputs']['imgs'][row : row + 1, places],
                torch.ones(1, 2, dtype=torch.bool),
                batch['inputs']['pixel_mask'][row : row + 1],
            )
            for one, other in zip(alone.levels, pyramid.levels):
                torch.testing.assert_close(
                    one[0], other[row, first : first + 2]
                )


@torch.no_grad()
def test_answers_are_of_the_whole_clip(scouting, make_clip, collate, predict):
    model = scouting(keep_ratio=0.5)
    seen = []
    hook = model.video_encoder.register_forward_hook(
        lambda _, given, __: seen.append(given[1])
    )
    (tubes,) = predict(model, make_clip(8))
    hook.remove()
    assert [mask.shape for mask in seen] == [(2, 2)]
    assert tubes.bboxes.shape == (2, 8, 4)
    assert tubes.action_consistency.shape == (2, 8)
    batch = collate(model, make_clip(8))
    logits = scouted(model, batch)[2]
    torch.testing.assert_close(tubes.action_consistency, logits.sigmoid())


@torch.no_grad()
def test_neighbours_in_the_batch_change_nothing(scouting, make_clip, predict):
    """Neither longer ones nor larger ones."""
    model = scouting(keep_ratio=0.5)
    (alone,) = predict(model, make_clip(6))
    beside, _ = predict(model, make_clip(6), make_clip(9, (48, 40), seed=1))
    for name in ('spans', 'bboxes', 'scores', 'action_consistency'):
        torch.testing.assert_close(
            alone[name], beside[name], atol=1e-3, rtol=1e-3
        )


def test_the_scout_learns_from_the_action_head_and_teaches_nobody(
    scouting, make_clip, collate
):
    model = scouting(train_prob=1.0).train()
    batch = collate(model, make_clip(8), make_clip(8, seed=1))
    losses = model(**batch, mode='loss')
    named = dict(model.named_parameters())
    found = torch.autograd.grad(
        losses['loss_scout'],
        list(named.values()),
        retain_graph=True,
        allow_unused=True,
    )
    taught = {n for n, g in zip(named, found) if g is not None and g.any()}
    mine = {name for name in named if name.startswith('retrieval.scout')}
    assert taught == mine
    for name, loss in losses.items():
        if name not in ('loss_scout', 'region_iou'):
            grads = torch.autograd.grad(
                loss,
                [named[n] for n in mine],
                retain_graph=True,
                allow_unused=True,
            )
            assert all(grad is None for grad in grads), name


def tubes(inside, known=True) -> Tubes:
    boxes = torch.zeros(*inside.shape, 4)
    spans = torch.zeros(len(inside), 2)
    return Tubes(boxes, inside, spans, torch.tensor([known] * len(inside)))


def test_true_tubes_take_the_place_of_the_head(scouting):
    """For those who have them; where spans are not known, nothing is asked."""
    config = dict(copy.deepcopy(SCOUT), supervision='span')
    scout = scouting(scout=config).retrieval.scout
    mask = real_frames(6, 6)
    inside = torch.rand(2, 6, generator=torch.Generator().manual_seed(0)) < 0.5
    right = 20.0 * inside - 10
    other = torch.randn(2, 6)
    loss = scout.loss(right, other, tubes(inside), mask)['loss_scout']
    wrong = scout.loss(-right, other, tubes(inside), mask)['loss_scout']
    none = scout.loss(-right, other, tubes(inside, known=False), mask)
    assert loss < 0.01 < 1 < wrong and none['loss_scout'] == 0
    with pytest.raises(ValueError, match="supervision must be 'head' or"):
        scouting(scout=dict(config, supervision='video'))


@pytest.mark.filterwarnings('error')
def test_a_clip_of_one_frame_keeps_it():
    retrieval = plain(depth='reason', train_prob=1.0)
    for training in (False, True):
        kept, meant = retrieval.train(training)(
            torch.zeros(1, 1), real_frames(1)
        )
        assert kept.tolist() == [[0]] and meant.all()
