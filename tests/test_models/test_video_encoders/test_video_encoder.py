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
    video = encoder(**batch)
    assert video.regions_BTHWD.shape == (2, 6, 4, 6, 16)
    assert video.stride == (8, 8)
    assert video.is_grid
    batch['imgs'][0, 3] += 1
    change = encoder(**batch).regions_BTHWD - video.regions_BTHWD
    moved = change.abs().amax((2, 3, 4)) > 1e-6
    assert moved.nonzero().tolist() == [[0, 3]]


@pytest.mark.parametrize('level, size', [(0, (8, 12)), (1, (4, 6))])
def test_level(level, size):
    video = build('Patches', level=level)(**inputs())
    assert video.regions_BTHWD.shape[2:4] == size


def test_centres_are_in_pixels():
    video = build('Patches')(**inputs())
    assert video.centres_BTHW2.shape == (2, 6, 4, 6, 2)
    assert video.centres_BTHW2[0, 0, 0, 0].tolist() == [4, 4]
    assert video.centres_BTHW2[1, 5, 3, 5].tolist() == [44, 28]


def test_single_tensor_is_one_level():
    batch = inputs()
    one = build('Patches', outputs='tensor')(**batch)
    two = build('Patches')(**batch)
    torch.testing.assert_close(one.regions_BTHWD, two.regions_BTHWD)


def test_neck():
    encoder = build('Patches', neck=dict(type='Top'))
    assert encoder.project.in_channels == 12
    assert encoder(**inputs()).regions_BTHWD.shape == (2, 6, 8, 12, 16)


@pytest.mark.parametrize('outputs', ['tensor', 'levels'])
def test_clips_of_a_strided_3d_backbone(outputs):
    encoder = build('Tubelets', outputs=outputs)
    assert encoder.input_layout == 'video'
    video = encoder(**inputs(frames=6))
    assert video.regions_BTHWD.shape == (2, 6, 4, 6, 16)
    # Three steps became six frames: the first and last two are held or
    # nearly so, and time still runs.
    steps = (video.regions_BTHWD[:, 1:] - video.regions_BTHWD[:, :-1]).abs()
    assert (steps.amax((2, 3, 4)) > 0).any()


def test_3d_time_goes_the_right_way():
    """The frame of a flash lights up, and none far from it."""
    encoder = build('Tubelets')
    batch = inputs(clips=1, frames=8)
    dark = encoder(**batch).regions_BTHWD
    batch['imgs'][:, 6:] += 2
    change = (encoder(**batch).regions_BTHWD - dark).abs()
    change = change.mean((0, 2, 3, 4))
    assert change[:4].max() < 1e-6
    assert change[7] > 0.01


def test_channels_are_found_or_given():
    assert build('Patches').project.in_channels == 6
    assert build('Patches', in_channels=6).project.in_channels == 6


def test_finding_channels_leaves_the_mode_and_statistics():
    config = dict(
        type='ShiftConvNet', stem_channels=4, channels=(8,), num_blocks=(1,)
    )
    encoder = VideoEncoder(dict(config, out_indices=(0,)), 8)
    assert encoder.training
    for name, buffer in encoder.named_buffers():
        if name.endswith('running_mean'):
            assert buffer.abs().max() == 0, name


def test_padding_is_zero_and_told():
    batch = inputs()
    batch['frame_mask'][0, 4:] = False
    batch['pixel_mask'][0, :, 40:] = False
    batch['pixel_mask'][1, 20:] = False
    video = build('Patches')(**batch)
    real = video.real_BTHW
    assert real[0, :4, :, :5].all()
    assert not real[0, 4:].any()
    assert not real[0, :, :, 5].any()
    # Row 20 lies in the third row of regions, which is real in part.
    assert real[1, :, :3].all()
    assert not real[1, :, 3].any()
    assert video.regions_BTHWD[~real].abs().max() == 0
    assert (video.regions_BTHWD[real].abs().amax(-1) > 0).all()


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
    assert one.stride == two.stride == (stride, stride)
    inside = (1, slice(frames), slice(rows), slice(columns))
    here = (0, slice(frames), slice(rows), slice(columns))
    assert one.real_BTHW[here].all() and two.real_BTHW[inside].all()
    assert two.real_BTHW[1].sum() == frames * rows * columns
    torch.testing.assert_close(
        one.regions_BTHWD[here], two.regions_BTHWD[inside]
    )
    torch.testing.assert_close(
        one.centres_BTHW2[here], two.centres_BTHW2[inside]
    )


def test_looks_and_motion_share_the_grid_of_looks():
    encoder = build(**ENCODERS['looks and motion'])
    assert (encoder.stride, encoder.motion.stride) == (4, 8)
    assert encoder.granule == 8
    assert encoder.project.in_channels == 6 + 6
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
    video = encoder(**batch)
    video.regions_BTHWD.square().mean().backward()
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
    with pytest.raises(ValueError, match='9x7 pixels is smaller than one re'):
        build('Patches')(**inputs(1, 2, 7, 9))


def test_gradients_reach_backbone_and_projection():
    encoder = build('Patches').train()
    encoder(**inputs()).regions_BTHWD.square().mean().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name


# One test each: the imports of the families take seconds.


def test_mmdet_resnet_with_fpn():
    pytest.importorskip('mmdet')
    encoder = VideoEncoder(
        dict(
            type='mmdet.ResNet',
            depth=18,
            base_channels=8,
            stem_channels=8,
            out_indices=(1, 2),
        ),
        16,
        neck=dict(
            type='mmdet.FPN', in_channels=[16, 32], out_channels=12, num_outs=2
        ),
        level=0,
    )
    encoder.init_weights()
    assert encoder.input_layout == 'frame'
    video = encoder(**inputs(clips=1, frames=2, height=64, width=64))
    assert video.regions_BTHWD.shape == (1, 2, 8, 8, 16)
    assert video.regions_BTHWD.isfinite().all()


def test_mmaction_slow_only():
    pytest.importorskip('mmaction')
    encoder = VideoEncoder(
        dict(
            type='mmaction.ResNet3dSlowOnly',
            depth=18,
            base_channels=8,
            pretrained=None,
            lateral=False,
            conv1_kernel=(1, 7, 7),
            conv1_stride_t=1,
            pool1_stride_t=1,
            inflate=(0, 0, 1, 1),
            norm_eval=False,
        ),
        16,
    )
    encoder.init_weights()
    assert encoder.input_layout == 'video'
    video = encoder(**inputs(clips=1, frames=4, height=64, width=64))
    assert video.regions_BTHWD.shape == (1, 4, 2, 2, 16)
    assert video.stride == (32, 32)
    assert video.regions_BTHWD.isfinite().all()


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
def test_a_finer_level_goes_along():
    encoder = two_levels(detail_level=0)
    assert encoder.detail_dims == 6
    batch = inputs()
    details = encoder(**batch).details
    assert details.stride == (4, 4)
    wanted = encoder.backbone(**batch)[0]
    torch.testing.assert_close(details.map_BTCHW, wanted)
    assert two_levels()(**batch).details is None


@torch.no_grad()
@pytest.mark.parametrize('neck', [None, dict(type='Blur', channels=8)])
def test_details_of_a_clip_beside_a_larger_one(neck):
    """Zero on padding, and the same as alone."""
    encoder = two_levels(detail_level=0, neck=neck)
    batch = inputs()
    batch['frame_mask'][0, 4:] = False
    batch['pixel_mask'][0, 16:] = batch['pixel_mask'][0, :, 24:] = False
    batch['imgs'][0, 4:] = batch['imgs'][0, :, :, 16:] = 0
    batch['imgs'][0, :, :, :, 24:] = 0
    beside = encoder(**batch).details.map_BTCHW
    alone = encoder(
        batch['imgs'][:1, :4, :, :16, :24],
        batch['frame_mask'][:1, :4],
        batch['pixel_mask'][:1, :16, :24],
    ).details.map_BTCHW
    assert alone.shape[-2:] == (4, 6)
    torch.testing.assert_close(beside[:1, :4, :, :4, :6], alone)
    rest = beside[0].clone()
    rest[:4, :, :4, :6] = 0
    assert rest.abs().max() == 0
    whole = encoder(**{k: v[1:] for k, v in batch.items()})
    torch.testing.assert_close(beside[1:], whole.details.map_BTCHW)


def test_details_of_a_level_that_is_not_there():
    with pytest.raises(ValueError, match=r'detail_level=2 .* \[4, 8\] pixels'):
        two_levels(detail_level=2)
    with pytest.raises(ValueError, match='set model.video_encoder.detail'):
        _ = two_levels().detail_dims


def test_details_are_finer_than_the_grid():
    with pytest.raises(ValueError, match='cells of 8 pixels, no finer than'):
        two_levels(detail_level=1)


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
        video = encoder(**batch)
    video.regions_BTHWD.float().square().mean().backward()
    grads = [p.grad for p in encoder.backbone.parameters()]
    assert all(grad.isfinite().all() for grad in grads)
