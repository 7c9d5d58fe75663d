"""From what the head says to tubes: regions, boxes, links, spans, pixels."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from hero_mm.models import TubeHead
from hero_mm.models.features import decode_boxes
from hero_mm.models.heads.region_boxes import positive_regions
from hero_mm.models.heads.tube_decoding import (
    TubeOutput,
    decode_span,
    span_logits,
)
from hero_mm.models.losses import box_iou_pairs
from hero_mm.structures import GroundingDataSample


def centres(height: int, width: int, stride: float = 8.0):
    y, x = torch.meshgrid(
        (torch.arange(height) + 0.5) * stride,
        (torch.arange(width) + 0.5) * stride,
        indexing='ij',
    )
    return torch.stack([x, y], -1).flatten(0, 1)


def make_sample(num_frames: int, **meta) -> GroundingDataSample:
    usual = dict(
        frame_inds=np.arange(num_frames) * 4 + 1,
        segment=(0, 4 * num_frames),
        ori_shape=(10_000, 10_000),
        img_shape=(32, 32),
        crop_box=(0.0, 0.0, 32.0, 32.0),
        flip=False,
    )
    return GroundingDataSample(metainfo={**usual, **meta})


def make_output(queries: int, frames: int, regions: int, seed: int = 0):
    gen = torch.Generator().manual_seed(seed)

    def rand(*shape):
        return torch.rand(*shape, generator=gen)

    low = rand(queries, frames, regions, 2) * 20
    boxes = torch.cat([low, low + 2 + 20 * rand(*low.shape)], -1)
    return TubeOutput(
        location_QTN=rand(queries, frames, regions) * 3,
        boxes_QTN4=boxes,
        start_QT=rand(queries, frames) * 3,
        end_QT=rand(queries, frames) * 3,
        offsets_QT2=rand(queries, frames, 2),
        actionness_QT=rand(queries, frames) * 4 - 2,
        span_weight=torch.tensor(0.5),
    )


def decode(output, samples=None, consistency=None, **options):
    frames = output.start_QT.shape[1]
    samples = samples or [make_sample(frames)]
    head = TubeHead(8, num_heads=2, num_span_layers=0, **options)
    queries = torch.zeros(len(output.start_QT), dtype=torch.long)
    return head.predict(output, samples, queries, consistency)[0]


# --- regions and boxes -----------------------------------------------------


def test_decode_boxes_by_hand():
    raw = torch.tensor([[0.0, 0, 0, 0], [0.5, -1, np.log(2), np.log(4)]])
    at = torch.tensor([[4.0, 4], [12, 4]])
    told = decode_boxes(raw, at, (8.0, 8.0))
    assert told[0].tolist() == [0, 0, 8, 8]
    # Half a region to the right, one up; 16 wide, 32 high.
    assert told[1].tolist() == pytest.approx([8, -20, 24, 12], abs=1e-4)


def test_decode_boxes_of_wild_numbers_are_boxes():
    raw = torch.tensor([[0.0, 0, 1e4, -1e4]], requires_grad=True)
    told = decode_boxes(raw, torch.zeros(1, 2), (8.0, 4.0))
    assert told.isfinite().all()
    assert (told[:, 2:] > told[:, :2]).all()


def slow_positive(box, height, width, stride, radius) -> set:
    middle = (box[:2] + box[2:]) / 2
    found = set()
    for row, column in itertools.product(range(height), range(width)):
        centre = np.array([(column + 0.5) * stride, (row + 0.5) * stride])
        far = np.abs(centre - middle)
        holds = (far <= stride / 2).all()
        near = far <= np.maximum(radius * (box[2:] - box[:2]), stride / 2)
        if holds or near.all():
            found.add(row * width + column)
    return found


@pytest.mark.parametrize('radius', [0.0, 0.25, 0.5])
def test_positive_regions_against_a_loop(radius):
    rng = np.random.default_rng(0)
    for _ in range(40):
        low = rng.uniform(0, 36, 2)
        box = np.concatenate([low, low + rng.uniform(0.1, 40, 2)])
        box = np.minimum(box, [48, 40, 48, 40])
        told = positive_regions(
            torch.tensor(box).float(), centres(5, 6), (8.0, 8.0), radius
        )
        assert set(told.nonzero()[:, 0].tolist()) == slow_positive(
            box, 5, 6, 8.0, radius
        )


def test_every_box_has_a_region_however_small():
    rng = np.random.default_rng(1)
    middle = torch.tensor(rng.uniform(0, 32, (50, 2))).float()
    boxes = torch.cat([middle - 0.01, middle + 0.01], -1)
    told = positive_regions(boxes, centres(4, 4), (8.0, 8.0), 0.0)
    assert told.shape == (50, 16)
    assert told.any(-1).all()
    place = (middle / 8).long().clamp(max=3)
    held = told.gather(1, (place[:, 1] * 4 + place[:, 0])[:, None])
    assert held.all(), 'the region that holds the centre answers'


def test_wider_radius_takes_more_regions():
    box = torch.tensor([2.0, 2, 46, 38])
    counts = [
        positive_regions(box, centres(5, 6), (8.0, 8.0), radius).sum().item()
        for radius in (0.0, 0.25, 0.5)
    ]
    assert counts == sorted(counts)
    assert counts[0] < counts[2] == 30


# --- linking ---------------------------------------------------------------


def brute_force_tube(location, boxes, weight: float) -> list[int]:
    """The best of all ways through the regions of a query."""
    frames, regions = location.shape
    log_prob = location.log_softmax(-1)
    best, best_way = -np.inf, None
    for way in itertools.product(range(regions), repeat=frames):
        score = sum(log_prob[t, n].item() for t, n in enumerate(way))
        for t in range(1, frames):
            iou, _ = box_iou_pairs(boxes[t - 1, way[t - 1]], boxes[t, way[t]])
            score += weight * iou.item()
        if score > best:
            best, best_way = score, way
    return list(best_way)


@pytest.mark.parametrize('weight', [0.5, 2.0, 8.0])
def test_linking_is_the_best_of_all_tubes(weight):
    output = make_output(3, 5, 4, seed=int(weight))
    told = decode(output, link_weight=weight, link_candidates=4)
    for query in range(3):
        boxes = output.boxes_QTN4[query]
        way = brute_force_tube(output.location_QTN[query], boxes, weight)
        wanted = boxes[range(5), way]
        torch.testing.assert_close(told.bboxes[query], wanted)
        prob = output.location_QTN[query].softmax(-1)
        torch.testing.assert_close(told.scores[query], prob[range(5), way])


def test_without_links_each_frame_takes_its_best():
    output = make_output(2, 6, 7)
    told = decode(output, link_weight=0)
    prob, best = output.location_QTN.softmax(-1).max(-1)
    torch.testing.assert_close(told.scores, prob)
    index = best[..., None, None].expand(-1, -1, 1, 4)
    wanted = output.boxes_QTN4.gather(2, index)[:, :, 0]
    torch.testing.assert_close(told.bboxes, wanted)


def test_link_bridges_one_bad_frame():
    """A distractor wins one frame alone, but not the tube."""
    output = make_output(1, 5, 2)
    output.boxes_QTN4[..., 0, :] = torch.tensor([0.0, 0, 10, 10])
    output.boxes_QTN4[..., 1, :] = torch.tensor([20.0, 20, 30, 30])
    output.location_QTN[:] = torch.tensor([1.0, 0.0])
    output.location_QTN[0, 2] = torch.tensor([0.0, 0.5])
    assert decode(output, link_weight=0).bboxes[0, 2, 0] == 20
    assert decode(output, link_weight=1.0).bboxes[0, :, 0].abs().max() == 0


def test_fewer_regions_than_candidates():
    told = decode(make_output(2, 3, 2), link_candidates=50)
    assert told.bboxes.shape == (2, 3, 4)


# --- span ------------------------------------------------------------------


def all_spans(output, query: int, weight: float) -> dict:
    """Probability of each pair of first and last frame."""
    start, end = output.start_QT[query], output.end_QT[query]
    gain = output.actionness_QT[query]
    logits = {
        (s, e): (start[s] + end[e] + weight * gain[s : e + 1].sum()).item()
        for s in range(len(start))
        for e in range(s, len(start))
    }
    total = np.logaddexp.reduce(list(logits.values()))
    return {pair: np.exp(value - total) for pair, value in logits.items()}


@pytest.mark.parametrize('weight', [0.0, 0.5, 2.0])
def test_span_logits_against_a_loop(weight):
    output = make_output(3, 5, 2)
    output.span_weight = torch.tensor(weight)
    output.start_QT[0, 3:] = output.end_QT[0, 3:] = float('-inf')
    told = span_logits(output).flatten(1).softmax(-1).view(3, 5, 5)
    for query, frames in enumerate((3, 5, 5)):
        cut = replace(
            output,
            start_QT=output.start_QT[:, :frames],
            end_QT=output.end_QT[:, :frames],
        )
        wanted = torch.zeros(5, 5)
        for (s, e), prob in all_spans(cut, query, weight).items():
            wanted[s, e] = prob
        torch.testing.assert_close(told[query], wanted, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize('weight', [0.0, 0.5, 2.0])
@pytest.mark.parametrize('seed', range(4))
def test_span_is_the_best_ordered_pair(weight, seed):
    output = make_output(4, 7, 2, seed)
    output.span_weight = torch.tensor(weight)
    told = decode(output)
    # Frames 1, 5, 9 ... of [0, 28): edges at 0, 3.5, 7.5 ...
    inds = np.arange(7) * 4 + 1
    edges = np.concatenate([[0], (inds[1:] + inds[:-1] + 1) / 2, [28]])
    for query in range(4):
        offsets = output.offsets_QT2[query]
        spans = {
            (s, e): prob
            for (s, e), prob in all_spans(output, query, weight).items()
            if s < e or offsets[s, 0] < offsets[e, 1]
        }
        s, e = max(spans, key=spans.get)
        low, high = offsets[[s, e], [0, 1]].tolist()
        wanted = (
            edges[s] + low * (edges[s + 1] - edges[s]),
            edges[e] + high * (edges[e + 1] - edges[e]),
        )
        assert told.spans[query].tolist() == pytest.approx(wanted, abs=1e-3)
        assert told.span_scores[query].item() == pytest.approx(
            spans[s, e], 1e-3
        )


def test_span_of_one_frame():
    output = make_output(2, 1, 2)
    output.offsets_QT2[0, 0] = torch.tensor([0.25, 0.5])
    # Out of order: there is no other bin, so it is all of the clip.
    output.offsets_QT2[1, 0] = torch.tensor([0.9, 0.1])
    told = decode(output)
    assert told.spans.tolist() == [[1, 2], [0, 4]]


def test_span_is_never_empty_nor_turned():
    for seed in range(20):
        output = make_output(4, 3, 2, seed)
        output.offsets_QT2 = output.offsets_QT2.round()
        spans = decode(output).spans
        assert (spans[:, 0] < spans[:, 1]).all()


# --- pixels ----------------------------------------------------------------


def one_box(box, **meta):
    output = make_output(1, 2, 1)
    output.boxes_QTN4[:] = torch.tensor(box)
    return decode(output, [make_sample(2, **meta)]).bboxes[0, 0].tolist()


def test_boxes_of_an_untouched_frame():
    meta = dict(ori_shape=(32, 32))
    assert one_box([1.0, 2, 11, 22], **meta) == [1, 2, 11, 22]


def test_boxes_are_clipped_to_the_original():
    meta = dict(ori_shape=(24, 28), crop_box=(0.0, 0.0, 32.0, 32.0))
    assert one_box([-3.0, -1, 50, 60], **meta) == [0, 0, 28, 24]


def test_boxes_go_back_through_resize():
    """128 x 64 pixels became 32 x 32."""
    meta = dict(ori_shape=(64, 128), crop_box=(0.0, 0.0, 128.0, 64.0))
    assert one_box([1.0, 2, 11, 22], **meta) == [4, 4, 44, 44]


def test_boxes_go_back_through_crop_resize_and_flip():
    rng = np.random.default_rng(0)
    crop = np.array([40.0, 10.0, 104.0, 58.0])
    for flip in (False, True):
        box = rng.uniform([40, 10, 72, 34], [72, 34, 104, 58])
        # Forward, as the transforms do it: crop, resize, mirror.
        small = box - crop[[0, 1, 0, 1]]
        small = small * np.array([32 / 64, 24 / 48] * 2)
        if flip:
            small[[0, 2]] = 32 - small[[2, 0]]
        meta = dict(
            ori_shape=(80, 120),
            img_shape=(24, 32),
            crop_box=tuple(crop),
            flip=flip,
        )
        told = one_box(small.tolist(), **meta)
        assert told == pytest.approx(box.tolist(), abs=1e-4)


# --- clips and frames that were left out -----------------------------------


def test_consistency_is_told_as_a_degree():
    output = make_output(1, 3, 2)
    logits = torch.tensor([[-2.0, 0.0, 2.0]])
    told = decode(output, consistency=logits).action_consistency
    torch.testing.assert_close(told, logits.sigmoid())
    without = decode(output).action_consistency
    torch.testing.assert_close(without, output.actionness_QT.sigmoid())


def test_each_clip_gets_its_queries_and_its_frames():
    output = make_output(3, 5, 2)
    hide = float('-inf')
    output.start_QT[0, 3:] = output.end_QT[0, 3:] = hide
    samples = [make_sample(3), make_sample(5)]
    head = TubeHead(8, num_heads=2, num_span_layers=0)
    first, second = head.predict(
        output, samples, torch.tensor([0, 1, 1]), None
    )
    assert first.bboxes.shape == (1, 3, 4)
    assert second.bboxes.shape == (2, 5, 4)
    assert first.spans.max() <= 12
    cut = TubeOutput(
        **{
            name: getattr(output, name)[:1, :3]
            for name in (
                'location_QTN',
                'boxes_QTN4',
                'start_QT',
                'end_QT',
                'offsets_QT2',
                'actionness_QT',
            )
        }
    )
    alone = decode(cut)
    torch.testing.assert_close(first.bboxes, alone.bboxes)
    torch.testing.assert_close(first.spans, alone.spans)


def test_frames_left_out_are_interpolated():
    output = make_output(1, 3, 1)
    output.boxes_QTN4[0, :, 0] = torch.tensor(
        [[0.0, 0, 4, 4], [6, 6, 10, 10], [8, 8, 12, 12]]
    )
    output.kept_QS = torch.tensor([[1, 4, 5]])
    told = decode(output, [make_sample(7)])
    assert told.bboxes[0, :, 0].tolist() == [0, 0, 2, 4, 6, 8, 8]
    assert told.scores.shape == (1, 7)
    # Bins of kept frames reach half-way to the next kept one.
    output.start_QT[:] = torch.tensor([0.0, 9, 0])
    output.end_QT[:] = torch.tensor([0.0, 9, 0])
    output.offsets_QT2[:] = torch.tensor([0.0, 1.0])
    told = decode(output, [make_sample(7)])
    # Kept frames are 5, 17, 21: edges at 0, 11.5, 19.5, 28.
    assert told.spans[0].tolist() == pytest.approx([11.5, 19.5], abs=0.01)


def test_expected_iou_takes_the_span_that_most_others_agree_with():
    """Against the plain double sum over all pairs of spans."""
    torch.manual_seed(0)
    num = 6
    start, end = torch.randn(3, num) * 2, torch.randn(3, num) * 2
    output = TubeOutput(
        location_QTN=torch.zeros(3, num, 4),
        boxes_QTN4=torch.zeros(3, num, 4, 4),
        start_QT=start,
        end_QT=end,
        offsets_QT2=torch.tensor([0.0, 1.0]).expand(3, num, 2),
        actionness_QT=torch.zeros(3, num),
    )
    edges = torch.arange(num + 1.0).expand(3, -1)
    spans, _ = decode_span(output, edges, expected_iou=True)
    pairs = [(s, e) for s in range(num) for e in range(s + 1, num + 1)]
    for row in range(3):
        weight = {
            (s, e): float((start[row, s] + end[row, e - 1]).exp())
            for s, e in pairs
        }

        def agreement(one, weight=weight):
            total = 0.0
            for other, share in weight.items():
                inter = min(one[1], other[1]) - max(one[0], other[0])
                union = max(one[1], other[1]) - min(one[0], other[0])
                total += share * max(inter, 0) / union
            return total

        best = max(pairs, key=agreement)
        assert spans[row].tolist() == pytest.approx(best, abs=1e-3)
