"""The frame grid: native time to bins and back, without loss."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hero_mm.models.heads.tube_decoding import query_edges, to_bins


@st.composite
def clips(draw):
    """Sampled frames of a segment, and a span in it."""
    start = draw(st.integers(0, 4000))
    gaps = draw(st.lists(st.integers(1, 60), min_size=1, max_size=12))
    first = start + draw(st.integers(0, 5))
    inds = first + np.cumsum([0, *gaps[1:]])
    end = int(inds[-1]) + 1 + draw(st.integers(0, 5))
    low = draw(st.integers(start, end - 1))
    high = draw(st.integers(low + 1, end))
    return inds, (start, end), (low, high)


def edges_of(*clips, padding: int = 0) -> torch.Tensor:
    """Edges of the bins of clips, each (frame numbers, segment)."""
    longest = max(len(inds) for inds, _ in clips) + padding
    lengths = torch.tensor([len(inds) for inds, _ in clips])
    times = torch.arange(longest).expand(len(clips), -1)
    regions = SimpleNamespace(
        times_BT=times, frame_mask_BT=times < lengths[:, None]
    )
    samples = [SimpleNamespace(frame_inds=i, segment=s) for i, s in clips]
    return query_edges(regions, samples, torch.arange(len(clips)))


def bin_of(place: float, is_end: bool) -> int:
    """The bin of a place: what lies on an edge ends a bin or begins one."""
    whole = int(place)
    return whole - (is_end and place == whole and whole > 0)


@settings(max_examples=80, deadline=None)
@given(clips(), st.integers(0, 4))
def test_round_trip(clip, padding):
    inds, segment, span = clip
    edges = edges_of((inds, segment), padding=padding)
    for time, is_end in zip(span, (False, True)):
        place = to_bins(torch.tensor([float(time)]), edges, is_end)
        index = bin_of(place.item(), is_end)
        assert 0 <= index < len(inds), 'padding has no boundary'
        low, high = edges[0, index : index + 2].tolist()
        back = low + (place.item() - index) * (high - low)
        assert back == pytest.approx(time, abs=0.01)


def test_edges_by_hand():
    edges = edges_of(
        (np.array([2, 6, 14]), (0, 20)), (np.array([7]), (5, 9)), padding=1
    )
    assert edges.tolist() == [[0, 4.5, 10.5, 20, 20], [5, 9, 9, 9, 9]]


def test_frames_that_are_left_out_widen_the_bins_beside_them():
    regions = SimpleNamespace(
        times_BT=torch.tensor([[0, 2, 2]]),
        frame_mask_BT=torch.tensor([[True, True, False]]),
    )
    sample = SimpleNamespace(frame_inds=[2, 6, 14], segment=(0, 20))
    edges = query_edges(regions, [sample], torch.tensor([0]))
    assert edges.tolist() == [[0, 8.5, 20, 20]]


def test_ends_of_the_segment_and_times_outside():
    edges = torch.tensor([[10.0, 14, 18, 18, 18]])
    for time, is_end, wanted in [
        (10.0, False, 0),
        (3.0, False, 0),
        # Padding behind the last bin does not hold its end.
        (18.0, True, 2),
    ]:
        assert to_bins(torch.tensor([time]), edges, is_end).item() == wanted
    assert to_bins(torch.tensor([99.0]), edges[:, :3], True).item() == 2


def test_rows_have_their_own_edges():
    edges = torch.tensor([[0.0, 2, 4], [0.0, 20, 40]])
    places = to_bins(torch.tensor([3.0, 30.0]), edges, False)
    assert places.tolist() == [1.5, 1.5]
