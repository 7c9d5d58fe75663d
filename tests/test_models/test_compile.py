"""Neck and head as one graph for all lengths, and without the host."""

from dataclasses import replace

import pytest
import torch
from tiny_clips import make_regions, make_text
from torch._dynamo.testing import CompileCounter

from hero_mm.models import HierarchicalReasoningNeck, TubeHead

# No length equals the width: equal sizes are one symbol when compiled.
pytestmark = pytest.mark.slow
D, SLOTS = 24, 5
LENGTHS, SENTENCES = (32, 100), (1, 2, 5)


def neck_call(regions, text):
    return dict(
        regions_QTND=regions.features_BTND,
        mask_QTN=regions.mask_BTN,
        words_QLD=text.words_QLD,
        word_mask_QL=text.word_mask_QL,
        sentence_QD=text.sentence_QD,
        looks_QTNSD=regions.looks_BTNSD,
        times_QT=regions.times_BT,
        frame_mask_QT=regions.frame_mask_BT,
        fit_QTN2=torch.zeros(*regions.mask_BTN.shape, 2),
        gate_QT=torch.zeros(regions.mask_BTN.shape[:2]),
    )


def head_call(regions, text):
    x, shape = regions.features_BTND, regions.mask_BTN.shape
    known = dict(
        fit_BTN2=torch.zeros(*shape, 2), gate_BT=torch.zeros(shape[:2])
    )
    return dict(
        slots_QTND=x,
        frames_QTD=x.mean(2),
        regions=replace(regions, **known),
        text=text,
    )


PARTS = {
    'neck': (
        lambda: HierarchicalReasoningNeck(D, num_heads=2, temporal_window=8),
        neck_call,
    ),
    'head': (lambda: TubeHead(D), head_call),
}


@pytest.mark.parametrize('part', PARTS)
@torch.no_grad()
def test_two_graphs_serve_all_lengths(part):
    """One of a single sentence and one of several; the numbers are equal."""
    build, make = PARTS[part]
    torch.manual_seed(0)
    module = build().eval()
    torch._dynamo.reset()
    counter = CompileCounter()
    compiled = torch.compile(
        module, backend=counter, fullgraph=True, dynamic=True
    )
    for frames in LENGTHS:
        for sentences in SENTENCES:
            regions = make_regions(sentences, frames, SLOTS, D)
            text = make_text(torch.randn(sentences, D))
            words = make(regions, text)
            got, wanted = compiled(**words), module(**words)
            if part == 'head':
                got, wanted = got.location_QTN, wanted.location_QTN
            torch.testing.assert_close(got, wanted)
    assert counter.frame_count <= 2
