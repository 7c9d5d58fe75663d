"""What regions read of the pyramid, and what their layers make of it."""

from dataclasses import replace

import pytest
import torch
from tiny_clips import make_pyramid, make_regions
from torch import nn

from hero_mm.models.region_encoder import (
    ColourReader,
    RegionEncoder,
)
from hero_mm.models.targets import Tracks

D = 16


@torch.no_grad()
def test_colours_are_read_within_the_box():
    """Of the frames, in cells of half the finest level: whole pixels here."""
    picture = torch.zeros(1, 1, 3, 16, 20)
    # Columns are red, green and blue, where the box is.
    for channel, column in enumerate((6, 8, 10)):
        picture[..., channel, :, column : column + 2] = 1.0
    level = torch.zeros(1, 1, 4, 8, 10)
    pyramid = make_pyramid(level, stride=2.0, picture=picture)
    boxes = torch.tensor([4.0, 4, 14, 14]).view(1, 1, 1, 4)
    colours = ColourReader(9, 3)
    colours.project = nn.Identity()
    # The middle three fifths: points at 7, 9 and 11.
    got = colours(pyramid, make_regions(1, 1, 1, boxes=boxes))[0, 0, 0]
    assert got.view(3, 3, 3)[0].tolist() == torch.eye(3).tolist()


def build(shake: float = 0.1, **options) -> RegionEncoder:
    torch.manual_seed(0)
    usual = dict(points=(3, 3, 1), read_dims=8, num_heads=2, temporal_window=2)
    encoder = RegionEncoder(D, **{**usual, **options})
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter += shake * torch.randn_like(parameter)
    return encoder.eval()


@pytest.fixture
def clip():
    """A pyramid of two levels and regions on it; a slot pauses."""
    torch.manual_seed(1)
    levels = torch.randn(2, 5, D, 8, 8), torch.randn(2, 5, D, 4, 4)
    mask = torch.ones(2, 5, 3, dtype=torch.bool)
    mask[0, 2, 1] = mask[1, :, 2] = False
    regions = make_regions(2, 5, 3, mask=mask, real=[5, 4])
    regions = replace(regions, features_BTND=None, looks_BTNSD=None)
    picture = torch.randn(2, 5, 3, 16, 16)
    return regions, make_pyramid(*levels, frames=[5, 4], picture=picture)


@torch.no_grad()
@pytest.mark.parametrize('attention', ['hierarchical', 'joint'])
def test_what_is_added_to_regions(attention, clip):
    regions, pyramid = clip
    got = build(attention=attention)(regions, pyramid)
    assert got.features_BTND.shape == (2, 5, 3, D)
    assert got.looks_BTNSD.shape == (2, 5, 3, 3, D)
    assert got.boxes_BTN4.shape == (2, 5, 3, 4)
    for name in ('scores_BTN', 'mask_BTN', 'times_BT', 'frame_mask_BT'):
        assert torch.equal(getattr(got, name), getattr(regions, name))
    assert (got.boxes_BTN4 - regions.boxes_BTN4).abs().max() > 0.1
    # Before a training the boxes stay where they are.
    same = build(shake=0.0)(regions, pyramid).boxes_BTN4
    torch.testing.assert_close(same, regions.boxes_BTN4)


@torch.no_grad()
def test_places_in_space_time_and_slots_are_known(clip):
    regions, pyramid = clip
    # The same all over, so that place alone makes a difference.
    pyramid = replace(
        pyramid,
        levels=tuple(torch.ones_like(one) for one in pyramid.levels),
        picture_BT3HW=torch.ones_like(pyramid.picture_BT3HW),
    )
    boxes = torch.tensor([12.0, 12, 20, 20]).expand(2, 5, 3, 4)
    regions = replace(regions, boxes_BTN4=boxes)
    encoder = build(num_layers=0)

    def features(**changes):
        return encoder(replace(regions, **changes), pyramid).features_BTND[0]

    usual = features()
    assert (usual[0, 0] - usual[1, 0]).abs().max() > 1e-2
    assert (usual[0, 0] - usual[0, 1]).abs().max() > 1e-2
    moved = features(boxes_BTN4=boxes + 3)
    assert (moved - usual)[0, 0].abs().max() > 1e-2
    later = features(times_BT=regions.times_BT * 3)
    torch.testing.assert_close(later[0], usual[0])
    torch.testing.assert_close(later[1, 0], usual[3, 0])


def seen_by(encoder, regions, pyramid, frame: int, slot: int = 0) -> set:
    """Frames whose pixels a region's features depend on."""
    levels = tuple(one.clone().requires_grad_() for one in pyramid.levels)
    got = encoder(regions, replace(pyramid, levels=levels))
    got.features_BTND[0, frame, slot].square().sum().backward()
    seen = sum(one.grad[0].abs().sum((1, 2, 3)) for one in levels)
    return set(seen.nonzero()[:, 0].tolist())


def test_shift_reads_the_frames_beside(clip):
    for shift, frames in ((True, {1, 2, 3}), (False, {2})):
        encoder = build(num_layers=0, shift=shift)
        assert seen_by(encoder, *clip, frame=2) == frames
    assert seen_by(build(), *clip, frame=2) == set(range(5))


def tracks_of(boxes, valid=None) -> Tracks:
    """Annotated objects from boxes (B, T, M, 4)."""
    boxes = torch.tensor(boxes).float()
    if valid is None:
        valid = torch.ones(boxes.shape[:3], dtype=torch.bool)
    return Tracks(boxes, valid, torch.ones(len(boxes), dtype=torch.bool))


BOX = [10.0, 10.0, 20.0, 30.0]
NEAR = [11.0, 11.0, 21.0, 31.0]
FAR = [60.0, 60.0, 70.0, 70.0]


@pytest.fixture
def proposed():
    """Two regions near to an object and one that shows nothing."""
    boxes = torch.tensor([[[BOX, NEAR, FAR]]])
    return make_regions(1, 1, 3, boxes=boxes)


def test_regions_of_an_object_share_its_loss(proposed):
    """By hand: one is right, the other one is one pixel off."""
    encoder = build()
    losses = encoder.loss(proposed, proposed, tracks_of([[[NEAR]]]))
    # 9 x 19 of 10 x 20, and a hull of 11 x 21.
    iou = 171 / 229
    giou = iou - (231 - 229) / 231
    assert losses['region_iou'].item() == pytest.approx((1 + iou) / 2)
    weight = encoder.loss_bbox.loss_weight
    assert losses['loss_region_bbox'].item() == pytest.approx(
        weight * (1 - giou) / 2, rel=1e-3
    )
    # In units of 0.2 sides of the box, x and y.
    weight = encoder.loss_l1.loss_weight
    assert losses['loss_region_l1'].item() == pytest.approx(
        weight * (1 / 10 + 1 / 20) / 0.2 / 2, rel=1e-3
    )


def test_wrong_options_are_refused(clip):
    with pytest.raises(ValueError, match='0 scales need'):
        RegionEncoder(D, scales=())
    with pytest.raises(ValueError, match='read_dims=6 is no multiple'):
        RegionEncoder(D, read_dims=6)
    with pytest.raises(ValueError, match='2 scales need.*got 1 and 3'):
        RegionEncoder(D, scales=(1.0, 2.0), levels=(0,))
    with pytest.raises(ValueError, match='colour_points reads the frames'):
        build()(clip[0], replace(clip[1], picture_BT3HW=None))
    with pytest.raises(ValueError, match='level 2 of the pyramid does not'):
        build(levels=(2, 1, 1))(*clip)
