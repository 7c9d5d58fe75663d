"""From what the head says to tubes: boxes, spans, frames in between."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.structures import InstanceData
from tiny_clips import make_regions

from hero_mm.models import TubeHead
from hero_mm.models.heads.tube_decoding import (
    TubeOutput,
    choose_span,
    query_edges,
    span_logits,
    spread_frames,
)
from hero_mm.structures import GroundingDataSample

# The box of slot n begins at 10 n.
STEP = 10.0


def make_output(queries: int, frames: int, slots: int, seed: int = 0):
    gen = torch.Generator().manual_seed(seed)

    def rand(*shape):
        return torch.rand(*shape, generator=gen)

    low = STEP * torch.arange(slots)[:, None].expand(queries, frames, -1, 2)
    low = low + rand(queries, frames, slots, 1)
    return TubeOutput(
        location_QTN=rand(queries, frames, slots) * 3,
        boxes_QTN4=torch.cat([low, low + 5], -1),
        early_QTN=rand(queries, frames, slots),
        start_QT=rand(queries, frames) * 3,
        end_QT=rand(queries, frames) * 3,
        offsets_QT2=rand(queries, frames, 2),
        actionness_QT=rand(queries, frames) * 4 - 2,
        span_weight=torch.tensor(0.5),
    )


def span_of(output, edges, expected_iou=False):
    return choose_span(
        span_logits(output),
        output.offsets_QT2.clamp(1e-4, 1 - 1e-4),
        edges,
        expected_iou,
    )


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


# Frames 1, 5, 9 ... of [0, 28): edges at 0, 3.5, 7.5 ...
EDGES = [0, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 28.0]


@pytest.mark.parametrize('weight', [0.0, 0.5, 2.0])
@pytest.mark.parametrize('seed', range(4))
def test_span_is_the_best_ordered_pair(weight, seed):
    output = make_output(4, 7, 2, seed)
    output.span_weight = torch.tensor(weight)
    found, scores = span_of(output, torch.tensor([EDGES] * 4))
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
            EDGES[s] + low * (EDGES[s + 1] - EDGES[s]),
            EDGES[e] + high * (EDGES[e + 1] - EDGES[e]),
        )
        assert found[query].tolist() == pytest.approx(wanted, abs=1e-3)
        assert scores[query].item() == pytest.approx(spans[s, e], 1e-3)


@pytest.mark.parametrize('expected_iou', [False, True])
def test_span_is_never_empty_nor_turned(expected_iou):
    edges = torch.tensor([0.0, 3, 4, 9]).expand(4, -1)
    for seed in range(20):
        output = make_output(4, 3, 2, seed)
        output.offsets_QT2 = output.offsets_QT2.round()
        spans, scores = span_of(output, edges, expected_iou)
        assert (spans[:, 0] < spans[:, 1]).all()
        assert ((scores >= 0) & (scores <= 1)).all()


def test_expected_iou_takes_the_span_that_most_others_agree_with():
    """Against the plain double sum over all pairs of spans."""
    num = 6
    output = make_output(3, num, 2)
    output.offsets_QT2[:] = torch.tensor([0.0, 1.0])
    output.span_weight = 0.0
    edges = torch.tensor([0.0, 1, 3, 4, 8, 9, 10])
    spans, _ = span_of(output, edges.expand(3, -1), expected_iou=True)
    ends = edges.tolist()
    pairs = [(s, e) for s in range(num) for e in range(s + 1, num + 1)]
    for row in range(3):
        weight = {
            (s, e): float(
                (output.start_QT[row, s] + output.end_QT[row, e - 1]).exp()
            )
            for s, e in pairs
        }

        def agreement(one, weight=weight):
            total = 0.0
            for other, share in weight.items():
                inter = min(ends[one[1]], ends[other[1]])
                inter -= max(ends[one[0]], ends[other[0]])
                union = max(ends[one[1]], ends[other[1]])
                union -= min(ends[one[0]], ends[other[0]])
                total += share * max(inter, 0) / union
            return total

        best = max(pairs, key=agreement)
        wanted = [ends[place] for place in best]
        assert spans[row].tolist() == pytest.approx(wanted, abs=1e-2)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_spread_frames_is_numpy_interp(data):
    num_frames = data.draw(st.integers(1, 10))
    kept = sorted(
        data.draw(st.sets(st.integers(0, num_frames - 1), min_size=1))
    )
    padding = data.draw(st.integers(0, 3))
    values = np.random.default_rng(len(kept)).normal(size=(len(kept), 2))
    times = [*kept, *[num_frames - 1] * padding]
    filled = np.concatenate([values, np.full((padding, 2), 1e3)])
    got = spread_frames(
        torch.tensor(filled)[None].float(),
        torch.tensor([times]),
        torch.tensor([[True] * len(kept) + [False] * padding]),
        num_frames,
    )
    steps = np.arange(num_frames)
    wanted = [np.interp(steps, kept, column) for column in values.T]
    np.testing.assert_allclose(got[0].numpy().T, wanted, atol=1e-5)


def make_sample(num_frames: int) -> GroundingDataSample:
    sample = GroundingDataSample(
        metainfo=dict(
            frame_inds=np.arange(num_frames) * 4 + 1,
            segment=(0, 4 * num_frames),
            ori_shape=(10_000, 10_000),
            img_shape=(32, 32),
            crop_box=(0.0, 0.0, 32.0, 32.0),
            flip=False,
        )
    )
    sample.queries = InstanceData(texts=['a man runs'])
    return sample


def test_frames_left_out_are_interpolated():
    output = make_output(1, 3, 1)
    output.boxes_QTN4[0, :, 0] = torch.tensor(
        [[0.0, 0, 4, 4], [6, 6, 10, 10], [8, 8, 12, 12]]
    )
    # Bins of kept frames reach half-way to the next kept one.
    output.start_QT[:] = output.end_QT[:] = torch.tensor([0.0, 9, 0])
    output.offsets_QT2[:] = torch.tensor([0.0, 1.0])
    regions = make_regions(1, 3, 1, 8)
    regions.times_BT = torch.tensor([[1, 4, 5]])
    samples = [make_sample(7)]
    edges = query_edges(regions, samples, torch.tensor([0]))
    (got,) = TubeHead(8).predict(output, regions, edges, samples, None)
    # The scale of the original is the same in x and y: 10,000 / 32 of ours.
    unit = got.bboxes[0, 6, 0].item() / 8
    assert (got.bboxes[0, :, 0] / unit).tolist() == pytest.approx(
        [0, 0, 2, 4, 6, 8, 8]
    )
    assert got.scores.shape == got.action_consistency.shape == (1, 7)
    # Kept frames are 5, 17, 21: edges at 0, 11.5, 19.5, 28.
    assert got.spans[0].tolist() == pytest.approx([11.5, 19.5], abs=0.01)
