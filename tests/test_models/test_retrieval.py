"""Which frames go on to the reasoning, against numpy."""

import math

import numpy as np
import pytest
import torch
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


def test_equal_frames_are_taken_from_the_beginning():
    kept, _ = best_frames(torch.zeros(1, 6), real_frames(6), 0.5)
    assert kept.tolist() == [[0, 1, 2]]


def build(**options) -> FrameRetrieval:
    return MODELS.build(dict(type='FrameRetrieval', **options))


@pytest.mark.parametrize('training', [False, True])
def test_weigh_lets_all_frames_go_on(training):
    retrieval = build(depth='weigh', train_prob=1.0).train(training)
    assert retrieval(torch.randn(2, 5), real_frames(5, 4)) is None


def test_a_test_keeps_its_share_of_the_best():
    retrieval = build(depth='reason', keep_ratio=0.4).eval()
    score, mask = torch.randn(2, 10), real_frames(10, 5)
    for _ in range(3):
        kept, real = retrieval(score, mask)
        wanted = best_frames(score, mask, 0.4)
        assert torch.equal(kept, wanted[0]) and torch.equal(real, wanted[1])
    assert real.sum(1).tolist() == [4, 2]
    assert build(depth='reason', keep_ratio=1.0).eval()(score, mask) is None


def numbers_kept(retrieval, draws: int = 60) -> list[int]:
    """Of 20 frames; 20 where all go on."""
    torch.manual_seed(0)
    score, mask = torch.randn(1, 20), real_frames(20)
    found = [retrieval.train()(score, mask) for _ in range(draws)]
    return [20 if one is None else int(one[1].sum()) for one in found]


def test_training_draws_shares():
    always = numbers_kept(build(depth='reason', train_prob=1.0))
    assert set(always) == {5, 10, 15}
    sometimes = numbers_kept(build(depth='reason', train_prob=0.5))
    assert set(sometimes) == {5, 10, 15, 20}
    assert 15 < sometimes.count(20) < 45
    never = numbers_kept(build(depth='reason', train_prob=0.0))
    assert set(never) == {20}
    none = build(depth='reason', train_prob=1.0, train_ratios=())
    assert set(numbers_kept(none)) == {20}


def test_training_is_not_always_right():
    """Frames that are nearly as good are kept as well, bad ones seldom."""
    score = torch.linspace(5, -5, 20)[None]
    counts = torch.zeros(20)
    retrieval = build(
        depth='reason', train_prob=1.0, train_ratios=(0.5,)
    ).train()
    for seed in range(50):
        torch.manual_seed(seed)
        kept, _ = retrieval(score, real_frames(20))
        counts[kept[0]] += 1
    assert counts[:3].min() > 45 and counts[-3:].max() < 5
    assert 5 < counts[10] < 45


@pytest.mark.filterwarnings('error')
def test_a_clip_of_one_frame_keeps_it():
    retrieval = build(depth='reason', train_prob=1.0)
    for training in (False, True):
        kept, real = retrieval.train(training)(
            torch.zeros(1, 1), real_frames(1)
        )
        assert kept.tolist() == [[0]] and real.all()


def test_wrong_options_are_refused():
    with pytest.raises(ValueError, match="'weigh', 'reason'.*got 'drop'"):
        FrameRetrieval(depth='drop')
    for options in (dict(keep_ratio=0.0), dict(train_ratios=(0.5, 1.2))):
        with pytest.raises(ValueError, match='shares of the frames'):
            FrameRetrieval(**options)
