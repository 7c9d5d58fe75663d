"""Operators in plain PyTorch: against slow references and by hand."""

import math
import types

import pytest
import torch

from hero_mm import mmcv_ops


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    monkeypatch.setattr(mmcv_ops, 'torchvision_ops', lambda: None)


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
    kept = mmcv_ops.nms(boxes, scores, threshold, offset)
    expected = slow_nms(boxes.tolist(), scores.tolist(), threshold, offset)
    assert kept.tolist() == expected


def test_nms_drops_strictly_above_the_threshold():
    boxes = torch.tensor([[0.0, 0, 2, 2], [0.0, 0, 2, 1]])
    scores = torch.tensor([0.9, 0.8])
    assert mmcv_ops.nms(boxes, scores, 0.5).tolist() == [0, 1]
    assert mmcv_ops.nms(boxes, scores, 0.49).tolist() == [0]


def test_nms_of_nothing():
    kept = mmcv_ops.nms(torch.zeros(0, 4), torch.zeros(0), 0.5)
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
    kept = mmcv_ops.softnms(boxes, scores, dets, 0.3, 0.5, 0.05, method, 0)
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
        mmcv_ops.softnms(boxes, scores, torch.empty(2, 5), 0.3, 0.5, 0, 7, 0)


def align(features, rois, size=(2, 2), scale=1.0, ratio=2, aligned=True):
    output = features.new_empty(len(rois), features.shape[1], *size)
    none = features.new_zeros(0)
    mmcv_ops.roi_align_forward(
        features, rois, output, none, none, *size, scale, ratio, 1, aligned
    )
    return output


def ramp(height=12, width=10):
    """Two channels that hold the column and the row of each cell."""
    ys, xs = torch.meshgrid(
        torch.arange(height), torch.arange(width), indexing='ij'
    )
    return torch.stack([xs, ys]).float()[None]


@pytest.mark.parametrize('ratio', [0, 1, 2, 3])
def test_roi_align_reads_the_centre_of_each_bin(ratio):
    rois = torch.tensor([[0.0, 4, 2, 12, 10]])
    pooled = align(ramp(), rois, scale=0.5, ratio=ratio)[0]
    # In cells the region is x 2 to 6 and y 1 to 5, bins of 2, half a cell off.
    torch.testing.assert_close(pooled[0, 0], torch.tensor([2.5, 4.5]))
    torch.testing.assert_close(pooled[1, :, 0], torch.tensor([1.5, 3.5]))
    shifted = align(ramp(), rois, scale=0.5, ratio=ratio, aligned=False)[0]
    torch.testing.assert_close(shifted, pooled + 0.5)


def test_roi_align_takes_the_image_of_the_index():
    features = torch.stack([torch.zeros(1, 6, 6), torch.ones(1, 6, 6)])
    rois = torch.tensor([[1.0, 0, 0, 4, 4], [0.0, 0, 0, 4, 4]])
    pooled = align(features, rois)
    assert pooled[0].unique().tolist() == [1]
    assert pooled[1].unique().tolist() == [0]


def test_roi_align_is_zero_far_outside():
    rois = torch.tensor([[0.0, 50, 50, 60, 60]])
    assert not align(torch.ones(1, 1, 6, 6), rois).any()


def test_roi_align_backward_is_the_gradient():
    features = torch.randn(2, 3, 7, 6, dtype=torch.float64)
    rois = torch.tensor(
        [[0.0, 1, 1, 9, 8], [1.0, 3, 2, 5, 12], [0.0, 0, 0, 2, 2]],
        dtype=torch.float64,
    )
    grad_output = torch.randn(3, 3, 2, 2, dtype=torch.float64)
    grad_input = torch.zeros_like(features)
    none = features.new_zeros(0)
    mmcv_ops.roi_align_backward(
        grad_output, rois, none, none, grad_input, 2, 2, 0.5, 2, 1, True
    )
    direction = torch.randn_like(features)
    step = align(features + direction, rois, scale=0.5) - align(
        features, rois, scale=0.5
    )
    torch.testing.assert_close(
        (grad_input * direction).sum(), (step * grad_output).sum()
    )


def test_roi_align_of_no_region():
    assert align(torch.ones(1, 4, 6, 6), torch.zeros(0, 5)).shape[1] == 4


def test_roi_align_refuses_maximum_pooling():
    none = torch.zeros(0)
    with pytest.raises(NotImplementedError, match='compiled mmcv'):
        mmcv_ops.roi_align_forward(
            none, none, none, none, none, 2, 2, 1.0, 2, 0, True
        )


def test_torchvision_is_used_where_it_imports(monkeypatch):
    calls = []

    def fake(*args):
        calls.append(args)
        return torch.zeros(1, 1, 2, 2)

    vision = types.SimpleNamespace(nms=fake, roi_align=fake)
    monkeypatch.setattr(mmcv_ops, 'torchvision_ops', lambda: vision)
    boxes = torch.tensor([[0.0, 0, 2, 2]])
    mmcv_ops.nms(boxes, torch.ones(1), 0.5, offset=1)
    assert calls[0][0].tolist() == [[0, 0, 3, 3]]
    align(torch.ones(1, 1, 6, 6), torch.zeros(1, 5), ratio=0)
    # torchvision chooses the number of samples at -1, mmcv at 0.
    assert calls[1][2:] == ((2, 2), 1.0, -1, True)


def test_an_absent_operator_names_itself_and_the_cure():
    module = mmcv_ops.MMCVExtension('mmcv._ext')
    with pytest.raises(NotImplementedError, match='carafe_forward.*compiled'):
        module.carafe_forward(1)
    assert not hasattr(module, '__path__')
