"""The reasoning neck: who sees whom, what the words do."""

import pytest
import torch

from hero_mm.models import HierarchicalReasoningNeck

D, FRAMES, SLOTS, SIZES = 16, 8, 3, 3


def build(seed: int = 0, shake: float = 0.1, **options):
    torch.manual_seed(seed)
    usual = dict(num_heads=2, num_layers=2, temporal_window=4)
    neck = HierarchicalReasoningNeck(D, **{**usual, **options})
    with torch.no_grad():
        for parameter in neck.parameters():
            parameter += shake * torch.randn_like(parameter)
    return neck.eval()


def setting(seed: int = 1, frames: int = FRAMES, queries: int = 1) -> dict:
    gen = torch.Generator().manual_seed(seed)

    def rand(*shape):
        return torch.randn(queries, *shape, generator=gen)

    mask = torch.ones(queries, frames, SLOTS, dtype=torch.bool)
    return dict(
        regions_QTND=rand(frames, SLOTS, D),
        mask_QTN=mask,
        words_QLD=rand(5, D),
        word_mask_QL=torch.ones(queries, 5, dtype=torch.bool),
        sentence_QD=rand(D),
        looks_QTNSD=rand(frames, SLOTS, SIZES, D),
        times_QT=torch.arange(frames).expand(queries, -1),
        frame_mask_QT=mask[..., 0],
        fit_QTN2=rand(frames, SLOTS, 2),
        gate_QT=rand(frames),
    )


@torch.no_grad()
def moved(neck, inputs: dict, **changes) -> tuple[float, float]:
    """How far regions and frame tokens move with a change."""
    one, other = neck(**inputs), neck(**{**inputs, **changes})
    return tuple((a - b).abs().max().item() for a, b in zip(one, other))


def seen_by(neck, frame: int, slot: int) -> set:
    """Regions that have a gradient from the result of one."""
    inputs = setting()
    inputs['regions_QTND'].requires_grad_()
    neck(**inputs)[0][0, frame, slot].square().sum().backward()
    gradient = inputs['regions_QTND'].grad[0].abs().amax(-1)
    return {tuple(place) for place in (gradient > 1e-9).nonzero().tolist()}


def without_frame_tokens(**options):
    """Their tokens, which see everything, tell the regions nothing."""
    neck = build(**options)
    for layer in neck.layers:
        for parameter in layer.frames.spread.parameters():
            torch.nn.init.zeros_(parameter)
    return neck


def test_regions_see_a_window_and_the_next_layer_more():
    """The first layer of the neck is the shifted one."""
    # And channels of the frames beside a window.
    one = without_frame_tokens(num_layers=1)
    assert {t for t, _ in seen_by(one, 3, 1)} == set(range(1, 7))
    two = without_frame_tokens(num_layers=2)
    assert {t for t, _ in seen_by(two, 3, 1)} == set(range(7))
    still = without_frame_tokens(num_layers=2, shift=False)
    assert {t for t, _ in seen_by(still, 3, 1)} == set(range(4))


INPUTS = {
    'regions_QTND': torch.zeros(1, FRAMES, SLOTS, D),
    'words_QLD': torch.zeros(1, 5, D),
    'word_mask_QL': torch.arange(5)[None] < 2,
    'sentence_QD': torch.zeros(1, D),
    'looks_QTNSD': torch.zeros(1, FRAMES, SLOTS, SIZES, D),
    'times_QT': torch.arange(FRAMES)[None] * 3,
    'fit_QTN2': torch.zeros(1, FRAMES, SLOTS, 2),
    'gate_QT': torch.full((1, FRAMES), -3.0),
}
# The joint layer has no such thing.
OWN = {'looks_QTNSD', 'gate_QT'}


@pytest.mark.parametrize('attention', ['hierarchical', 'joint'])
@pytest.mark.parametrize('name', INPUTS)
def test_every_input_has_a_part(name, attention):
    neck = build(attention=attention)
    change = moved(neck, setting(), **{name: INPUTS[name]})
    if attention == 'joint' and name in OWN:
        assert max(change) == 0
    else:
        assert min(change) > 1e-3


def test_without_words_the_sentence_is_known_to_frame_tokens_alone():
    neck, inputs = build(words=False), setting()
    assert all(layer.words is None for layer in neck.layers)
    assert max(moved(neck, inputs, words_QLD=INPUTS['words_QLD'])) == 0
    assert min(moved(neck, inputs, sentence_QD=INPUTS['sentence_QD'])) > 1e-3


@torch.no_grad()
def test_what_is_left_out_is_the_plain_case():
    """Any regions in slots will do: of a detector or a recogniser."""
    neck, inputs = build(), setting()
    looks = inputs['regions_QTND'][..., None, :].expand(-1, -1, -1, SIZES, -1)
    plain = {**inputs, 'looks_QTNSD': looks}
    plain.update(
        fit_QTN2=torch.zeros(1, FRAMES, SLOTS, 2),
        gate_QT=torch.full((1, FRAMES), 50.0),
    )
    names = ('regions_QTND', 'mask_QTN', 'words_QLD', 'word_mask_QL')
    got = neck(
        *(inputs[name] for name in names), sentence_QD=inputs['sentence_QD']
    )
    for one, other in zip(got, neck(**plain)):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)
