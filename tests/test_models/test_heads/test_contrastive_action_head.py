"""The contrastive action head: what it says, and what is a negative."""

import pytest
import torch
from mmengine.structures import InstanceData
from torch import nn

from hero_mm.models import ContrastiveActionHead
from hero_mm.models.heads.contrastive_action_head import SlotTextFit
from hero_mm.structures import GroundingDataSample

# Looks stand in the first half of the features, actions in the second.
D = 8
HALF = D // 2


def plain_head(**options) -> ContrastiveActionHead:
    """A head that compares features as they are."""
    head = ContrastiveActionHead(D, common_dims=HALF, **options)
    fit = head.fit
    fit.norm = nn.Identity()
    with torch.no_grad():
        fit.region.weight.copy_(torch.eye(D))
        fit.text_look.weight.copy_(torch.eye(D)[:HALF])
        fit.text_action.weight.copy_(torch.eye(D)[HALF:])
        for layer in (fit.region, fit.text_look, fit.text_action):
            layer.bias.zero_()
    return head


def shows(look: int, action: int) -> torch.Tensor:
    """Features of what looks and acts so."""
    return torch.cat([torch.eye(HALF)[look], torch.eye(HALF)[action]])


def samples_of(*clips, video=None) -> list[GroundingDataSample]:
    """Clips of captions, given by their predicates."""
    samples = []
    for place, names in enumerate(clips):
        sample = GroundingDataSample()
        sample.queries = InstanceData(predicates=list(names))
        if video is not None:
            sample.set_metainfo(dict(video_predicates=list(video[place])))
        samples.append(sample)
    return samples


@pytest.fixture
def batch(make_regions, make_text):
    """Function: random clips, captions and hard negatives for a loss."""

    def make(owners, predicates, negatives=(), video=None, seed=0, **shape):
        torch.manual_seed(seed)
        usual = dict(frames=5, regions=4, dims=D, seed=seed)
        clips = torch.tensor(owners)
        names = [
            [name for name, owner in zip(predicates, owners) if owner == clip]
            for clip in range(max(owners) + 1)
        ]
        return dict(
            regions=make_regions(len(names), **{**usual, **shape}),
            text=make_text(torch.randn(len(owners), D)),
            clip_of_query=clips,
            samples=samples_of(*names, video=video),
            negatives=make_text(torch.randn(len(negatives), D)),
            query_of_negative=torch.tensor(negatives, dtype=torch.long),
        )

    return make


# --- late fusion ---


def unit(vector):
    return vector / vector.norm().clamp(min=1e-12)


@torch.no_grad()
def test_late_fusion_agrees_with_a_loop_over_regions(make_regions, make_text):
    torch.manual_seed(0)
    fit = SlotTextFit(D, HALF)
    mask = torch.ones(2, 4, 3, dtype=torch.bool)
    mask[0, 1, 2] = mask[1, :, 0] = False
    clip = make_regions(2, 4, 3, D, mask=mask, real=[4, 3])
    text = make_text(torch.randn(3, D))
    text.sentence_QD = torch.randn(3, D)
    clips = torch.tensor([0, 1, 1])
    got = fit(clip, text, clips)
    assert got.shape == (3, 4, 3, 2)
    for q, t, n in torch.ones(3, 4, 3).nonzero().tolist():
        b = clips[q]
        look = torch.zeros(HALF)
        for frame in range(4):
            if clip.mask_BTN[b, frame, n]:
                region = clip.features_BTND[b, frame, n]
                look += fit.region(fit.norm(region))[:HALF]
        action = fit.region(fit.norm(clip.features_BTND[b, t, n]))[HALF:]
        its_look = unit(fit.text_look(text.sentence_QD[q]))
        its_action = unit(fit.text_action(text.action_QD[q]))
        wanted = torch.stack(
            [unit(look) @ its_look, unit(action) @ its_action]
        )
        torch.testing.assert_close(got[q, t, n], wanted, atol=1e-5, rtol=1e-4)


# --- the degree of consistency ----------------------------------------------


def frame_scores(head, regions, text, clip: int, query: int) -> list[float]:
    """The smooth maximum over slots, region by region."""
    fit = head.fit(regions, text, torch.full((len(text.action_QD),), clip))
    scores = []
    for frame in range(fit.shape[1]):
        present = fit[query, frame][regions.mask_BTN[clip, frame]].sum(-1)
        smooth = head.temperature * (present / head.temperature).logsumexp(0)
        scores.append(max(smooth.item(), -2.0))
    return scores


def top_mean(scores: list[float], ratio: float) -> float:
    number = max(1, -int(-len(scores) * ratio // 1))
    return sum(sorted(scores, reverse=True)[:number]) / number


@torch.no_grad()
@pytest.mark.parametrize('supervision', ['video', 'span'])
def test_logits_agree_with_a_loop(supervision, make_regions, make_text):
    torch.manual_seed(0)
    head = plain_head(supervision=supervision)
    mask = torch.rand(2, 6, 3) < 0.7
    mask[0, 2] = False
    regions = make_regions(2, 6, 3, D, mask=mask, real=[6, 4])
    text, clips = make_text(torch.randn(3, D)), torch.tensor([0, 1, 1])
    got = head(regions, text, clips)
    for query, (clip, frames) in enumerate(((0, 6), (1, 4), (1, 4))):
        scores = frame_scores(head, regions, text, clip, query)[:frames]
        if supervision == 'video':
            mean = sum(scores) / frames
            border = (top_mean(scores, 0.25) + mean) / 2
        else:
            border = head.offset.item()
        wanted = [head.fit.scale().item() * (s - border) for s in scores]
        assert got[query, :frames].tolist() == pytest.approx(wanted, abs=1e-3)


@torch.no_grad()
def test_one_perfect_region_among_64(make_regions, make_text):
    """It outweighs any number of others: a frame is as good as its best."""
    head, slots = plain_head(supervision='span'), 64
    text = make_text(shows(0, 0)[None].expand(4, D))
    features = torch.stack(
        [
            shows(1, 1).repeat(slots, 1),
            # Right in looks or in action, but in no slot in both.
            torch.stack([shows(0, 1), shows(1, 0)]).repeat(slots // 2, 1),
            shows(1, 1).repeat(slots, 1),
            shows(0, 0).repeat(slots, 1),
        ]
    )
    features[2, 40] = shows(0, 0)
    regions = make_regions(4, 1, slots, D, features=features[:, None])
    logits = head(regions, text, torch.arange(4))[:, 0]
    scores = logits / head.fit.scale() + head.offset
    nothing, halves, one, all_of_them = scores.tolist()
    assert one == pytest.approx(2, abs=0.05)
    assert nothing < 0.5 and halves < 1.5
    # Among the best possible, 64 of them count little more than one.
    assert all_of_them - one < 0.5


# --- the loss over pairs ----------------------------------------------------


def slow_loss(head, inputs) -> float:
    """InfoNCE over clips and captions, pair by pair, nothing left out."""
    regions, text = inputs['regions'], inputs['text']
    clips = inputs['clip_of_query'].tolist()
    scale = head.fit.scale().item()

    def pair(text, clip, caption) -> float:
        scores = frame_scores(head, regions, text, clip, caption)
        real = int(regions.frame_mask_BT[clip].sum())
        return scale * top_mean(scores[:real], 0.25)

    total = 0.0
    for query, own in enumerate(clips):
        right = pair(text, own, query)
        others = [
            pair(text, clip, query)
            for clip in range(len(regions.mask_BTN))
            if clip != own
        ]
        wrong = [
            pair(text, own, caption)
            for caption, clip in enumerate(clips)
            if clip != own
        ]
        wrong += [
            pair(inputs['negatives'], own, place)
            for place, of in enumerate(inputs['query_of_negative'].tolist())
            if of == query
        ]
        for rivals in (others, wrong):
            logits = torch.tensor([right, *rivals], dtype=torch.float64)
            total -= logits.log_softmax(0)[0].item() / 2
    return total / len(clips)


CASES = {
    'one clip, one query': ([0], []),
    'one clip, one query, one negative': ([0], [0]),
    'one clip, two queries': ([0, 0], []),
    'one query a clip': ([0, 1, 2], []),
    'two negatives for one query, none for others': ([0, 1, 2], [1, 1]),
    'negatives out of order': ([0, 0, 1, 1], [3, 0, 3, 2]),
    'a clip with one query beside one with two': ([0, 1, 1], [2]),
}


@pytest.mark.parametrize('case', CASES)
def test_loss_agrees_with_a_loop_over_pairs(case, batch):
    owners, negatives = CASES[case]
    torch.manual_seed(0)
    names = [f'action {place}' for place in range(len(owners))]
    mask = torch.rand(max(owners) + 1, 5, 4) < 0.8
    real = [5, 3, 4][: max(owners) + 1]
    inputs = batch(owners, names, negatives, mask=mask, real=real)
    head = plain_head()
    losses = head.loss(**inputs)
    assert set(losses) == {'loss_action_contrast'}
    loss = losses['loss_action_contrast']
    with torch.no_grad():
        assert loss.item() == pytest.approx(slow_loss(head, inputs), abs=1e-4)
    loss.backward()
    for name, parameter in head.named_parameters():
        if parameter.grad is not None:
            assert parameter.grad.isfinite().all(), name


TRUE = {
    'the same action': (['kick', 'kick'], None),
    'true of the videos': (['kick', 'hold'], (['hold'], ['kick'])),
}


@pytest.mark.parametrize('case', TRUE)
def test_a_caption_that_is_true_of_another_clip_is_no_negative(case, batch):
    names, video = TRUE[case]
    head = plain_head()
    contrast = head.loss(**batch([0, 1], ['kick', 'hold']))
    assert contrast['loss_action_contrast'] > 0.01
    left_out = head.loss(**batch([0, 1], names, video=video))
    assert left_out['loss_action_contrast'].item() == pytest.approx(
        0, abs=1e-6
    )


# --- true tubes, for those who have them ------------------------------------


def test_span_loss_agrees_with_the_formula(make_regions, make_text):
    torch.manual_seed(0)
    head = plain_head(supervision='span')
    regions = make_regions(2, 3, 4, D)
    text, clips = make_text(torch.randn(3, D)), torch.tensor([0, 1, 1])
    showing, asked = torch.rand(3, 3, 4) < 0.2, torch.rand(3, 3, 4) < 0.7
    showing[0, 0, 0] = asked[0, 0, 0] = True
    got = head.span_loss(regions, text, clips, showing, asked)
    fit = head.fit(regions, text, clips).sum(-1)
    logits = head.fit.scale() * (fit - head.offset)
    prob = torch.where(showing, logits.sigmoid(), (-logits).sigmoid())
    focal = -0.5 * (1 - prob) ** 2 * prob.log() * asked
    number = (showing & asked).any(-1).sum()
    wanted = 5 * focal.sum() / number
    assert set(got) == {'loss_action_span'}
    torch.testing.assert_close(got['loss_action_span'], wanted)
    got['loss_action_span'].backward()
    assert head.offset.grad.abs() > 0


def test_without_span_supervision_no_tube_is_looked_at():
    assert plain_head().span_loss(None, None, None, None, None) == {}
    with pytest.raises(ValueError, match="'video' or 'span'.*'frame'"):
        plain_head(supervision='frame')
