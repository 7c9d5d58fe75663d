"""What is left out before the words are met, against numpy."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hero_mm.models.pruning import (
    keep_frames,
    select_frames,
    select_regions,
    spread_frames,
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=4),
    st.floats(0.05, 1.0),
    st.integers(0, 99),
)
def test_keep_frames_takes_the_best_of_each_clip(lengths, ratio, seed):
    rng = np.random.default_rng(seed)
    longest = max(lengths)
    scores = rng.permutation(len(lengths) * longest).reshape(-1, longest)
    mask = np.arange(longest) < np.array(lengths)[:, None]
    kept = keep_frames(
        torch.tensor(scores).float(), torch.tensor(mask), ratio
    ).numpy()
    assert (np.diff(kept, axis=1) > 0).all(), 'in order of time'
    for row, score, length in zip(kept, scores, lengths):
        number = max(1, math.ceil(length * ratio - 1e-4))
        best = np.sort(np.argsort(-score[:length])[:number])
        real = row[row < length]
        assert real.tolist() == best.tolist()
        assert (row[: len(real)] == real).all(), 'padding comes last'


def test_keep_all():
    scores = torch.randn(2, 5)
    kept = keep_frames(scores, torch.ones(2, 5, dtype=torch.bool), 1.0)
    assert kept.tolist() == [list(range(5))] * 2


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_spread_frames_is_numpy_interp(data):
    num_frames = data.draw(st.integers(1, 10))
    kept = sorted(
        data.draw(st.sets(st.integers(0, num_frames - 1), min_size=1))
    )
    padding = data.draw(st.integers(0, 3))
    values = np.random.default_rng(len(kept)).normal(size=(len(kept), 2))
    slots = [*kept, *range(num_frames, num_frames + padding)]
    filled = np.concatenate([values, np.full((padding, 2), 1e3)])
    told = spread_frames(
        torch.tensor(filled)[None].float(),
        torch.tensor([slots]),
        torch.tensor([[True] * len(kept) + [False] * padding]),
        num_frames,
    )
    steps = np.arange(num_frames)
    wanted = [np.interp(steps, kept, column) for column in values.T]
    np.testing.assert_allclose(told[0].numpy().T, wanted, atol=1e-5)


def test_select_frames_takes_every_field(make_video):
    video = make_video(torch.randn(2, 5, 2, 3, 4), frames=[4, 5])
    video = replace(video, objectness_BTHW=torch.randn(2, 5, 2, 3))
    kept = torch.tensor([[1, 4], [0, 2]])
    told = select_frames(video, kept)
    for clip in range(2):
        for name in ('regions_BTHWD', 'real_BTHW', 'objectness_BTHW'):
            wanted = getattr(video, name)[clip, kept[clip]]
            assert torch.equal(getattr(told, name)[clip], wanted)
    assert told.frame_mask_BT.tolist() == [[True, False], [True, True]]
    assert told.stride == video.stride


def objects(make_video, objectness, frames=None):
    """A video whose features are the numbers of its regions."""
    clips, num_frames, height, width = objectness.shape
    number = torch.arange(height * width).view(height, width, 1).float()
    video = make_video(
        number.expand(clips, num_frames, -1, -1, -1) + 1, frames=frames
    )
    return replace(video, objectness_BTHW=objectness)


def chosen_of(video) -> list:
    return (video.regions_BTHWD[:, :, 0, :, 0] - 1).long().tolist()


def test_select_regions_takes_peaks_first(make_video):
    score = torch.zeros(1, 1, 3, 4)
    # One large object with a peak at 0, one small one at 11.
    score[0, 0, 0, :2] = torch.tensor([5.0, 4.5])
    score[0, 0, 1, :2] = torch.tensor([4.0, 3.5])
    score[0, 0, 2, 3] = 1.0
    video = objects(make_video, score)
    assert chosen_of(select_regions(video, 2)) == [[[0, 11]]]
    # Centres and features stay together.
    told = select_regions(video, 2)
    assert told.centres_BTHW2[0, 0, 0].tolist() == [[4, 4], [28, 20]]
    assert told.real_BTHW.all()
    assert not told.is_grid
    assert told.regions_BTHWD.shape == (1, 1, 1, 2, 1)


def test_select_regions_a_frame(make_video):
    score = torch.zeros(2, 2, 2, 2)
    score[0, 0, 0, 1] = score[0, 1, 1, 0] = 1
    score[1, 0, 1, 1] = score[1, 1, 0, 0] = 1
    told = select_regions(objects(make_video, score), 1)
    assert chosen_of(told) == [[[1], [2]], [[3], [0]]]


def test_forced_regions_stay(make_video):
    score = torch.randn(1, 3, 3, 4)
    forced = torch.zeros(1, 3, 3, 4, dtype=torch.bool)
    forced[0, :, 1, 2] = forced[0, 1, 0, 0] = True
    told = select_regions(objects(make_video, score), 2, forced)
    rows = chosen_of(told)[0]
    assert all(6 in row for row in rows)
    assert rows[1] == [0, 6]


def test_padding_is_chosen_last(make_video):
    score = torch.full((1, 1, 2, 3), -9.0)
    score[0, 0, :, 2] = 9.0
    video = objects(make_video, score)
    real = video.real_BTHW.clone()
    real[..., 2] = False
    told = select_regions(replace(video, real_BTHW=real), 5)
    assert chosen_of(told)[0][0][:2] == [0, 1]
    assert told.real_BTHW[0, 0, 0].sum() == 4


@pytest.mark.parametrize('number', [6, 7])
def test_few_regions_are_a_set_of_all(number, make_video):
    """Beside a larger clip they would be one, too."""
    video = objects(make_video, torch.randn(1, 2, 2, 3))
    told = select_regions(video, number)
    assert not told.is_grid
    assert torch.equal(
        told.regions_BTHWD, video.regions_BTHWD.flatten(2, 3)[:, :, None]
    )


def test_contexts_travel_with_their_regions(make_video):
    video = objects(make_video, torch.randn(1, 2, 3, 3))
    grid = video.regions_BTHWD
    contexts = {3: grid * 10, 0: grid.mean((2, 3), keepdim=True)}
    told = select_regions(replace(video, contexts=contexts), 4)
    assert torch.equal(told.contexts[3], told.regions_BTHWD * 10)
    assert torch.equal(told.contexts[0], contexts[0])


def test_regions_need_their_objectness(make_video):
    with pytest.raises(ValueError, match=r'TubeHead\.clip_outputs first'):
        select_regions(make_video(torch.randn(1, 1, 2, 2, 1)), 2)


def test_objectness_gets_no_gradient_from_the_choice(make_video):
    score = torch.randn(1, 1, 3, 3, requires_grad=True)
    video = objects(make_video, score)
    told = select_regions(video, 2)
    assert not told.regions_BTHWD.requires_grad
    assert told.objectness_BTHW.requires_grad
