"""The contrastive action head learns when, from pairs alone."""

import pytest
import torch
from mmengine.structures import InstanceData

from hero_mm.models import ContrastiveActionHead
from hero_mm.structures import GroundingDataSample

D = 16
NUM_ACTIONS = 12


def batch_of(make_regions, make_text, seed: int, queries: int = 1):
    """Clips that show actions, eight in all, at some frames in one slot.

    Each clip has one or two queries of different actions at different times.
    The region of an action holds its vector in the world of pixels, the
    caption holds another vector of the same action. Returns what the head
    takes, and where each query's action is.
    """
    gen = torch.Generator().manual_seed(seed)
    fixed = torch.Generator().manual_seed(99)
    looks, words = 3 * torch.linalg.qr(torch.randn(2, D, D, generator=fixed)).Q
    num_clips, frames = 8 // queries, 8
    # What is no action looks alike.
    features = looks[NUM_ACTIONS] + 0.3 * torch.randn(
        num_clips, frames, 4, D, generator=gen
    )
    where = torch.zeros(8, frames, dtype=torch.bool)
    clips = torch.arange(num_clips).repeat_interleave(queries)
    actions = torch.randperm(NUM_ACTIONS, generator=gen)
    for query, (clip, action) in enumerate(zip(clips, actions)):
        begin = int(torch.randint(0, 3, (1,), generator=gen))
        begin = begin + 3 * (query % 2)
        slot = torch.randint(0, 4, (1,), generator=gen)
        features[clip, begin : begin + 2, slot] += looks[action]
        where[query, begin : begin + 2] = True
    samples = []
    for clip in range(num_clips):
        sample = GroundingDataSample()
        mine = actions[:8][clips == clip].tolist()
        sample.queries = InstanceData(predicates=[str(name) for name in mine])
        samples.append(sample)
    regions = make_regions(num_clips, frames, 4, D, features=features)
    return dict(
        regions=regions,
        text=make_text(words[actions[:8]]),
        clip_of_query=clips,
        samples=samples,
        # Hard negatives: actions that no video shows.
        negatives=make_text(words[actions[8:].repeat(2)]),
        query_of_negative=torch.arange(8),
    ), where


@torch.no_grad()
def ranking(head, inputs, where) -> float:
    """How often a right frame has a higher score than a wrong one."""
    scores = head(inputs['regions'], inputs['text'], inputs['clip_of_query'])
    wins = [
        (row[right][:, None] > row[~right]).float().mean()
        for row, right in zip(scores, where)
    ]
    return torch.stack(wins).mean().item()


@pytest.mark.slow
@pytest.mark.parametrize(
    'queries, hard, wanted', [(1, True, 0.9), (1, False, 0.8), (2, True, 0.65)]
)
def test_learns_which_frames_show_the_action(
    queries, hard, wanted, make_regions, make_text
):
    torch.manual_seed(0)
    head = ContrastiveActionHead(D, common_dims=D)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.03)

    def score() -> float:
        tests = [
            batch_of(make_regions, make_text, seed, queries)
            for seed in range(10_000, 10_008)
        ]
        return sum(ranking(head, *test) for test in tests) / len(tests)

    assert score() < 0.65
    totals = []
    for step in range(200):
        inputs, _ = batch_of(make_regions, make_text, step, queries)
        if not hard:
            inputs['negatives'] = make_text(torch.zeros(0, D))
            inputs['query_of_negative'] = torch.zeros(0, dtype=torch.long)
        loss = sum(head.loss(**inputs).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        totals.append(loss.item())
    assert sum(totals[-10:]) < 0.6 * sum(totals[:10])
    assert score() > wanted
