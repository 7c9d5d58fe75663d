"""The tower round any backbone: what is found of it, and what is refused."""

import copy

import pytest
import torch
import torch.nn.functional as F
from mmengine.logging import MMLogger
from torch import nn
from torch.utils.checkpoint import checkpoint

from hero_mm.models.video_encoders.feature_tower import FeatureTower
from hero_mm.registry import MODELS


class Flat(nn.Module):
    """2-D: means of patches at some strides, one channel more each."""

    def __init__(self, strides=(4, 8)):
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv2d(3, 4 + place, stride, stride)
            for place, stride in enumerate(strides)
        )

    def forward(self, x):
        return tuple(conv(x) for conv in self.convs)


class Twice(nn.Module):
    """2-D: one layer at two strides, the coarser one first."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 2, 2)

    def forward(self, x):
        coarse = self.conv(F.avg_pool2d(x, 4))
        return self.conv(x), coarse


class Dropped(nn.Module):
    """2-D: dropout between its levels."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 3, 4, 4), nn.Conv2d(3, 3, 2, 2)
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        x = self.first(x)
        return x, self.last(self.drop(x))


class Means(nn.Module):
    """3-D: each layer takes means in time, (kernel, stride, padding).

    A number behind these is its dilation; branches are a block and shortcuts.
    """

    def __init__(self, layers, space=4, levels=1, branches=1):
        super().__init__()
        self.layers = nn.ModuleList()
        for kernel, stride, padding, *dilation in layers:
            self.layers.append(nn.ModuleList())
            for _ in range(branches):
                conv = nn.Conv3d(
                    3,
                    3,
                    (kernel, space, space),
                    (stride, space, space),
                    (padding, 0, 0),
                    ((dilation or [1])[0], 1, 1),
                    groups=3,
                    bias=False,
                )
                nn.init.constant_(conv.weight, 1 / conv.weight[0].numel())
                self.layers[-1].append(conv)
            space = 1
        self.levels = levels

    def forward(self, x):
        found = []
        for layer in self.layers:
            x = sum(conv(x) for conv in layer) / len(layer)
            found.append(x)
        return tuple(found[-self.levels :])


class OfOneLength(nn.Module):
    """3-D: clips of one length only, each step of which sees the whole."""

    def __init__(self, num_frames=16):
        super().__init__()
        self.num_frames = num_frames
        self.means = Means([(2, 2, 0)])

    def forward(self, x):
        assert x.shape[2] == self.num_frames, 'of one length'
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
        found = {'none': None, 'unpadded': out[..., 1:-1, 1:-1]}
        return found.get(self.wrong, out)


class Pooled(nn.Module):
    """3-D: one step, however long the clip."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv3d(3, 4, (1, 8, 8), (1, 8, 8))

    def forward(self, x):
        return self.conv(x).mean(2, keepdim=True)


class Last(nn.Module):
    """A neck on the last level; draws a random number."""

    def __init__(self, in_channels):
        super().__init__()
        torch.rand(3)
        self.conv = nn.Conv2d(in_channels[-1], 7, 1)

    def forward(self, levels):
        return [self.conv(levels[-1])]


class Neck(nn.Module):
    """A neck without channels."""

    def __init__(self, kind):
        super().__init__()
        self.kind = kind

    def forward(self, levels):
        return {
            'pooled': lambda x: x.mean((2, 3)),
            'cropped': lambda x: x[..., 1:, 1:],
            'twice': lambda x: torch.cat([x, x], 1),
        }[self.kind](levels[-1])


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
        self.blocks = nn.Sequential(*(Block(with_cp) for _ in range(3)))
        self.blocks[0].requires_grad_(False)

    def forward(self, x):
        return self.blocks(F.avg_pool3d(x, (1, 4, 4)))


class Frozen(nn.Module):
    """A part of it stays in evaluation mode; another draws lots.

    It writes into its config, too, as mmaction2's SlowFast.
    """

    def __init__(self, path):
        super().__init__()
        path['ratio'] = 8
        self.conv = nn.Conv2d(3, 4, 8, 8)
        self.norm = nn.BatchNorm2d(4)
        self.kept = nn.BatchNorm2d(4).eval()

    def forward(self, x):
        torch.rand(3)
        return self.kept(self.norm(self.conv(x) + 1))


class Branches(nn.Module):
    """3-D; in training it answers three times."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv3d(3, 3, (1, 4, 4), (1, 4, 4))

    def forward(self, x):
        x = self.conv(x)
        return torch.cat([x] * 3, 2) if self.training else x


@pytest.fixture(autouse=True)
def known(register):
    register(Flat, Means, OfOneLength, Pathways, Odd, Pooled)
    register(Last, Neck, Stages, Inflating, Checkpointed)
    register(Frozen, Branches, Twice, Dropped)


def tower(kind, clip_len=None, neck=None, level=-1, **arguments):
    torch.manual_seed(0)
    config = dict(type=kind, **arguments)
    return FeatureTower(config, neck, level, clip_len).eval()


def map_of(found, clip):
    return found.feature_maps(**clip)[-1]


@pytest.mark.parametrize('branches', [1, 2])
@pytest.mark.parametrize(
    ('layers', 'stride'),
    [
        ([(3, 1, 1)], 1),
        ([(2, 2, 0)], 2),
        ([(3, 2, 1)], 2),
        # Taps at -1 and 1.
        ([(2, 2, 1, 2)], 2),
        ([(5, 2, 2), (2, 2, 0)], 4),
        ([(2, 2, 0)] * 4, 16),
    ],
    ids=str,
)
def test_a_ramp_comes_through_strided_layers_as_it_is(
    clip_of, layers, stride, branches
):
    """Frames hold their number; so do the frames of the map."""
    found = tower('Means', layers=layers, branches=branches)
    assert not any(part._forward_hooks for part in found.modules())
    assert (found.stride, found.channels) == (4, 3)
    assert found.time_strides == [stride]
    frames = 5 * stride + 3
    out = map_of(found, clip_of(frames, (8, 8), ramp=True))
    assert out.shape == (1, frames, 3, 2, 2)
    # Zeros that pad the ends, and held frames, are seen near them.
    edge = 2 * stride
    inner = torch.arange(edge, frames - edge)
    wanted = inner.float()[:, None, None, None].expand(-1, 3, 2, 2)
    torch.testing.assert_close(out[0, inner], wanted)
    # A frame alone is held.
    one = clip_of(1, (8, 8), ramp=True)
    assert map_of(found, one).shape[1] == 1


def test_levels_of_different_strides_are_each_aligned(clip_of):
    for level in range(3):
        found = tower('Means', layers=[(2, 2, 0)] * 3, levels=3, level=level)
        assert found.time_strides == [2, 4, 8]
        out = map_of(found, clip_of(24, (4, 4), ramp=True))
        inner = torch.arange(8, 16)
        torch.testing.assert_close(out[0, inner, 0, 0, 0], inner.float())


def test_a_window_sees_its_own_frames(clip_of):
    found = tower('OfOneLength', num_frames=16)
    clip = clip_of(40, (8, 8))
    before = map_of(found, clip)
    clip['imgs'][:, 30] += 1
    moved = (map_of(found, clip) - before).abs().amax((0, 2, 3, 4))
    # The second window holds 16 to 31; the last one begins at 24.
    assert (moved > 1e-6).nonzero().flatten().tolist() == [*range(16, 40)]


def test_pathways_stand_beside_each_other(clip_of):
    found = tower('Pathways')
    assert found.time_strides == [4, 1] and found.strides == [8]
    assert found.channels == 6
    clip = clip_of(9, (16, 16))
    out = map_of(found, clip)
    slow, fast = found.backbone(clip['imgs'].transpose(1, 2))
    torch.testing.assert_close(out[:, :, 4:], fast.transpose(1, 2))
    torch.testing.assert_close(out[:, ::4, :4], slow.transpose(1, 2))
    between = slow[:, :, :2].lerp(slow[:, :, 1:3], 0.25).transpose(1, 2)
    torch.testing.assert_close(out[:, 1::4, :4], between)


@pytest.mark.parametrize(
    ('wrong', 'words'),
    [
        ('small', '48x32 pixels: at least 64.*ResizeClip'),
        # They would be taken for steps.
        ('branches', r'gives \[6\] steps for 3 frames'),
    ],
)
def test_what_shows_when_it_runs(clip_of, wrong, words):
    found = tower('Odd', wrong=wrong).train()
    with pytest.raises(ValueError, match=words):
        map_of(found, clip_of(3, (32, 48), clips=2))


FLAT = dict(type='Flat')
REFUSED = [
    (dict(type='Odd', wrong='none'), {}, 'NoneType'),
    (dict(type='Odd', wrong='unpadded'), {}, '14x14 cells .* of 128x128 pix'),
    (dict(depth=50), {}, "type, such as .*'depth': 50"),
    ('mmdet.ResNet', {}, 'such as .*got mmdet.ResNet'),
    (dict(type='Falt'), {}, "no backbone 'Falt'; parts of other"),
    (dict(type='mmdet.ResNeet'), {}, "mmdet has no backbone '.*ResNeet'$"),
    (dict(type='mmaction.ResNetAudio'), {}, 'takes no pictures'),
    (dict(type='Odd', wrong='', layout='frames'), {}, "'frames' of Odd must"),
    (dict(type='mmaction.C3D'), {}, 'one answer a clip.*Choose'),
    (dict(type='Flat', depth=3), {}, "Flat refuses its arguments: .*'depth'"),
    (dict(type='Means', layers=[(3, 2, 0)]), {}, 'whole number of frames'),
    (dict(type='Means', layers=[(7, 7, 3)]), {}, r'gives \[5\] steps for 32'),
    (dict(type='Pooled'), {}, r'\[1\] steps.*or a clip_len'),
    (dict(type='OfOneLength'), dict(clip_len=8), '8 frames .*: of one length'),
    (dict(type='Pooled'), dict(clip_len=0), 'clip_len=0 must be at least 1'),
    (FLAT, dict(clip_len=8), 'sees a frame'),
    (dict(type='ShiftConvNet'), dict(clip_len=8), 'sees a clip'),
    (dict(type='Odd', wrong='clip', layout='clip'), {}, r'\(8, 4, 8, 8\)'),
    (FLAT, dict(level=2), 'level 2 does not exist: Flat gives 2'),
    (FLAT, dict(finer_levels=(2,)), 'level 2 does not exist: Flat gives 2'),
    (FLAT, dict(neck=dict(type='X')), "neck 'X'"),
    (
        FLAT,
        dict(neck=dict(type='Last'), level=1),
        '1 does not exist: the neck',
    ),
    (
        FLAT,
        dict(neck=dict(type='Last', in_channels=[3])),
        r'neck Last does not fit channels \[4, 5\]: .*Give its in_channels',
    ),
    (
        FLAT,
        dict(neck=dict(type='Neck', kind='pooled')),
        r'Neck gives a feature of shape \(1, 5\).*Choose a part',
    ),
    (FLAT, dict(neck=dict(type='Neck', kind='cropped')), '15x15 cells'),
    (
        dict(type='Stages', out_indices=(1, 2), heeds=False),
        {},
        r'1 level\(s\) of \[8\].*asks for 2',
    ),
    (
        dict(type='Stages', out_indices=(1,), heeds=False),
        {},
        r'not heed .*\(1,\).*of 8 pix',
    ),
]


@pytest.mark.parametrize(('backbone', 'options', 'words'), REFUSED)
def test_refused_in_words(backbone, options, words):
    with pytest.raises(ValueError, match=words):
        FeatureTower(backbone, **options)


def test_one_line_says_what_is_built(caplog):
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    level = logger.level
    logger.setLevel('INFO')
    tower('Means', layers=[(2, 2, 0), (2, 2, 0)], levels=2, level=0)
    logger.setLevel(level)
    logger.removeHandler(caplog.handler)
    (line,) = [one.getMessage() for one in caplog.handler.records]
    for part in ('video', '[4, 4]', '[2, 4]', 'backbone.layers.1: frozen'):
        assert part in line


def test_what_nothing_reads_is_frozen(clip_of):
    found = tower('Flat', strides=[4, 8, 16], neck=dict(type='Last'))
    assert found.unread == ['backbone.convs.0', 'backbone.convs.1']
    assert tower('Stages', out_indices=(1,)).unread == ['backbone.layer3']
    found = FeatureTower(
        dict(type='Flat', strides=[4, 8, 16]), level=1, finer_levels=(0,)
    )
    assert found.unread == ['backbone.convs.2']
    fine, coarse = found.feature_maps(**clip_of(2, (16, 16)))
    (fine.sum() + coarse.sum()).backward()
    for name, parameter in found.named_parameters():
        wanted = 'convs.2' not in name
        assert parameter.requires_grad == wanted, name
        assert (parameter.grad is not None) == wanted, name


def test_checkpointed_blocks_behind_frozen_ones_learn(clip_of):
    grads = []
    for with_cp in (False, True):
        found = tower('Checkpointed', with_cp=with_cp).train()
        assert found.unread == []
        map_of(found, clip_of(2, (8, 8))).square().sum().backward()
        blocks = found.backbone.blocks
        assert blocks[0].conv.weight.grad is None
        grads.append([p.grad for p in blocks[1:].parameters()])
    assert len(grads[0]) == 4
    torch.testing.assert_close(*grads)


@pytest.mark.parametrize('fills', [False, None])
def test_inflated_weights_that_fill_nothing(fills):
    tower('Inflating', pretrained='a.pth', fills=True).init_weights()
    found = tower('Inflating', pretrained='a.pth', fills=fills)
    with pytest.raises(ValueError, match="'a.pth' fills nothing of Infl"):
        found.init_weights()


def test_necks_one_after_the_other(clip_of):
    found = tower(
        'Flat', neck=[dict(type='Last'), dict(type='Neck', kind='twice')]
    )
    assert (found.channels, found.stride) == (14, 8)
    clip = clip_of(2, (16, 16))
    alone = found.neck[0](found.backbone(clip['imgs'].flatten(0, 1)))[0]
    torch.testing.assert_close(map_of(found, clip)[0, :, :7], alone)


def test_trial_runs_leave_no_trace():
    config = dict(type='Frozen', path=dict(depth=3))
    before = copy.deepcopy(config)
    torch.manual_seed(3)
    plain = MODELS.build(copy.deepcopy(config))
    random = torch.get_rng_state()
    torch.manual_seed(3)
    found = FeatureTower(config)
    assert config == before
    assert torch.equal(torch.get_rng_state(), random)
    state = found.backbone.state_dict()
    for name, value in plain.state_dict().items():
        assert torch.equal(state[name], value), name
    assert found.training and found.backbone.norm.training
    assert not found.backbone.kept.training
    assert all(p.grad is None for p in found.parameters())


@pytest.mark.parametrize('motion', [False, True])
def test_weights_of_a_whole_recogniser(tmp_path, motion):
    """Keys of its backbone reach ours, whatever else lies in the file."""
    weight = torch.randn(4, 3, 8, 8)
    state = {
        'backbone.conv.weight': weight,
        'backbone.conv.bias': torch.ones(4),
        'cls_head.fc.weight': torch.ones(2, 4),
    }
    path = tmp_path / 'recogniser.pth'
    torch.save({'state_dict': state}, path)
    given = dict(init_cfg=dict(type='Pretrained', checkpoint=str(path)))
    learned = dict(type='Odd', wrong='')
    if motion:
        given = dict(motion=dict(backbone=learned, **given))
    encoder = MODELS.build(
        dict(type='VideoEncoder', backbone=learned, embed_dims=6, **given)
    )
    project = encoder.projects[0].weight.clone()
    encoder.init_weights()
    loaded = encoder.motion if motion else encoder
    assert torch.equal(loaded.backbone.conv.weight, weight)
    assert torch.equal(loaded.backbone.conv.bias, torch.ones(4))
    assert torch.equal(encoder.projects[0].weight, project)
    if motion:
        assert not torch.equal(encoder.backbone.conv.weight, weight)


class Shift(nn.Module):
    def __init__(self, num_segments):
        super().__init__()
        self.num_segments = num_segments

    def forward(self, x):
        clips = x.unflatten(0, (-1, self.num_segments))
        return clips.roll(1, 1).flatten(0, 1)


class Shifted(nn.Module):
    """2-D as TSM: parts know the frames of a clip, or half of them."""

    def __init__(self, num_segments=8):
        super().__init__()
        self.num_segments = num_segments
        self.conv = nn.Conv2d(3, 4, 8, 8)
        self.shift, self.late = Shift(num_segments), Shift(num_segments // 2)

    def forward(self, x):
        return self.shift(self.conv(x))


def test_parts_know_the_frames_of_a_clip(clip_of, register):
    register(Shifted)
    found = tower('Shifted')
    clip = clip_of(6, (16, 16), clips=2)
    plain = found.backbone.conv(clip['imgs'].flatten(0, 1))
    wanted = plain.unflatten(0, (2, 6)).roll(1, 1)
    torch.testing.assert_close(map_of(found, clip), wanted)
    assert found.backbone.late.num_segments == 3


def test_sides_are_multiples_of_all_strides():
    assert tower('Flat', strides=[4, 16], level=0).multiple == 16
    assert tower('Flat', strides=[6, 4]).multiple == 12


def test_branches_of_training_are_refused(clip_of):
    with pytest.raises(ValueError, match='without branches of its own'):
        tower('Branches').train().feature_maps(**clip_of())


def test_the_first_level_is_found_without_the_rest(clip_of):
    found = FeatureTower(dict(type='Flat'), finer_levels=(0,)).eval()
    ran = []
    found.backbone.convs[1].register_forward_hook(lambda *_: ran.append(1))
    clip = clip_of(3)
    first = found.first_level(**clip)
    assert not ran
    assert torch.equal(first, found.feature_maps(**clip)[0]) and ran
    # Also where layers work in place, as those of a ResNet do.
    resnet = FeatureTower(
        dict(type='mmdet.ResNet', depth=18, out_indices=(1, 3)),
        finer_levels=(0,),
    )
    assert resnet._first == 'layer2'


def test_a_level_is_not_what_dropout_makes_of_it():
    found = FeatureTower(dict(type='Dropped'), finer_levels=(0,))
    assert found._first == 'first'


@pytest.mark.parametrize(
    ('config', 'levels'),
    [
        (dict(type='Flat'), ()),
        (dict(type='Twice'), (0,)),
        (dict(type='Means', layers=[(1, 1, 0)] * 2, levels=2), (0,)),
    ],
)
def test_a_first_level_is_needed(clip_of, config, levels):
    found = FeatureTower(config, finer_levels=levels).eval()
    with pytest.raises(ValueError, match='none that give the finest level'):
        found.first_level(**clip_of(8))
