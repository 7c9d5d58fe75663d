"""The video encoder round any backbone: levels, masks, motion, errors."""

import pytest
import torch
from torch import nn

from hero_mm.models import VideoEncoder


class Patches(nn.Module):
    """A 2-D backbone: the mean of each patch, at strides 4 and 8."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 4, 4)

    def forward(self, x):
        first = self.conv(x)
        return first, nn.functional.avg_pool2d(first, 2)


class Tubelets(nn.Module):
    """A 3-D backbone with half of the frames."""

    def __init__(self, side: int = 8) -> None:
        super().__init__()
        self.conv = nn.Conv3d(3, 6, (2, side, side), (2, side, side))

    def forward(self, x):
        return self.conv(x)


class Blur(nn.Module):
    """A neck that looks at the cells beside, and adds to zeros."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.point = nn.Conv2d(channels, 4, 1)
        self.blur = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, levels):
        return [self.blur(self.point(levels[-1]))]


@pytest.fixture(autouse=True)
def known(register):
    register(Patches, Tubelets, Blur)


def build(kind: str, **options):
    torch.manual_seed(0)
    return VideoEncoder(dict(type=kind), 16, **options).eval()


def two_levels(**options):
    backbone = dict(
        type='ShiftConvNet',
        stem_channels=4,
        channels=(6, 8),
        num_blocks=(1, 1),
        out_indices=(0, 1),
    )
    torch.manual_seed(0)
    return VideoEncoder(backbone, 16, **options).eval()


NECK = dict(type='Blur', channels=80)
ENCODERS = {
    'frames': dict(kind='Patches'),
    'frames and a neck': dict(
        kind='Patches', neck=dict(type='Blur', channels=6)
    ),
    'finer levels': dict(kind='Patches', finer_levels=(0,)),
    'finer levels and a neck': dict(
        kind='Patches', neck=dict(type='Blur', channels=6), finer_levels=(0,)
    ),
    'clips': dict(kind='Tubelets'),
    'windows': dict(kind='Tubelets', clip_len=4),
    'masks': dict(kind='ShiftConvNet'),
    'masks and a neck': dict(kind='ShiftConvNet', neck=NECK),
    'looks and motion': dict(
        kind='Patches', level=0, motion=dict(backbone=dict(type='Tubelets'))
    ),
    'masks and motion': dict(
        kind='ShiftConvNet',
        motion=dict(backbone=dict(type='Tubelets', side=12), clip_len=2),
    ),
}


@torch.no_grad()
@pytest.mark.parametrize('name', ENCODERS)
@pytest.mark.parametrize(
    'size', [(3, 32, 48), (1, 5, 9), (5, 23, 41), (8, 17, 16)], ids=str
)
def test_alone_and_beside_a_longer_and_larger_clip(name, size, clip_of):
    """Lengths and sides are no multiples of anything."""
    encoder = build(**ENCODERS[name])
    frames, height, width = size
    alone = clip_of(frames, (height, width))
    both = clip_of(9, (50, 61), clips=2)
    both['imgs'][1] = 0
    both['imgs'][1, :frames, :, :height, :width] = alone['imgs'][0]
    both['frame_mask'][1, frames:] = False
    both['pixel_mask'][1, height:] = False
    both['pixel_mask'][1, :, width:] = False
    one, two = encoder(**alone), encoder(**both)
    assert one.sizes_B2[0].tolist() == [width, height]
    assert two.sizes_B2.tolist() == [[61, 50], [width, height]]
    assert one.strides == two.strides
    assert one.strides[-1] == (encoder.stride, encoder.stride)
    for number, (stride, _) in enumerate(one.strides):
        rows, columns = (-int(-side // stride) for side in (height, width))
        for real in (one.real_cells(number)[0], two.real_cells(number)[1]):
            assert real[:rows, :columns].all()
            assert real.sum() == rows * columns
        here, inside = one.levels[number][0], two.levels[number][1]
        torch.testing.assert_close(
            here[..., :rows, :columns], inside[:frames, :, :rows, :columns]
        )
        rest = inside.clone()
        rest[:frames, :, :rows, :columns] = 0
        assert rest.abs().max() == 0


def test_looks_and_motion_share_the_grid_of_looks(clip_of):
    encoder = build(**ENCODERS['looks and motion'])
    assert (encoder.stride, encoder.motion.stride) == (4, 8)
    assert encoder.granule == 8
    batch = clip_of(clips=2)
    maps = encoder.encode_alike(**batch)[0]
    assert maps.shape == (2, 6, 12, 8, 12)
    looks = encoder.backbone(batch['imgs'].flatten(0, 1))[0]
    torch.testing.assert_close(maps[:, :, :6].flatten(0, 1), looks)
    moves = encoder.motion.feature_maps(**batch)[0].flatten(0, 1)
    wanted = nn.functional.interpolate(moves, scale_factor=2, mode='bilinear')
    torch.testing.assert_close(maps[:, :, 6:].flatten(0, 1), wanted)
    batch['imgs'][0, 2] += 1
    moved = (encoder.encode_alike(**batch)[0] - maps).abs().amax((0, 3, 4))
    assert (moved[:, :6].amax(1) > 1e-6).nonzero().flatten().tolist() == [2]
    # Frames 2 and 3 are one step, at 2.5; those beside are interpolated.
    moved = (moved[:, 6:].amax(1) > 1e-6).nonzero().flatten().tolist()
    assert moved == [1, 2, 3, 4]


@torch.no_grad()
def test_a_finer_level_stands_below(clip_of):
    encoder = two_levels(finer_levels=(0,))
    batch = clip_of(clips=2)
    pyramid = encoder(**batch)
    assert pyramid.strides == ((4, 4), (8, 8))
    one, two = encoder.backbone(**batch)
    above = encoder.projects[1](two.flatten(0, 1))
    below = encoder.projects[0](one.flatten(0, 1))
    # A cell adds that of the coarser level which it lies in.
    below = below + above.repeat_interleave(2, 2).repeat_interleave(2, 3)
    plain = two_levels(finer_levels=(0,), norm=False)
    for level, bare, merged, norm in zip(
        pyramid.levels, plain(**batch).levels, (below, above), encoder.norms
    ):
        wanted = norm(merged.movedim(1, -1)).movedim(-1, 1)
        torch.testing.assert_close(level.flatten(0, 1), wanted)
        torch.testing.assert_close(bare.flatten(0, 1), merged)


@pytest.mark.parametrize('half', [False, True])
def test_gradients_reach_all_of_clips_of_two_sizes(half, clip_of):
    """In half precision masks raise that of the clips that have padding."""
    neck = dict(type='Blur', channels=8)
    encoder = two_levels(finer_levels=(0,), neck=neck).train()
    batch = clip_of(clips=2)
    batch['frame_mask'][1, 3:] = False
    batch['pixel_mask'][1, 17:] = False
    with torch.autocast('cpu', torch.bfloat16, enabled=half):
        pyramid = encoder(**batch)
    sum(level.float()[..., 0].mean() for level in pyramid.levels).backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad.isfinite().all(), name


@pytest.mark.parametrize(
    ('levels', 'words'),
    [
        ((2,), 'level 2 does not exist: ShiftConvNet gives 2 levels'),
        ((1,), r'have cells of \[8, 8\] pixels: list finer levels than 8'),
        ((0, 0), r'have cells of \[4, 4, 8\] pixels.*the finest first'),
    ],
)
def test_finer_levels_that_are_not_there_or_not_finer(levels, words):
    with pytest.raises(ValueError, match=words):
        two_levels(finer_levels=levels)


@pytest.mark.parametrize('sides', [(32, 48), (36, 44)])
def test_the_picture_is_pooled(sides):
    """In cells of half the finest level; it is padded to whole ones."""
    imgs = torch.rand(2, 3, 3, *sides)
    masks = torch.ones(2, 3).bool(), torch.ones(2, *sides).bool()
    pyramid = build('Patches', finer_levels=(0,))(imgs, *masks)
    cells = [2 * side for side in pyramid.levels[0].shape[-2:]]
    below, right = (-side % 8 for side in sides)
    padded = nn.functional.pad(imgs, (0, right, 0, below)).flatten(0, 1)
    wanted = nn.functional.adaptive_avg_pool2d(padded, cells)
    torch.testing.assert_close(
        pyramid.picture_BT3HW, wanted.view(2, 3, 3, *cells)
    )
