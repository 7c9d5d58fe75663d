"""PhraseTubeHead: a slot and a span from scores."""

from itertools import combinations_with_replacement

import pytest
import torch
from tiny_clips import make_regions

from hero_mm.models import PhraseTubeHead
from hero_mm.models.heads.phrase_tube_head import step_logits
from hero_mm.models.heads.tube_decoding import choose_span


def fitted(scores, first, last):
    """Gaussian log-likelihood of a step, by least squares, up to a sum."""
    inside = torch.zeros(len(scores), dtype=torch.bool)
    inside[first : last + 1] = True
    total = (scores - scores.mean()).square().sum()
    if inside.all() or scores[inside].mean() <= scores[~inside].mean():
        return 0.0
    parts = scores[inside], scores[~inside]
    left = sum((part - part.mean()).square().sum() for part in parts)
    return -len(scores) / 2 * (left / total).log()


def test_a_step_is_fitted_by_least_squares(monkeypatch):
    monkeypatch.setattr('hero_mm.models.heads.phrase_tube_head.NOISE', 0.0)
    torch.manual_seed(0)
    scores = torch.rand(9)
    logits = step_logits(scores[None], torch.ones(1, 9))[0]
    for first, last in combinations_with_replacement(range(9), 2):
        wanted = fitted(scores, first, last)
        assert logits[first, last] == pytest.approx(float(wanted), abs=1e-4)
    assert logits[3, 2] == float('-inf')


def span_of(scores):
    scores = torch.tensor(scores)[None]
    number = scores.shape[1]
    logits = step_logits(scores, torch.ones(1, number))
    edges = torch.arange(number + 1.0)[None]
    offsets = torch.tensor([0.0, 1.0]).expand(1, number, 2)
    return choose_span(logits, offsets, edges, True)[0][0].tolist()


def test_a_span_is_where_scores_are_higher():
    assert span_of([0.5] * 6 + [0.8] * 4 + [0.5] * 6) == [6, 10]
    assert span_of([0.8] * 4 + [0.5] * 8) == [0, 4]


def test_the_slot_of_the_highest_mean_is_chosen():
    mask = torch.ones(1, 6, 2, dtype=torch.bool)
    mask[0, 2, 1] = mask[0, 4:, 1] = False
    scores = torch.tensor([0.3, 0.6]).expand(1, 6, 2)
    regions = make_regions(1, 6, 2, mask=mask, scores=scores)
    boxes, chosen, missed = PhraseTubeHead()(regions)
    # It may be missed in frame 2, and is gone from frame 4 on.
    assert missed[0].tolist() == [False, False, True, False, False, False]
    assert chosen[0, [0, 1, 3]].tolist() == pytest.approx([0.6] * 3)
    assert chosen[0, 4:].tolist() == pytest.approx([0.3] * 2)
    rows = torch.tensor([0, 1, 3])
    torch.testing.assert_close(boxes[0, rows], regions.boxes_BTN4[0, rows, 1])
    torch.testing.assert_close(boxes[0, 4:], regions.boxes_BTN4[0, 4:, 0])


def test_before_it_is_seen_it_is_not_missed():
    mask = torch.ones(1, 6, 2, dtype=torch.bool)
    mask[0, :2, 1] = mask[0, 4:, 1] = False
    scores = torch.tensor([0.3, 0.95]).expand(1, 6, 2)
    regions = make_regions(1, 6, 2, mask=mask, scores=scores)
    assert not PhraseTubeHead()(regions)[2].any()
