"""The tube head: what it says of slots and spans, and what it predicts."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from hero_mm.models import TubeHead
from hero_mm.models.heads.tube_decoding import TubeOutput, bin_edges
from hero_mm.structures import GroundingDataSample

D, FRAMES, SLOTS = 8, 6, 4


@pytest.fixture
def setting(make_regions, make_text) -> dict:
    """Three queries on clips of four, six and six frames, all random."""
    torch.manual_seed(0)
    mask = torch.ones(3, FRAMES, SLOTS, dtype=torch.bool)
    # One slot pauses, another one is empty.
    mask[1, 2, 3] = mask[2, :, 1] = False
    regions = make_regions(3, FRAMES, SLOTS, D, real=[4, 6, 6], mask=mask)
    return dict(
        slots_QTND=torch.randn(3, FRAMES, SLOTS, D),
        frames_QTD=torch.randn(3, FRAMES, D),
        regions=regions,
        text=make_text(torch.randn(3, D)),
        fit_QTN2=torch.randn(3, FRAMES, SLOTS, 2),
        consistency_QT=torch.randn(3, FRAMES),
    )


@pytest.fixture
def head() -> TubeHead:
    torch.manual_seed(0)
    made = TubeHead(D)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return made.eval()


@torch.no_grad()
def test_missing_slots_have_no_part(head, setting):
    out = head(**setting)
    mask = setting['regions'].mask_BTN
    assert (out.location_QTN[~mask] == -1e4).all()
    assert (out.early_QTN[~mask] == -1e4).all()
    assert out.location_QTN.softmax(-1)[1, 2, 3] == 0
    setting['fit_QTN2'] = setting['fit_QTN2'].masked_fill(
        ~mask[..., None], 40.0
    )
    setting['slots_QTND'][2, :, 1] = 40.0
    changed = head(**setting)
    real = setting['regions'].frame_mask_BT
    for name in ('start_QT', 'end_QT', 'actionness_QT', 'offsets_QT2'):
        torch.testing.assert_close(
            getattr(changed, name)[real], getattr(out, name)[real]
        )
    torch.testing.assert_close(
        changed.location_QTN[mask], out.location_QTN[mask]
    )


def test_a_masked_slot_gets_no_gradient(head, setting):
    """Near zero, a norm makes of a small gradient a large one."""
    mask = setting['regions'].mask_BTN
    slots = setting['slots_QTND'].masked_fill(~mask[..., None], 0.0)
    largest = []
    for head.mask_slots in (False, True):
        setting['slots_QTND'] = slots.clone().requires_grad_()
        out = head(**setting)
        (out.offsets_QT2.sum() + out.start_QT[1:].sum()).backward()
        gradient = setting['slots_QTND'].grad.norm(dim=-1)
        largest.append((gradient[~mask].max(), gradient[mask].max()))
    (missing, real), (hidden, _) = largest
    assert missing > 20 * real and hidden == 0


@torch.no_grad()
def test_the_best_slot_is_what_fits_early_and_late(head, setting):
    """Late fusion is a summand of what is said after the reasoning."""
    out = head(**setting)
    setting['fit_QTN2'] = setting['fit_QTN2'].clone()
    setting['fit_QTN2'][2, 3, 0, 0] += 2
    more = head(**setting)
    for name in ('location_QTN', 'early_QTN'):
        change = getattr(more, name) - getattr(out, name)
        assert change[2, 3, 0].item() == pytest.approx(2, abs=1e-4)
        assert (change.abs() > 1e-4).sum() == 1
    assert (more.start_QT - out.start_QT)[2].abs().max() > 1e-4


@torch.no_grad()
def test_without_an_action_head_all_frames_are_consistent(head, setting):
    setting['consistency_QT'] = torch.full((3, FRAMES), 50.0)
    sure = head(**setting)
    setting['consistency_QT'] = None
    none = head(**setting)
    torch.testing.assert_close(none.end_QT, sure.end_QT)


def at_times(regions, *times):
    return replace(regions, times_BT=torch.tensor([times] * 3))


@torch.no_grad()
def test_gaps_reach_the_span(head, setting):
    """Frames that were left out, beside the time itself."""
    for weight in head.position.parameters():
        weight.zero_()
    out = head(**setting)
    regions = setting['regions']
    setting['regions'] = at_times(regions, 10, 11, 12, 13, 14, 15)
    later = head(**setting)
    torch.testing.assert_close(later.start_QT, out.start_QT)
    setting['regions'] = at_times(regions, 0, 1, 2, 7, 8, 9)
    apart = head(**setting)
    assert (apart.start_QT - out.start_QT)[1:].abs().max() > 1e-3
    # Those on both sides of the gap.
    change = head(**setting).start_QT
    setting['regions'] = regions
    change = (change - head(**setting).start_QT)[1:].abs() > 1e-6
    assert change.tolist() == [[False, False, True, True, False, False]] * 2


# --- prediction -------------------------------------------------------------


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


def make_output(queries: int, frames: int, slots: int = 2, seed: int = 0):
    gen = torch.Generator().manual_seed(seed)

    def rand(*shape):
        return torch.rand(*shape, generator=gen)

    low = rand(queries, frames, slots, 2) * 20
    return TubeOutput(
        location_QTN=rand(queries, frames, slots) * 3,
        boxes_QTN4=torch.cat([low, low + 4], -1),
        early_QTN=rand(queries, frames, slots),
        start_QT=rand(queries, frames) * 3,
        end_QT=rand(queries, frames) * 3,
        offsets_QT2=rand(queries, frames, 2),
        actionness_QT=rand(queries, frames) * 4 - 2,
        span_weight=torch.tensor(0.5),
    )


@pytest.fixture
def decode(head, make_regions):
    """Function: tubes of an output, clip by clip."""

    def run(output, samples=None, clips=None, consistency=None, times=None):
        queries, frames, slots = output.location_QTN.shape
        samples = samples or [make_sample(frames)]
        if clips is None:
            clips = torch.zeros(queries, dtype=torch.long)
        for place, sample in enumerate(samples):
            texts = ['a man runs'] * int((clips == place).sum())
            sample.queries = InstanceData(texts=texts)
        real = [
            len(samples[c].frame_inds) if times is None else frames
            for c in clips
        ]
        mask = output.location_QTN > -1e3
        regions = make_regions(queries, frames, slots, D, real=real, mask=mask)
        numbers = torch.arange(frames).expand(queries, -1)
        if times is not None:
            numbers = torch.tensor([times] * queries)
            regions = replace(regions, times_BT=numbers)
        segments = torch.tensor([samples[c].segment for c in clips]).float()
        edges = bin_edges(4.0 * numbers + 1, regions.frame_mask_BT, segments)
        return head.predict(output, regions, edges, samples, consistency)

    return run


def one_box(decode, box, **meta):
    output = make_output(1, 2, 1)
    output.boxes_QTN4[:] = torch.tensor(box)
    return decode(output, [make_sample(2, **meta)])[0].bboxes[0, 0].tolist()


@pytest.mark.parametrize('flip', [False, True])
def test_boxes_go_back_through_crop_resize_and_flip(flip, decode):
    rng = np.random.default_rng(0)
    crop = np.array([40.0, 10.0, 104.0, 58.0])
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
    got = one_box(decode, small.tolist(), **meta)
    assert got == pytest.approx(box.tolist(), abs=1e-4)


def test_each_clip_gets_its_queries_and_its_frames(decode):
    output = make_output(3, 5)
    hide = float('-inf')
    output.start_QT[0, 3:] = output.end_QT[0, 3:] = hide
    samples = [make_sample(3), make_sample(5)]
    first, second = decode(output, samples, torch.tensor([0, 1, 1]))
    assert first.bboxes.shape == (1, 3, 4)
    assert second.bboxes.shape == (2, 5, 4)
    assert first.spans.max() <= 12
    cut = {
        name: value[:1, :3]
        for name, value in vars(output).items()
        if value.dim()
    }
    (alone,) = decode(replace(output, **cut))
    for name in ('bboxes', 'scores', 'spans', 'span_scores'):
        torch.testing.assert_close(first[name], alone[name])


def test_frames_left_out_are_interpolated(decode):
    output = make_output(1, 3, 1)
    output.boxes_QTN4[0, :, 0] = torch.tensor(
        [[0.0, 0, 4, 4], [6, 6, 10, 10], [8, 8, 12, 12]]
    )
    sample, times = make_sample(7), [1, 4, 5]
    (got,) = decode(output, [sample], times=times)
    assert got.bboxes[0, :, 0].tolist() == [0, 0, 2, 4, 6, 8, 8]
    assert got.scores.shape == got.action_consistency.shape == (1, 7)
    # Bins of kept frames reach half-way to the next kept one.
    output.start_QT[:] = output.end_QT[:] = torch.tensor([0.0, 9, 0])
    output.offsets_QT2[:] = torch.tensor([0.0, 1.0])
    (got,) = decode(output, [sample], times=times)
    # Kept frames are 5, 17, 21: edges at 0, 11.5, 19.5, 28.
    assert got.spans[0].tolist() == pytest.approx([11.5, 19.5], abs=0.01)


def test_a_frame_without_slots_takes_its_box_from_its_neighbours(decode):
    output = make_output(1, 3, 1)
    output.boxes_QTN4[0, :, 0] = torch.tensor(
        [[4.0, 4, 8, 8], [0, 0, 0, 0], [8, 8, 12, 12]]
    )
    output.location_QTN[0, 1] = -1e4
    (got,) = decode(output)
    assert got.bboxes[0, 1].tolist() == pytest.approx([6, 6, 10, 10])
