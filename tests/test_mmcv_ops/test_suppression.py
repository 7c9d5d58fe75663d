"""Suppression of boxes: against slow definitions and by hand."""

import math
import types

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hero_mm.mmcv_ops import common, suppression

pytestmark = pytest.mark.usefixtures('plain')


def slow_iou(a, b, offset=0):
    width = min(a[2], b[2]) - max(a[0], b[0]) + offset
    height = min(a[3], b[3]) - max(a[1], b[1]) + offset
    inter = max(width, 0) * max(height, 0)
    area = [(c[2] - c[0] + offset) * (c[3] - c[1] + offset) for c in (a, b)]
    return inter / (sum(area) - inter)


def slow_nms(boxes, scores, threshold, offset):
    order = sorted(range(len(boxes)), key=lambda i: -scores[i])
    kept = []
    for i in order:
        ious = [slow_iou(boxes[i], boxes[j], offset) for j in kept]
        if all(iou <= threshold for iou in ious):
            kept.append(i)
    return kept


def random_boxes(number, seed):
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(number, 2, generator=generator) * 20
    size = torch.rand(number, 2, generator=generator) * 15 + 1
    scores = torch.rand(number, generator=generator)
    return torch.cat([corner, corner + size], 1), scores


@pytest.mark.parametrize('offset', [0, 1])
@pytest.mark.parametrize('threshold', [0.1, 0.5, 0.9])
def test_nms_equals_the_definition(offset, threshold):
    boxes, scores = random_boxes(40, seed=3)
    kept = suppression.nms(boxes, scores, threshold, offset)
    expected = slow_nms(boxes.tolist(), scores.tolist(), threshold, offset)
    assert kept.tolist() == expected


def test_nms_drops_strictly_above_the_threshold():
    boxes = torch.tensor([[0.0, 0, 2, 2], [0.0, 0, 2, 1]])
    scores = torch.tensor([0.9, 0.8])
    assert suppression.nms(boxes, scores, 0.5).tolist() == [0, 1]
    assert suppression.nms(boxes, scores, 0.49).tolist() == [0]


def test_nms_of_nothing():
    kept = suppression.nms(torch.zeros(0, 4), torch.zeros(0), 0.5)
    assert kept.shape == (0,) and kept.dtype == torch.int64


def slow_softnms(boxes, scores, threshold, sigma, least, method):
    live, kept = dict(enumerate(scores)), []
    while live:
        best = max(live, key=live.get)
        kept.append((best, live.pop(best)))
        for i in list(live):
            iou = slow_iou(boxes[best], boxes[i])
            if method == 2:
                live[i] *= math.exp(-iou * iou / sigma)
            elif iou >= threshold:
                live[i] *= 0 if method == 0 else 1 - iou
            if live[i] < least:
                del live[i]
    return kept


@pytest.mark.parametrize('method', [0, 1, 2])
def test_softnms_equals_the_definition(method):
    boxes, scores = random_boxes(25, seed=5)
    dets = torch.empty(25, 5)
    kept = suppression.softnms(boxes, scores, dets, 0.3, 0.5, 0.05, method, 0)
    expected = slow_softnms(
        boxes.tolist(), scores.tolist(), 0.3, 0.5, 0.05, method
    )
    assert kept.tolist() == [index for index, _ in expected]
    new = torch.tensor([score for _, score in expected])
    torch.testing.assert_close(dets[: len(kept), 4], new)
    torch.testing.assert_close(dets[: len(kept), :4], boxes[kept])


def test_softnms_refuses_an_unknown_method():
    boxes, scores = random_boxes(2, seed=0)
    with pytest.raises(ValueError, match='method 7'):
        suppression.softnms(
            boxes, scores, torch.empty(2, 5), 0.3, 0.5, 0, 7, 0
        )


@given(
    number=st.integers(1, 40),
    block=st.integers(1, 12),
    threshold=st.sampled_from([0.0, 0.3, 0.7]),
    seed=st.integers(0, 99),
)
def test_nms_does_not_depend_on_the_block(number, block, threshold, seed):
    boxes, scores = random_boxes(number, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(common, 'torchvision_ops', lambda: None)
        patch.setattr(suppression, 'BLOCK', block)
        kept = suppression.nms(boxes, scores, threshold)
    expected = slow_nms(boxes.tolist(), scores.tolist(), threshold, 0)
    assert kept.tolist() == expected


def test_nms_keeps_boxes_without_area():
    boxes = torch.tensor([[1.0, 1, 1, 1], [1.0, 1, 1, 1]])
    kept = suppression.nms(boxes, torch.tensor([0.1, 0.2]), 0.5)
    assert kept.tolist() == [1, 0]


def test_torchvision_suppresses_where_it_imports(monkeypatch):
    calls = []
    vision = types.SimpleNamespace(nms=lambda *args: calls.append(args))
    monkeypatch.setattr(common, 'torchvision_ops', lambda: vision)
    boxes = torch.tensor([[0.0, 0, 2, 2]])
    suppression.nms(boxes, torch.ones(1), 0.5, offset=1)
    assert calls[0][0].tolist() == [[0, 0, 3, 3]] and calls[0][2] == 0.5


def test_nms_match_groups_what_each_box_drops():
    boxes, scores = random_boxes(30, seed=1)
    dets = torch.cat([boxes, scores[:, None]], 1)
    groups = suppression.nms_match(dets, 0.3)
    assert sorted(sum(groups, [])) == list(range(30))
    kept = [group[0] for group in groups]
    assert kept == slow_nms(boxes.tolist(), scores.tolist(), 0.3, 0)
    for best, *dropped in groups:
        order = [scores[i].item() for i in dropped]
        assert order == sorted(order, reverse=True)
        for other in dropped:
            assert slow_iou(boxes[best].tolist(), boxes[other].tolist()) > 0.3


def test_nms_match_drops_at_the_threshold():
    dets = torch.tensor([[0.0, 0, 2, 2, 0.9], [0.0, 0, 2, 1, 0.8]])
    assert suppression.nms_match(dets, 0.5) == [[0, 1]]
    assert suppression.nms_match(dets, 0.51) == [[0], [1]]
    assert suppression.nms_match(dets[:0], 0.5) == []
