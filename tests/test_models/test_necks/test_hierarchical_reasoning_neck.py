"""The reasoning neck: who sees whom, what the words do, cost."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from hero_mm.models import HierarchicalReasoningNeck, TextFeatures

D = 16


def build(**options):
    torch.manual_seed(0)
    options = dict(
        dict(
            num_heads=2,
            num_clip_layers=1,
            num_region_layers=0,
            num_layers=1,
            spatial_window=2,
            temporal_window=2,
            scales=(1,),
            shift_windows=False,
            shift_div=0,
            frame_tokens=False,
        ),
        **options,
    )
    return HierarchicalReasoningNeck(D, **options).eval()


def words(queries: int = 1, length: int = 4, seed: int = 2) -> TextFeatures:
    gen = torch.Generator().manual_seed(seed)
    features = torch.randn(queries, length, D, generator=gen)
    mask = torch.ones(queries, length, dtype=torch.bool)
    return TextFeatures(
        features, mask, features.mean(1), features[:, 0], mask / length
    )


@torch.no_grad()
def seen_from(neck, make_video, size, place, encode=False) -> set:
    """Regions whose result moves with the region at ``place``."""
    torch.manual_seed(1)
    regions = torch.randn(1, *size, D)
    other = regions.clone()
    other[(0, *place)] += torch.randn(D)
    results = []
    for grid in (regions, other):
        video = make_video(grid)
        if encode:
            results.append(neck.encode_clip(video).regions_BTHWD)
        else:
            results.append(neck(video, words())[0])
    change = (results[0] - results[1]).abs().amax(-1)[0]
    return {tuple(i) for i in (change > 1e-6).nonzero().tolist()}


def test_a_layer_is_local_in_space_and_time(make_video):
    """A window of 2 x 2 regions, then of two frames."""
    seen = seen_from(build(), make_video, (6, 4, 4), (2, 0, 3))
    assert seen == {(t, h, w) for t in (2, 3) for h in (0, 1) for w in (2, 3)}


def test_clip_layers_are_local_too(make_video):
    seen = seen_from(build(), make_video, (4, 4, 4), (0, 0, 0), encode=True)
    assert seen == {(t, h, w) for t in (0, 1) for h in (0, 1) for w in (0, 1)}


def test_shifted_windows_cross_the_edges(make_video):
    """Two layers, of which the second is shifted, reach over a window."""
    still = build(num_layers=2)
    moved = build(num_layers=2, shift_windows=True)
    size, place = (8, 4, 4), (3, 1, 1)
    near = seen_from(still, make_video, size, place)
    far = seen_from(moved, make_video, size, place)
    assert {t for t, _, _ in near} == {2, 3}
    # The layer after one clip layer is the shifted one.
    assert {t for t, _, _ in far} == {2, 3, 4, 5}
    assert {h for _, h, _ in far} > {h for _, h, _ in near}


def test_channels_of_neighbouring_frames(make_video):
    """The temporal shift lets one frame look over the edge of a window."""
    seen = seen_from(
        build(shift_div=4, spatial_window=0), make_video, (6, 1, 1), (2, 0, 0)
    )
    # Frame 2 is told to 1 and 3, and those to their windows.
    assert seen == {(t, 0, 0) for t in range(4)}


def test_frame_tokens_see_everything(make_video):
    seen = seen_from(
        build(frame_tokens=True), make_video, (6, 4, 4), (0, 0, 0)
    )
    assert len(seen) == 6 * 4 * 4


def test_joint_attention_sees_everything(make_video):
    seen = seen_from(
        build(attention='joint'), make_video, (6, 4, 4), (0, 0, 0)
    )
    assert len(seen) == 6 * 4 * 4


@pytest.mark.parametrize('attention', ['hierarchical', 'joint'])
def test_words_change_regions_and_frames(attention, make_video):
    neck = build(attention=attention, frame_tokens=True)
    video = make_video(torch.randn(1, 3, 2, 2, D))
    regions, frames = neck(video, words())
    assert regions.shape == (1, 3, 2, 2, D)
    assert frames.shape == (1, 3, D)
    told = neck(video, words(seed=3))
    for one, other in zip((regions, frames), told):
        assert (one - other).abs().max() > 1e-3


@pytest.mark.parametrize('attention', ['hierarchical', 'joint'])
def test_clip_layers_see_no_words_and_padding_no_one(attention, make_video):
    neck = build(attention=attention, frame_tokens=True, num_layers=2)
    torch.manual_seed(3)
    regions = torch.randn(1, 5, 2, 2, D)
    video = make_video(regions, frames=[3])
    told = neck.encode_clip(video)
    cut = neck.encode_clip(make_video(regions[:, :3]))
    torch.testing.assert_close(
        told.regions_BTHWD[:, :3], cut.regions_BTHWD, atol=1e-5, rtol=1e-4
    )
    for one, other in zip(neck(video, words()), neck(cut, words())):
        assert one.isfinite().all()
        assert one.shape[1] == 5
        assert other.shape[1] == 3
    padded = neck(told, words())[0][:, :3]
    torch.testing.assert_close(
        padded, neck(cut, words())[0], atol=1e-5, rtol=1e-4
    )


def test_consistent_frames_weigh_more(make_video):
    """An inconsistent frame is seen less by the others."""
    neck = build(frame_tokens=True, spatial_window=0, temporal_window=0)
    torch.manual_seed(4)
    grid = torch.randn(1, 4, 2, 2, D)
    other = grid.clone()
    other[0, 3] += torch.randn(D)

    def influence(logit: float) -> float:
        hint = torch.zeros(1, 4)
        hint[0, 3] = logit
        one, two = (
            neck(make_video(g), words(), hint)[0] for g in (grid, other)
        )
        return (one - two)[0, :3].abs().mean().item()

    assert influence(-20.0) < 0.5 * influence(0.0)


def test_without_a_hint_all_frames_are_consistent(make_video):
    neck = build(frame_tokens=True)
    video = make_video(torch.randn(1, 4, 2, 2, D))
    sure = torch.full((1, 4), 50.0)
    torch.testing.assert_close(
        neck(video, words())[0], neck(video, words(), sure)[0]
    )


def test_switches_leave_their_weights_out():
    def names(**options) -> str:
        return ' '.join(name for name, _ in build(**options).named_modules())

    usual = dict(frame_tokens=True)
    assert 'layers.0.spatial' in names(**usual)
    assert 'spatial' not in names(spatial_window=0)
    assert 'temporal' not in names(temporal_window=0)
    assert 'layers.0.frames' in names(**usual)
    assert '.frames' not in names()


def test_cost_is_linear_in_frames(make_video):
    """Twice the frames, twice the work; fully connected, much more."""

    def flops(attention: str, frames: int) -> float:
        neck = build(attention=attention, num_layers=2)
        video = make_video(torch.randn(1, frames, 8, 8, D))
        # The counter knows plain products, not the fused kernel of a CPU.
        plain = sdpa_kernel(SDPBackend.MATH)
        counter = FlopCounterMode(display=False)
        with torch.no_grad(), plain, counter:
            neck(video, words())
        return counter.get_total_flops()

    growth = {
        attention: flops(attention, 16) / flops(attention, 8)
        for attention in ('hierarchical', 'joint')
    }
    assert growth['hierarchical'] == pytest.approx(2, rel=0.02)
    assert growth['joint'] > 3


def test_boxes_inform_the_regions(make_video):
    """The same regions with other boxes are other regions."""
    neck = build(num_region_layers=1)
    regions = torch.randn(1, 3, 2, 2, D)
    results = []
    for size in (0.0, 1.0):
        video = make_video(regions)
        video.raw_boxes_BTHW4 = torch.full((1, 3, 2, 2, 4), size)
        video.raw_boxes_BTHW4.requires_grad_()
        told = neck.encode_regions(video)
        assert told.regions_BTHWD.shape == regions.shape
        results.append(told.regions_BTHWD)
        told.regions_BTHWD.sum().backward()
        assert video.raw_boxes_BTHW4.grad is None
    assert (results[0] - results[1]).abs().max() > 1e-3


def test_attention_is_checked():
    with pytest.raises(ValueError, match="got 'full'"):
        build(attention='full')


def test_layers_see_the_words():
    with pytest.raises(ValueError, match=r'scales is empty.*scales=\(1,\)'):
        build(scales=())
