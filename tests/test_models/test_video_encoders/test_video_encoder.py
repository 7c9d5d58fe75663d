"""The video encoder round any backbone: layouts, levels, masks, errors."""

import pytest
import torch
from torch import nn

from hero_mm.models import VideoEncoder


class Patches(nn.Module):
    """A 2-D backbone: the mean of each patch, at strides 4 and 8."""

    def __init__(self, outputs: str = 'levels') -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 4, 4)
        self.outputs = outputs

    def forward(self, x):
        assert x.dim() == 4
        first = self.conv(x)
        second = nn.functional.avg_pool2d(first, 2)
        return {
            'levels': (first, second),
            'tensor': second,
            'vector': second.mean((2, 3)),
        }[self.outputs]


class Tubelets(nn.Module):
    """A 3-D backbone with half of the frames."""

    def __init__(self, outputs: str = 'tensor', side: int = 8) -> None:
        super().__init__()
        self.conv = nn.Conv3d(3, 6, (2, side, side), (2, side, side))
        self.outputs = outputs

    def forward(self, x):
        assert x.dim() == 5
        out = self.conv(x)
        return {
            'tensor': out,
            'levels': (out,),
            'vector': out.mean((2, 3, 4)),
            'pair': ((out, out),),
        }[self.outputs]


class Top(nn.Module):
    """A neck that gives the sum of the levels, twice as wide."""

    def forward(self, levels):
        small = nn.functional.interpolate(levels[-1], levels[0].shape[2:])
        return [torch.cat([levels[0] + small] * 2, 1)]


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
    register(Patches, Tubelets, Top, Blur)


def build(kind: str, embed_dims: int = 16, **options):
    outputs = options.pop('outputs', None)
    backbone = dict(type=kind)
    if outputs:
        backbone['outputs'] = outputs
    torch.manual_seed(0)
    return VideoEncoder(backbone, embed_dims, **options).eval()


def inputs(clips=2, frames=6, height=32, width=48):
    torch.manual_seed(1)
    return dict(
        imgs=torch.randn(clips, frames, 3, height, width),
        frame_mask=torch.ones(clips, frames, dtype=torch.bool),
        pixel_mask=torch.ones(clips, height, width, dtype=torch.bool),
    )


def test_frames_one_by_one():
    encoder = build('Patches')
    assert encoder.input_layout == 'frame'
    batch = inputs()
    pyramid = encoder(**batch)
    (level,) = pyramid.levels
    assert level.shape == (2, 6, 16, 4, 6)
    assert pyramid.strides == ((8, 8),)
    assert pyramid.sizes_B2.tolist() == [[48, 32]] * 2
    batch['imgs'][0, 3] += 1
    change = encoder(**batch).levels[0] - level
    moved = change.abs().amax((2, 3, 4)) > 1e-6
    assert moved.nonzero().tolist() == [[0, 3]]


def test_padding_is_zero_and_told():
    batch = inputs()
    batch['frame_mask'][0, 4:] = False
    batch['pixel_mask'][0, :, 40:] = False
    batch['pixel_mask'][1, 20:] = False
    pyramid = build('Patches')(**batch)
    assert pyramid.sizes_B2.tolist() == [[40, 32], [48, 20]]
    real = pyramid.real_cells(0)
    assert real[0, :, :5].all()
    assert not real[0, :, 5].any()
    # Row 20 lies in the third row of cells, which is real in part.
    assert real[1, :3].all()
    assert not real[1, 3].any()
    real = real[:, None] & pyramid.frame_mask_BT[..., None, None]
    assert not real[0, 4:].any() and real[1].any((1, 2)).all()
    cells = pyramid.levels[0].movedim(2, -1)
    assert cells[~real].abs().max() == 0
    assert (cells[real].abs().amax(-1) > 0).all()


@pytest.mark.parametrize(
    'kind, outputs',
    [('Patches', 'vector'), ('Tubelets', 'vector'), ('Tubelets', 'pair')],
)
def test_backbone_without_a_map(kind, outputs):
    with pytest.raises(ValueError, match=f'{kind} gives.*Choose a backbone'):
        build(kind, outputs=outputs)


ENCODERS = {
    'frames': dict(kind='Patches'),
    'frames and a neck': dict(kind='Patches', neck=dict(type='Top')),
    'clips': dict(kind='Tubelets'),
    'windows': dict(kind='Tubelets', clip_len=4),
    'masks': dict(kind='ShiftConvNet'),
    'masks and a neck': dict(
        kind='ShiftConvNet', neck=dict(type='Blur', channels=80)
    ),
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
    'size', [(3, 32, 48), (1, 8, 9), (5, 23, 41), (8, 17, 16)], ids=str
)
def test_alone_and_beside_a_longer_and_larger_clip(name, size):
    """Lengths and sides are no multiples of anything."""
    encoder = build(**ENCODERS[name])
    frames, height, width = size
    alone = inputs(1, frames, height, width)
    both = inputs(2, 9, 50, 61)
    both['imgs'][1] = 0
    both['imgs'][1, :frames, :, :height, :width] = alone['imgs'][0]
    both['frame_mask'][1, frames:] = False
    both['pixel_mask'][1, height:] = False
    both['pixel_mask'][1, :, width:] = False
    one, two = encoder(**alone), encoder(**both)
    stride = encoder.stride
    rows, columns = -(-height // stride), -(-width // stride)
    assert one.strides[-1] == two.strides[-1] == (stride, stride)
    assert one.sizes_B2[0].tolist() == two.sizes_B2[1].tolist()
    for real in (one.real_cells(-1)[0], two.real_cells(-1)[1]):
        assert real[:rows, :columns].all()
        assert real.sum() == rows * columns
    here, inside = one.levels[-1][0], two.levels[-1][1]
    torch.testing.assert_close(
        here[..., :rows, :columns], inside[:frames, :, :rows, :columns]
    )
    rest = inside.clone()
    rest[:frames, :, :rows, :columns] = 0
    assert rest.abs().max() == 0


def test_looks_and_motion_share_the_grid_of_looks():
    encoder = build(**ENCODERS['looks and motion'])
    assert (encoder.stride, encoder.motion.stride) == (4, 8)
    assert encoder.granule == 8
    assert encoder.projects[0].in_channels == 6 + 6
    batch = inputs(frames=6)
    maps = encoder.encode_alike(**batch)[0]
    assert maps.shape == (2, 6, 12, 8, 12)
    looks = encoder.backbone(batch['imgs'].flatten(0, 1))[0]
    torch.testing.assert_close(maps[:, :, :6].flatten(0, 1), looks)
    moves = encoder.motion.feature_map(**batch)
    # Two cells a cell: the middle of four is near its own.
    small = nn.functional.avg_pool2d(maps[:, :, 6:].flatten(0, 1), 2)
    inner = (..., slice(1, -1), slice(1, -1))
    blurred = nn.functional.interpolate(
        moves.flatten(0, 1), scale_factor=2, mode='bilinear'
    )
    torch.testing.assert_close(
        small[inner], nn.functional.avg_pool2d(blurred, 2)[inner]
    )
    encoder(**batch).levels[0][..., 0].mean().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name


def test_only_motion_sees_the_frames_beside():
    encoder = build(**ENCODERS['looks and motion'])
    batch = inputs(1, 6)
    before = encoder.encode_alike(**batch)[0]
    batch['imgs'][0, 2] += 1
    moved = (encoder.encode_alike(**batch)[0] - before).abs().amax((0, 3, 4))
    assert (moved[:, :6].amax(1) > 1e-6).nonzero().flatten().tolist() == [2]
    # Frames 2 and 3 are one step, at 2.5; those beside are interpolated.
    moved = (moved[:, 6:].amax(1) > 1e-6).nonzero().flatten().tolist()
    assert moved == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ('motion', 'words'),
    [
        (dict(type='Tubelets'), 'motion needs a backbone .*; got type'),
        (dict(backbone=dict(type='Tubelets'), embed_dims=8), 'got .*embed_di'),
        (dict(backbone=dict(type='Tubelet')), 'did you mean Tubelets'),
    ],
)
def test_motion_that_is_no_tower(motion, words):
    with pytest.raises(ValueError, match=words):
        build('Patches', motion=motion)


def test_a_clip_smaller_than_a_region():
    with pytest.raises(ValueError, match='9x7 pixels is smaller than one ce'):
        build('Patches')(**inputs(1, 2, 7, 9))


def two_levels(**options):
    backbone = dict(
        type='ShiftConvNet',
        stem_channels=4,
        channels=(6, 8),
        num_blocks=(1, 1),
        out_indices=(0, 1),
    )
    return VideoEncoder(backbone, 16, **options).eval()


@torch.no_grad()
def test_a_finer_level_stands_below():
    encoder = two_levels(finer_levels=(0,))
    batch = inputs()
    pyramid = encoder(**batch)
    fine, coarse = pyramid.levels
    assert fine.shape == (2, 6, 16, 8, 12)
    assert pyramid.strides == ((4, 4), (8, 8))
    one, two = encoder.backbone(**batch)
    above = encoder.projects[1](two.flatten(0, 1))
    below = encoder.projects[0](one.flatten(0, 1))
    # A cell adds that of the coarser level which it lies in.
    below = below + above.repeat_interleave(2, 2).repeat_interleave(2, 3)
    for level, merged, norm in (
        (fine, below, encoder.norms[0]),
        (coarse, above, encoder.norms[1]),
    ):
        wanted = norm(merged.movedim(1, -1)).movedim(-1, 1)
        torch.testing.assert_close(level.flatten(0, 1), wanted)
    # The coarsest level is what it is alone.
    alone = two_levels()
    alone.load_state_dict(
        {
            name.replace('s.1.', 's.0.') if '.1.' in name[:12] else name: value
            for name, value in encoder.state_dict().items()
            if not name.startswith(('projects.0', 'norms.0'))
        }
    )
    torch.testing.assert_close(alone(**batch).levels[0], coarse)


@torch.no_grad()
@pytest.mark.parametrize('neck', [None, dict(type='Blur', channels=8)])
def test_finer_levels_of_a_clip_beside_a_larger_one(neck):
    """Zero on padding, and the same as alone."""
    encoder = two_levels(finer_levels=(0,), neck=neck)
    batch = inputs()
    batch['frame_mask'][0, 4:] = False
    batch['pixel_mask'][0, 16:] = batch['pixel_mask'][0, :, 24:] = False
    batch['imgs'][0, 4:] = batch['imgs'][0, :, :, 16:] = 0
    batch['imgs'][0, :, :, :, 24:] = 0
    beside = encoder(**batch).levels
    alone = encoder(
        batch['imgs'][:1, :4, :, :16, :24],
        batch['frame_mask'][:1, :4],
        batch['pixel_mask'][:1, :16, :24],
    ).levels
    whole = encoder(**{k: v[1:] for k, v in batch.items()}).levels
    assert alone[0].shape[-2:] == (4, 6)
    for level, small, large in zip(beside, alone, whole):
        rows, columns = small.shape[-2:]
        torch.testing.assert_close(level[:1, :4, :, :rows, :columns], small)
        rest = level[0].clone()
        rest[:4, :, :rows, :columns] = 0
        assert rest.abs().max() == 0
        torch.testing.assert_close(level[1:], large)


@torch.no_grad()
def test_without_a_norm_the_coarsest_level_is_a_1x1_convolution():
    encoder = two_levels(finer_levels=(0,), norm=False)
    batch = inputs()
    _, two = encoder.backbone(**batch)
    wanted = encoder.projects[1](two.flatten(0, 1))
    coarse = encoder(**batch).levels[1]
    torch.testing.assert_close(coarse.flatten(0, 1), wanted)


def test_gradients_reach_all_levels():
    encoder = two_levels(finer_levels=(0,)).train()
    pyramid = encoder(**inputs())
    sum(level[..., 0].mean() for level in pyramid.levels).backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name


@pytest.mark.parametrize(
    ('levels', 'words'),
    [
        ((2,), r'finer_levels=\(2,\), .* gives 2 levels, of \[4, 8\] pixels'),
        ((1,), r'have cells of \[8, 8\] pixels: list finer levels than 8'),
        ((0, 0), r'have cells of \[4, 4, 8\] pixels.*the finest first'),
    ],
)
def test_finer_levels_that_are_not_there_or_not_finer(levels, words):
    with pytest.raises(ValueError, match=words):
        two_levels(finer_levels=levels)


def test_clips_of_two_sizes_in_half_precision():
    """Masks raise the precision of the clips that have padding."""
    backbone = dict(
        type='ShiftConvNet',
        stem_channels=4,
        channels=(6, 8),
        num_blocks=(1, 1),
    )
    encoder = VideoEncoder(backbone, 16, neck=dict(type='Blur', channels=8))
    batch = inputs()
    batch['frame_mask'][1, 3:] = False
    batch['pixel_mask'][1, 17:] = False
    with torch.autocast('cpu', torch.bfloat16):
        pyramid = encoder(**batch)
    pyramid.levels[0].float().square().mean().backward()
    grads = [p.grad for p in encoder.backbone.parameters()]
    assert all(grad.isfinite().all() for grad in grads)
