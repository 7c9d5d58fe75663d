"""The tower round any backbone: what is found of it, and what is refused."""

import copy

import pytest
import torch
import torch.nn.functional as F
from mmengine.logging import MMLogger
from mmengine.model import BaseModule
from torch import nn
from torch.utils.checkpoint import checkpoint

from hero_mm.models.video_encoders import FeatureTower
from hero_mm.registry import MODELS


class Flat(nn.Module):
    """2-D: means of patches at some strides, one channel more each."""

    def __init__(self, strides=(4, 8), channels=4):
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv2d(3, channels + place, stride, stride)
            for place, stride in enumerate(strides)
        )

    def forward(self, x):
        return tuple(conv(x) for conv in self.convs)


class Means(nn.Module):
    """3-D: each layer takes means in time, (kernel, stride, padding)."""

    def __init__(self, layers, space=4, levels=1):
        super().__init__()
        self.layers = nn.ModuleList()
        for kernel, stride, padding in layers:
            conv = nn.Conv3d(
                3,
                3,
                (kernel, space, space),
                (stride, space, space),
                (padding, 0, 0),
                groups=3,
                bias=False,
            )
            nn.init.constant_(conv.weight, 1 / conv.weight[0].numel())
            self.layers.append(conv)
            space = 1
        self.levels = levels

    def forward(self, x):
        found = []
        for layer in self.layers:
            x = layer(x)
            found.append(x)
        return tuple(found[-self.levels :])


class OfOneLength(nn.Module):
    """3-D: takes clips of one length only; means over pairs of frames."""

    def __init__(self, num_frames=16):
        super().__init__()
        self.num_frames = num_frames
        self.means = Means([(2, 2, 0)])

    def forward(self, x):
        assert x.shape[2] == self.num_frames, 'of one length'
        # Every step sees all of the window.
        (out,) = self.means(x)
        return out + x.mean((1, 2, 3, 4), keepdim=True)


class Pathways(nn.Module):
    """Two pathways as those of SlowFast, a step every four frames and one."""

    def __init__(self):
        super().__init__()
        self.slow_path = nn.Conv3d(3, 4, (1, 8, 8), (1, 8, 8))
        self.fast_path = nn.Conv3d(3, 2, (1, 8, 8), (1, 8, 8))

    def forward(self, x):
        return self.slow_path(x[:, :, ::4]), self.fast_path(x)


class Shift(nn.Module):
    def __init__(self, num_segments):
        super().__init__()
        self.num_segments = num_segments

    def forward(self, x):
        return x.unflatten(0, (-1, self.num_segments)).roll(1, 1).flatten(0, 1)


class Shifted(nn.Module):
    """2-D as TSM: told the frames of a clip by its parts."""

    def __init__(self, num_segments=8):
        super().__init__()
        self.num_segments = num_segments
        self.conv = nn.Conv2d(3, 4, 8, 8)
        self.shift = Shift(num_segments)

    def forward(self, x):
        return self.shift(self.conv(x))


class Odd(nn.Module):
    """2-D: what is wrong with it has a name."""

    def __init__(self, wrong, layout=None):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 8, 8)
        self.wrong = wrong
        if layout:
            self.input_layout = layout

    def forward(self, x, *masks):
        if self.wrong == 'clip':
            return self.conv(x.flatten(0, 1))
        out = self.conv(x)
        if self.wrong == 'small' and x.shape[-1] < 64:
            raise RuntimeError('at least 64 pixels')
        if self.wrong == 'branches' and self.training:
            return torch.cat([out, out])
        if self.wrong == 'one' and self.training:
            return out[:1]
        return {
            'none': None,
            'unpadded': out[..., 1:-1, 1:-1],
        }.get(self.wrong, out)


class Pooled(nn.Module):
    """3-D: one step, however long the clip."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv3d(3, 4, (1, 8, 8), (1, 8, 8))

    def forward(self, x):
        return self.conv(x).mean(2, keepdim=True)


class Clips(nn.Module):
    """Takes clips with their masks; pairs of frames are a step."""

    input_layout = 'clip'

    def __init__(self):
        super().__init__()
        self.pool = nn.AvgPool3d((2, 8, 8))

    def forward(self, imgs, frame_mask, pixel_mask):
        assert frame_mask.shape == imgs.shape[:2]
        assert pixel_mask.shape == (len(imgs), *imgs.shape[-2:])
        pairs = self.pool(imgs.transpose(1, 2))
        return pairs.transpose(1, 2)


class Sum(nn.Module):
    """A neck: the first level, and how its channels were told."""

    def __init__(self, in_channels, kind):
        super().__init__()
        torch.rand(3)
        wanted = dict(list=list, number=int)
        assert isinstance(in_channels, wanted[kind]), 'wrong kind'
        told = in_channels if kind == 'number' else in_channels[-1]
        self.in_channels = in_channels
        self.conv = nn.Conv2d(told, 7, 1)

    def forward(self, levels):
        return [self.conv(levels[-1])]


class Loose(Sum):
    """A neck that hides its arguments."""

    def __init__(self, **arguments):
        super().__init__(**arguments)


class Neck(nn.Module):
    """A neck without channels: pools, or flattens."""

    def __init__(self, kind):
        super().__init__()
        self.kind = kind

    def forward(self, levels):
        return {
            'pooled': lambda x: x.mean((2, 3)),
            'cropped': lambda x: x[..., 1:, 1:],
            'twice': lambda x: torch.cat([x, x], 1),
        }[self.kind](levels[-1])


@pytest.fixture(autouse=True)
def known(register):
    register(
        Flat,
        Means,
        OfOneLength,
        Pathways,
        Shifted,
        Odd,
        Pooled,
        Clips,
        Sum,
        Loose,
        Neck,
    )


def tower(kind, clip_len=None, neck=None, level=-1, **arguments):
    config = dict(type=kind, **arguments)
    torch.manual_seed(0)
    return FeatureTower(config, neck, level, clip_len).eval()


def told(found):
    return [
        (level.stride, level.time_stride, level.first)
        for level in found.levels
    ]


@pytest.mark.parametrize(
    ('layers', 'stride', 'first'),
    [
        ([(3, 1, 1)], 1, 0),
        ([(2, 2, 0)], 2, 0.5),
        ([(3, 2, 1)], 2, 0),
        ([(5, 2, 2), (2, 2, 0)], 4, 1),
        ([(3, 2, 1), (3, 2, 1), (3, 2, 1)], 8, 0),
        ([(2, 2, 0)] * 4, 16, 7.5),
    ],
    ids=str,
)
def test_a_ramp_comes_through_strided_layers_as_it_is(
    clip_of, layers, stride, first
):
    """Frames hold their number; so do the frames of the map."""
    found = tower('Means', layers=layers)
    assert told(found) == [(4, stride, first)]
    assert found.channels == 3
    frames = 5 * stride + 3
    out = found.feature_map(**clip_of(frames, (8, 8), 'ramp'))
    assert out.shape == (1, frames, 3, 2, 2)
    # Zeros that pad the ends, and held frames, are seen near them.
    edge = 2 * stride
    inner = torch.arange(edge, frames - edge)
    wanted = inner.float()[:, None, None, None].expand(-1, 3, 2, 2)
    torch.testing.assert_close(out[0, inner], wanted)


def test_levels_of_different_strides_are_each_aligned(clip_of):
    layers = [(2, 2, 0), (2, 2, 0), (2, 2, 0)]
    for level in range(3):
        found = tower('Means', layers=layers, levels=3, level=level)
        assert [one.time_stride for one in found.levels] == [2, 4, 8]
        out = found.feature_map(**clip_of(24, (4, 4), 'ramp'))
        inner = torch.arange(8, 16)
        torch.testing.assert_close(out[0, inner, 0, 0, 0], inner.float())


@pytest.mark.parametrize('frames', [1, 2, 3, 5, 8, 9])
def test_any_length(clip_of, frames):
    """Shorter than a step, and no multiple of it."""
    found = tower('Means', layers=[(2, 2, 0), (2, 2, 0)])
    out = found.feature_map(**clip_of(frames, (8, 8), 'ramp'))
    assert out.shape[1] == frames
    values = out[0, :, 0, 0, 0]
    assert (values.diff() >= 0).all() and values.max() <= frames - 1
    if frames == 1:
        assert values.tolist() == [0]


@pytest.mark.parametrize(
    ('kind', 'arguments', 'length'),
    [
        ('OfOneLength', {}, 16),
        ('OfOneLength', dict(num_frames=8), 8),
        ('OfOneLength', dict(num_frames=12), 12),
        ('OfOneLength', dict(num_frames=32), 32),
    ],
)
def test_windows_of_the_one_length_that_is_taken(
    clip_of, kind, arguments, length
):
    found = tower(kind, **arguments)
    assert found.clip_len == length
    for frames in (1, length - 1, length, 2 * length + 3):
        clip = clip_of(frames, (8, 8), 'ramp')
        assert found.feature_map(**clip).shape[1] == frames


def test_a_window_sees_its_own_frames(clip_of):
    found = tower('OfOneLength')
    clip = clip_of(40, (8, 8))
    before = found.feature_map(**clip)
    clip['imgs'] = clip['imgs'].clone()
    clip['imgs'][:, 18] += 1
    moved = (found.feature_map(**clip) - before).abs().amax((0, 2, 3, 4))
    # The last window starts at 24, and its first 8 frames are of the second.
    assert (moved > 1e-6).nonzero().flatten().tolist() == [*range(16, 32)]


def test_pathways_stand_beside_each_other(clip_of):
    found = tower('Pathways')
    assert told(found) == [(8, 4, 0), (8, 1, 0)]
    assert found.channels == 6
    clip = clip_of(9, (16, 16))
    out = found.feature_map(**clip)
    slow, fast = found.backbone(clip['imgs'].transpose(1, 2))
    torch.testing.assert_close(out[:, :, 4:], fast.transpose(1, 2))
    torch.testing.assert_close(out[:, ::4, :4], slow.transpose(1, 2))
    between = slow[:, :, :2].lerp(slow[:, :, 1:3], 0.25).transpose(1, 2)
    torch.testing.assert_close(out[:, 1::4, :4], between)


def test_parts_are_told_the_frames_of_a_clip(clip_of):
    found = tower('Shifted')
    assert (found.sees, found.input_layout) == ('segments', 'frame')
    clip = clip_of(5, (16, 16), clips=2)
    out = found.feature_map(**clip)
    plain = found.backbone.conv(clip['imgs'].flatten(0, 1))
    torch.testing.assert_close(out, plain.unflatten(0, (2, 5)).roll(1, 1))


def test_a_backbone_of_clips_may_stride_time(clip_of):
    found = tower('Clips')
    assert told(found) == [(8, 2, 0.5)]
    out = found.feature_map(**clip_of(7, (16, 16), 'ramp'))
    inner = torch.arange(1, 5)
    torch.testing.assert_close(out[0, inner, 0, 0, 0], inner.float())


@pytest.mark.parametrize('stride', [4, 7, 14, 16, 24, 64, 96])
@pytest.mark.parametrize('kind', ['Flat', 'Means'])
def test_strides_in_pixels(stride, kind):
    if kind == 'Flat':
        found = tower('Flat', strides=[stride])
    else:
        found = tower('Means', layers=[(2, 2, 0)], space=stride)
    assert found.stride == found.multiple == stride
    assert tower('Flat', strides=[6, 4]).multiple == 12


def test_frames_that_are_too_small(clip_of):
    found = tower('Odd', wrong='small')
    with pytest.raises(ValueError, match='48x32 pixels: at least 64.*ResizeC'):
        found.feature_map(**clip_of(2, (32, 48)))


def test_other_levels_in_training_are_no_other_times(clip_of):
    """They would be taken for steps."""
    found = tower('Odd', wrong='branches')
    found.feature_map(**clip_of(2, (16, 16)))
    with pytest.raises(ValueError, match=r'gives \[4\] steps for 2 frames'):
        found.train().feature_map(**clip_of(2, (16, 16)))


def test_a_map_for_the_whole_batch(clip_of):
    found = tower('Odd', wrong='one').train()
    with pytest.raises(
        ValueError, match=r'\[1\] maps for 2 clips of 3 frames'
    ):
        found.feature_map(**clip_of(3, (16, 16), clips=2))


REFUSED = {
    'nothing': (dict(type='Odd', wrong='none'), {}, 'NoneType'),
    'no whole cells': (
        dict(type='Odd', wrong='unpadded'),
        {},
        '14x14 cells for frames of 128x128 pixels: .* whole number',
    ),
    'no type': (dict(depth=50), {}, "type, such as .*'depth': 50"),
    'no config': ('mmdet.ResNet', {}, 'such as .*got mmdet.ResNet'),
    'unknown': (dict(type='Falt'), {}, "no backbone 'Falt'; did you mean Fla"),
    'argument': (
        dict(type='Flat', depth=3),
        {},
        "backbone Flat refuses its arguments: .*'depth'",
    ),
    'no whole steps': (
        dict(type='Means', layers=[(3, 2, 0)]),
        {},
        r'gives 15 steps for 32 frames: .* whole number',
    ),
    'steps of seven frames': (
        dict(type='Means', layers=[(7, 7, 3)]),
        {},
        r'gives 5 steps for 32 frames',
    ),
    'one step a clip': (dict(type='Pooled'), {}, '1 steps.*or a clip_len'),
    'an unusual length': (
        dict(type='Wrapped'),
        {},
        r'32 frames of 64x64 pixels: of one length.*\(clip_len\) only',
    ),
    'another length': (
        dict(type='OfOneLength'),
        dict(clip_len=8),
        '8 frames of 64x64 pixels: of one length',
    ),
    'no frames': (dict(type='Pooled'), dict(clip_len=0), 'number of frames'),
    'windows of frames': (
        dict(type='Flat'),
        dict(clip_len=8),
        'clip_len=8 is for backbones that see several frames',
    ),
    'windows of clips': (
        dict(type='ShiftConvNet'),
        dict(clip_len=8),
        'clips of any length',
    ),
    'layout': (
        dict(type='Odd', wrong=None, layout='frames'),
        {},
        "must be one of .*; got 'frames'",
    ),
    'frames in place of clips': (
        dict(type='Odd', wrong='clip', layout='clip'),
        {},
        r'\(8, 4, 8, 8\).*map',
    ),
    'unknown neck': (dict(type='Flat'), dict(neck=dict(type='X')), "neck 'X'"),
    'neck without a map': (
        dict(type='Flat'),
        dict(neck=dict(type='Neck', kind='pooled')),
        r'Neck gives a feature of shape \(1, 5\).*Choose a neck',
    ),
    'neck without whole cells': (
        dict(type='Flat'),
        dict(neck=dict(type='Neck', kind='cropped')),
        '15x15 cells for frames of 128x128',
    ),
}


class Wrapped(OfOneLength):
    """Does not tell its length, which is no usual one."""

    def __init__(self):
        super().__init__(10)


@pytest.mark.parametrize('name', REFUSED)
def test_refused_in_words(name, register):
    register(Wrapped)
    backbone, options, words = REFUSED[name]
    with pytest.raises(ValueError, match=words):
        FeatureTower(backbone, **options)


def test_clip_len_makes_steps_of_one_that_pools_time(clip_of):
    found = tower('Pooled', clip_len=4)
    out = found.feature_map(**clip_of(8, (16, 16)))
    assert torch.equal(out[:, 0], out[:, 3])
    assert not torch.equal(out[:, 3], out[:, 4])


@pytest.fixture
def lines(caplog):
    """Function: what was logged so far."""
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    level = logger.level
    logger.setLevel('INFO')
    yield lambda: [one.getMessage() for one in caplog.handler.records]
    logger.setLevel(level)
    logger.removeHandler(caplog.handler)


def test_one_line_says_what_is_built(lines):
    tower('Means', layers=[(2, 2, 0), (2, 2, 0)], levels=2, level=0)
    assert lines() == [
        'Means sees clips; levels of 4, 4 pixels a cell with 3, 3 channels, '
        'a step every 2, 4 frame(s); the map has 4 pixels a cell and 3 '
        'channels; nothing reads backbone.layers.1: frozen'
    ]
    tower('OfOneLength')
    assert lines()[1].startswith('OfOneLength sees clips in windows of 16; ')
    assert lines()[1].endswith('; all of it is read')


def test_what_nothing_reads_is_frozen(clip_of):
    neck = dict(type='Sum', kind='list')
    found = tower('Flat', strides=[4, 8, 16], neck=neck)
    assert found.unread == ['backbone.convs.0', 'backbone.convs.1']
    found = tower('Flat', strides=[4, 8, 16], level=1)
    assert found.unread == ['backbone.convs.0', 'backbone.convs.2']
    found = FeatureTower(
        dict(type='Flat', strides=[4, 8, 16]), level=1, finer_levels=(0,)
    )
    assert found.unread == ['backbone.convs.2']
    fine, coarse = found.feature_maps(**clip_of(2, (16, 16)))
    (fine.sum() + coarse.sum()).backward()
    for name, parameter in found.named_parameters():
        wanted = name.partition('convs.2')[1] == ''
        assert parameter.requires_grad == wanted, name
        assert (parameter.grad is not None) == wanted, name


class Block(nn.Module):
    """As the blocks of Video Swin: checkpointed, whatever comes in."""

    def __init__(self, with_cp):
        super().__init__()
        self.with_cp = with_cp
        self.conv = nn.Conv3d(3, 3, 1)

    def forward(self, x):
        if self.with_cp:
            return checkpoint(self.conv, x, use_reentrant=True)
        return self.conv(x)


class Checkpointed(nn.Module):
    def __init__(self, with_cp=True):
        super().__init__()
        self.with_cp = with_cp
        self.blocks = nn.Sequential(*(Block(with_cp) for _ in range(3)))
        self.blocks[0].requires_grad_(False)

    def forward(self, x):
        return self.blocks(F.avg_pool3d(x, (1, 4, 4)))


def test_checkpointed_blocks_behind_frozen_ones_learn(register, clip_of):
    register(Checkpointed)
    grads = []
    for with_cp in (False, True):
        found = tower('Checkpointed', with_cp=with_cp).train()
        assert found.unread == []
        found.feature_map(**clip_of(2, (8, 8))).square().sum().backward()
        blocks = found.backbone.blocks
        assert blocks[0].conv.weight.grad is None
        grads.append([p.grad for p in blocks[1:].parameters()])
    assert len(grads[0]) == 4
    torch.testing.assert_close(*grads)


class Stages(nn.Module):
    """As the ResNets of mmaction2; some do not heed their out_indices."""

    def __init__(self, out_indices=(2,), heeds=True):
        super().__init__()
        self.out_indices = out_indices
        self.res_layers = []
        for place in range(3):
            self.res_layers.append(f'layer{place + 1}')
            self.add_module(self.res_layers[-1], nn.Conv2d(3, 3, 2, 2))
        self.heeds = heeds

    def forward(self, x):
        found = []
        for place, name in enumerate(self.res_layers):
            x = getattr(self, name)(x)
            if place in self.out_indices:
                found.append(x)
        return tuple(found) if self.heeds else x


def test_levels_other_than_asked(register):
    register(Stages)
    assert tower('Stages', out_indices=(0, 1)).strides == [2, 4]
    assert tower('Stages', out_indices=(1,)).unread == ['backbone.layer3']
    with pytest.raises(ValueError, match=r'1 level\(s\) of \[8\].*asks for 2'):
        tower('Stages', out_indices=(1, 2), heeds=False)
    with pytest.raises(ValueError, match=r'not heed .*\(1,\).*of 8 pix'):
        tower('Stages', out_indices=(1,), heeds=False)
    tower('Stages', heeds=False)


class Inflating(nn.Module):
    """As those of mmaction2, which inflate by a code of their own."""

    def __init__(self, pretrained, fills):
        super().__init__()
        self.pretrained = pretrained
        self.fills = fills
        self.conv = nn.Conv3d(3, 4, (1, 8, 8), (1, 8, 8))

    def forward(self, x):
        return self.conv(x)

    def init_weights(self):
        if self.fills:
            nn.init.zeros_(self.conv.bias)
        elif self.fills is None:
            raise KeyError('conv1.weight')


@pytest.mark.parametrize('fills', [False, None])
def test_inflated_weights_that_fill_nothing(register, fills):
    register(Inflating)
    tower('Inflating', pretrained='a.pth', fills=True).init_weights()
    found = tower('Inflating', pretrained='a.pth', fills=fills)
    with pytest.raises(ValueError, match="'a.pth' fills nothing of Infl"):
        found.init_weights()


@pytest.mark.parametrize(
    'given',
    [{}, dict(type='Loose'), dict(kind='number', in_channels=5)],
)
def test_channels_of_a_neck_are_found_or_given(given):
    found = tower('Flat', neck=dict(dict(type='Sum', kind='list'), **given))
    assert found.neck.conv.in_channels == 5
    assert (found.channels, found.stride) == (7, 8)
    with pytest.raises(ValueError, match='refuses its arguments: wrong kind'):
        tower('Flat', neck=dict(type='Sum', kind='number'))


def test_necks_one_after_the_other(clip_of):
    necks = [dict(type='Sum', kind='list'), dict(type='Neck', kind='twice')]
    found = tower('Flat', neck=necks)
    assert found.channels == 14
    clip = clip_of(2, (16, 16))
    out = found.feature_map(**clip)
    alone = found.neck[0](found.backbone(clip['imgs'].flatten(0, 1)))[0]
    torch.testing.assert_close(out[0, :, :7], alone)


class Frozen(nn.Module):
    """A part of it stays in evaluation mode; another draws lots."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 8, 8)
        self.norm = nn.BatchNorm2d(4)
        self.kept = nn.BatchNorm2d(4).eval()

    def forward(self, x):
        torch.rand(3)
        return self.kept(self.norm(self.conv(x) + 1))


def test_trial_runs_leave_no_trace(register):
    register(Frozen)
    config = dict(type='Frozen')
    torch.manual_seed(3)
    plain = MODELS.build(config)
    random = torch.get_rng_state()
    torch.manual_seed(3)
    found = FeatureTower(config)
    assert torch.equal(torch.get_rng_state(), random)
    state = found.backbone.state_dict()
    for name, value in plain.state_dict().items():
        assert torch.equal(state[name], value), name
    assert found.training and found.backbone.norm.training
    assert not found.backbone.kept.training
    assert all(p.grad is None for p in found.parameters())


class Writing(Flat):
    """Writes into its config, as mmaction2's SlowFast."""

    def __init__(self, path):
        super().__init__()
        path['ratio'] = 8


def test_the_config_stays_as_it_is(register):
    register(Writing)
    config = dict(type='Writing', path=dict(depth=3))
    before = copy.deepcopy(config)
    FeatureTower(config)
    assert config == before


class Learned(BaseModule):
    """2-D, with weights of a known start."""

    def __init__(self, init_cfg=None):
        super().__init__(init_cfg)
        self.conv = nn.Conv2d(3, 4, 8, 8)

    def forward(self, x):
        return self.conv(x)


@pytest.mark.parametrize('motion', [False, True])
def test_weights_of_a_whole_recogniser(register, tmp_path, motion):
    """Keys of its backbone reach ours, whatever else lies in the file."""
    register(Learned)
    weight = torch.randn(4, 3, 8, 8)
    state = {
        'backbone.conv.weight': weight,
        'backbone.conv.bias': torch.ones(4),
        'cls_head.fc.weight': torch.ones(2, 4),
    }
    torch.save({'state_dict': state}, tmp_path / 'recogniser.pth')
    start = dict(
        type='Pretrained', checkpoint=str(tmp_path / 'recogniser.pth')
    )
    options = dict(init_cfg=start)
    if motion:
        second = dict(backbone=dict(type='Learned'), **options)
        options = dict(motion=second)
    encoder = MODELS.build(
        dict(
            type='VideoEncoder',
            backbone=dict(type='Learned'),
            embed_dims=6,
            **options,
        )
    )
    project = encoder.projects[0].weight.clone()
    encoder.init_weights()
    loaded = encoder.motion if motion else encoder
    assert torch.equal(loaded.backbone.conv.weight, weight)
    assert torch.equal(loaded.backbone.conv.bias, torch.ones(4))
    assert torch.equal(encoder.projects[0].weight, project)
    if motion:
        assert not torch.equal(encoder.backbone.conv.weight, weight)
