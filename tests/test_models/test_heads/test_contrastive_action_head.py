"""The contrastive action head: what it learns without a temporal label."""

import pytest
import torch
import torch.nn.functional as F
from mmengine.structures import InstanceData

from hero_mm.models import ContrastiveActionHead
from hero_mm.models.heads.contrastive_action_head import action_kinds
from hero_mm.structures import GroundingDataSample

D = 16
NUM_ACTIONS = 12


def batch_of(make_video, make_text, seed: int, queries=2, frames=8):
    """Clips that show actions, eight in all, at some frames in one region.

    Each clip has one or two queries of different actions at different times.
    The region of an action holds its vector in the world of pixels, the
    caption holds another vector of the same action. Returns what the head
    takes, and where each query's action is.
    """
    gen = torch.Generator().manual_seed(seed)
    fixed = torch.Generator().manual_seed(99)
    looks, words = 3 * torch.linalg.qr(torch.randn(2, D, D, generator=fixed)).Q
    num_clips = 8 // queries
    regions = 0.3 * torch.randn(num_clips, frames, 2, 2, D, generator=gen)
    # What is no action looks alike.
    regions = regions + looks[NUM_ACTIONS]
    where = torch.zeros(8, frames, dtype=torch.bool)
    clips = torch.arange(num_clips).repeat_interleave(queries)
    actions = torch.randperm(NUM_ACTIONS, generator=gen)
    for query, (clip, action) in enumerate(zip(clips, actions)):
        begin = int(torch.randint(0, 3, (1,), generator=gen))
        begin = begin + 3 * (query % 2)
        row, column = torch.randint(0, 2, (2,), generator=gen)
        regions[clip, begin : begin + 2, row, column] += looks[action]
        where[query, begin : begin + 2] = True
    # Hard negatives: actions that no video shows.
    swapped = actions[8:].repeat(2)
    return dict(
        video=make_video(regions),
        text=make_text(words[actions[:8]]),
        clip_of_query=clips,
        kind_Q=actions[:8],
        negatives=make_text(words[swapped]),
        query_of_negative=torch.arange(8),
    ), where


def ranking(head, inputs, where) -> float:
    """How often a right frame has a higher score than a wrong one."""
    with torch.no_grad():
        scores = head(inputs['video'], inputs['text'], inputs['clip_of_query'])
    wins = [
        (row[right][:, None] > row[~right]).float().mean()
        for row, right in zip(scores, where)
    ]
    return torch.stack(wins).mean().item()


@pytest.mark.parametrize(
    'queries, hard, wanted', [(1, True, 0.9), (1, False, 0.9), (2, True, 0.65)]
)
def test_learns_which_frames_show_the_action(
    queries, hard, wanted, make_video, make_text
):
    torch.manual_seed(0)
    head = ContrastiveActionHead(D)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.03)

    def score() -> float:
        tests = [
            batch_of(make_video, make_text, seed, queries)
            for seed in range(10_000, 10_008)
        ]
        return sum(ranking(head, *test) for test in tests) / len(tests)

    assert score() < 0.6
    totals = []
    for step in range(200):
        inputs, _ = batch_of(make_video, make_text, step, queries)
        if not hard:
            inputs['negatives'] = inputs['query_of_negative'] = None
        loss = sum(head.loss(**inputs).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        totals.append(loss.item())
    assert sum(totals[-10:]) < 0.6 * sum(totals[:10])
    assert score() > wanted


def test_scores_by_hand(make_video, make_text):
    """A frame is as consistent as its best region is near the action."""
    head = ContrastiveActionHead(2, common_dims=2, temperature=0.5)
    with torch.no_grad():
        for layer in (head.video, head.text):
            layer.weight.copy_(torch.eye(2))
            layer.bias.zero_()
        head.region_temperature = 1e-3
    regions = torch.tensor([[[[-1.0, 0], [0, 3]]], [[[2, 0], [0, 1]]]])
    video, text = make_video(regions[None]), make_text(torch.eye(2)[:1] * 7)
    logits = head(video, text, torch.tensor([0]))
    # Cosines of the best region: 0 and 1; scale 2, offset 0.3.
    assert logits[0].tolist() == pytest.approx([-0.6, 1.4], abs=0.01)


def test_padding_has_no_part_in_the_losses(make_video, make_text):
    inputs, _ = batch_of(make_video, make_text, 0)
    head = ContrastiveActionHead(D)
    usual = head.loss(**inputs)
    long = F.pad(inputs['video'].regions_BTHWD, (0, 0, 0, 0, 0, 0, 0, 3))
    inputs['video'] = make_video(long + 1, frames=[8] * 4)
    inputs['video'].regions_BTHWD -= 1
    inputs['video'].regions_BTHWD[:, 8:] = 5.0
    padded = head.loss(**inputs)
    for name, value in usual.items():
        torch.testing.assert_close(padded[name], value, msg=name)


def test_order_of_queries_and_clips_does_not_matter(make_video, make_text):
    inputs, _ = batch_of(make_video, make_text, 0)
    head = ContrastiveActionHead(D)
    usual = head.loss(**inputs)
    turn = torch.arange(8).flip(0)
    back = dict(
        video=make_video(inputs['video'].regions_BTHWD.flip(0)),
        text=make_text(inputs['text'].action_QD[turn]),
        clip_of_query=3 - inputs['clip_of_query'][turn],
        kind_Q=inputs['kind_Q'].flip(0),
        negatives=inputs['negatives'],
        query_of_negative=7 - inputs['query_of_negative'],
    )
    for name, value in head.loss(**back).items():
        torch.testing.assert_close(value, usual[name], msg=name)


def shrink(inputs, make_text, clips: int, queries: list, negatives: list):
    """Some clips, queries and negatives of a batch."""
    video = inputs['video'].apply(lambda value: value[:clips])
    told = dict(
        video=video,
        text=make_text(inputs['text'].action_QD[queries]),
        clip_of_query=inputs['clip_of_query'][queries],
        kind_Q=inputs['kind_Q'][queries],
    )
    if negatives:
        told['negatives'] = make_text(
            inputs['negatives'].action_QD[: len(negatives)]
        )
        told['query_of_negative'] = torch.tensor(negatives)
    return told


CASES = {
    'one clip, one query': (1, [0], []),
    'one clip, one query, one negative': (1, [0], [0]),
    'one clip, two queries': (1, [0, 1], []),
    'one query a clip': (3, [0, 2, 4], []),
    'two negatives for one query, none for others': (3, [0, 2, 4], [1, 1]),
    'negatives out of order': (2, [0, 1, 2, 3], [3, 0, 3, 2]),
    'a clip with one query beside one with two': (2, [0, 2, 3], [2]),
}


@pytest.mark.parametrize('case', CASES)
def test_small_batches_are_finite(case, make_video, make_text):
    inputs, _ = batch_of(make_video, make_text, 0)
    inputs = shrink(inputs, make_text, *CASES[case])
    head = ContrastiveActionHead(D)
    losses = head.loss(**inputs)
    for name, value in losses.items():
        assert value.dim() == 0
        assert value.isfinite(), name
        assert value >= -1e-6, name
    sum(losses.values()).backward()
    for name, parameter in head.named_parameters():
        if name != 'offset':
            assert parameter.grad is not None, name
        if parameter.grad is not None:
            assert parameter.grad.isfinite().all(), name


def test_one_clip_without_rivals_teaches_no_pair(make_video, make_text):
    inputs, _ = batch_of(make_video, make_text, 0)
    inputs = shrink(inputs, make_text, 1, [0], [])
    losses = ContrastiveActionHead(D).loss(**inputs)
    assert losses['loss_action_pair'].item() == pytest.approx(0, abs=1e-6)


def test_captions_of_the_same_action_are_no_negatives(make_video, make_text):
    """Another clip that is told to show the action is not a wrong answer."""
    inputs, _ = batch_of(make_video, make_text, 0)
    inputs = shrink(inputs, make_text, 2, [0, 2], [])
    head = ContrastiveActionHead(D)
    assert head.loss(**inputs)['loss_action_pair'] > 0
    inputs['kind_Q'] = torch.zeros(2)
    same = head.loss(**inputs)['loss_action_pair']
    assert same.item() == pytest.approx(0, abs=1e-6)


def test_only_captions_of_the_same_action_are_left_out(make_video, make_text):
    inputs, _ = batch_of(make_video, make_text, 0)
    three = shrink(inputs, make_text, 3, [0, 2, 4], [])
    head = ContrastiveActionHead(D, part_weight=0.0)
    three['kind_Q'] = torch.tensor([0, 0, 1])
    told = head.loss(**three)['loss_action_pair']
    # By hand: for each caption and clip, those that may be wrong.
    scores = head._scale() * head._pair_scores(
        head._regions(three['video']),
        three['video'],
        F.normalize(head.text(three['text'].action_QD), dim=-1),
    )
    rivals = {0: [2], 1: [2], 2: [0, 1]}
    wanted = 0.0
    for own, others in rivals.items():
        for row in (scores[:, own], scores[own]):
            logits = row[[own, *others]]
            wanted = wanted - logits.log_softmax(0)[0] / 6
    torch.testing.assert_close(told, wanted)


def test_a_hard_negative_belongs_to_its_query(make_video, make_text):
    """Negatives raise the loss, most where they fit the video best."""
    inputs, _ = batch_of(make_video, make_text, 0)
    alone = shrink(inputs, make_text, 2, [0, 1, 2, 3], [])
    head = ContrastiveActionHead(D)
    without = head.loss(**alone)['loss_action_pair']
    negatives = make_text(inputs['text'].action_QD[[0]])
    told = head.loss(
        **alone, negatives=negatives, query_of_negative=torch.tensor([0])
    )['loss_action_pair']
    # The caption itself as its own negative: a coin toss more, for one of
    # four captions, in one of two directions.
    assert told > without
    scores = head(alone['video'], alone['text'], alone['clip_of_query'])
    assert scores.shape == (4, 8)


def test_degree_of_consistency_is_a_logit(make_video, make_text):
    inputs, _ = batch_of(make_video, make_text, 0)
    torch.manual_seed(0)
    head = ContrastiveActionHead(D)
    logits = head(inputs['video'], inputs['text'], inputs['clip_of_query'])
    assert logits.shape == (8, 8)
    degree = logits.sigmoid()
    assert 0 < degree.min() < degree.max() < 1
    assert logits.std() > 0.1


def test_parting_term_has_a_margin(make_video, make_text):
    """Frames that stand apart by the margin are left alone."""
    head = ContrastiveActionHead(2, common_dims=2, part_weight=1.0)
    with torch.no_grad():
        for layer in (head.video, head.text):
            layer.weight.copy_(torch.eye(2))
            layer.bias.zero_()
    text = make_text(torch.tensor([[1.0, 0]]))
    apart = torch.tensor([[1.0, 0], [-1, 0], [-1, 0], [-1, 0]])
    same = torch.tensor([[1.0, 0]] * 4)
    losses = [
        head.loss(
            make_video(frames.view(1, 4, 1, 1, 2)),
            text,
            torch.tensor([0]),
            torch.tensor([0]),
        )['loss_action_part'].item()
        for frames in (apart, same)
    ]
    assert losses == pytest.approx([0, head.margin])


def test_weights_scale_the_terms(make_video, make_text):
    inputs, _ = batch_of(make_video, make_text, 0)
    torch.manual_seed(0)
    one = ContrastiveActionHead(D).loss(**inputs)
    torch.manual_seed(0)
    other = ContrastiveActionHead(D, loss_weight=3.0, part_weight=0.0)
    told = other.loss(**inputs)
    torch.testing.assert_close(
        told['loss_action_pair'], 3 * one['loss_action_pair']
    )
    assert told['loss_action_part'] == 0


def clip_with(*predicates):
    sample = GroundingDataSample()
    sample.queries = InstanceData(predicates=list(predicates))
    return sample


def test_an_action_that_is_not_annotated_is_no_other_clips():
    """Own footage and HC-STVG have no predicates, and learn all the same."""
    samples = [clip_with('kick', '', ''), clip_with('', 'kick', 'hold')]
    kinds = action_kinds(samples).tolist()
    assert kinds[0] == kinds[4] and kinds[1] == kinds[2]
    assert len({kinds[0], kinds[1], kinds[3], kinds[5]}) == 4


def test_clips_without_predicates_are_contrasted(make_video, make_text):
    inputs, _ = batch_of(make_video, make_text, 0)
    inputs = shrink(inputs, make_text, 2, [0, 2], [])
    inputs['kind_Q'] = action_kinds([clip_with(''), clip_with('')])
    head = ContrastiveActionHead(D)
    assert head.loss(**inputs)['loss_action_pair'] > 0.1
