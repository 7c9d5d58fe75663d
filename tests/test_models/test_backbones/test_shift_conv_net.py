"""The small video backbone."""

import pytest
import torch

from hero_mm.models import ShiftConvNet
from hero_mm.models.backbones.shift_conv_net import ClipNorm


def masks(num_clips: int, num_frames: int, height: int, width: int):
    return dict(
        frame_mask=torch.ones(num_clips, num_frames, dtype=torch.bool),
        pixel_mask=torch.ones(num_clips, height, width, dtype=torch.bool),
    )


def build(**changes):
    torch.manual_seed(0)
    net = ShiftConvNet(
        **{
            'stem_channels': 8,
            'channels': (8, 16),
            'num_blocks': (1, 1),
            'shift_div': 4,
            **changes,
        }
    )
    net.init_weights()
    return net.eval()


def moved_frames(net, frame: int) -> list[int]:
    """Frames whose features change with one frame of seven."""
    torch.manual_seed(1)
    imgs = torch.randn(1, 7, 3, 16, 16)
    where = masks(1, 7, 16, 16)
    other = imgs.clone()
    other[:, frame] += 1
    change = net(imgs, **where)[-1] - net(other, **where)[-1]
    return change.abs().amax((0, 2, 3, 4)).gt(1e-5).nonzero()[:, 0].tolist()


@pytest.mark.parametrize('size', [(33, 31), (7, 9), (1, 1)])
@pytest.mark.parametrize('norm', ['BN', 'clip'])
def test_odd_sizes_round_up(size, norm):
    (out,) = build(norm=norm)(
        torch.randn(1, 2, 3, *size), **masks(1, 2, *size)
    )
    assert out.shape[-2:] == tuple(-(-side // 8) for side in size)


def test_motion_stem_sees_the_neighbours():
    assert moved_frames(build(shift_div=0), 3) == [2, 3, 4]
    assert moved_frames(build(shift_div=0), 0) == [0, 1]


def test_each_shifted_block_sees_one_frame_further():
    net = build(channels=(8,), num_blocks=(1,), out_indices=(0,))
    assert moved_frames(net, 3) == [1, 2, 3, 4, 5]
    assert moved_frames(build(), 3) == [0, 1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize('norm', ['BN', 'clip'])
def test_padding_is_zero_and_changes_nothing(norm):
    net = build(out_indices=(0, 1), norm=norm)
    for module in net.modules():
        if isinstance(module, (torch.nn.BatchNorm2d, ClipNorm)):
            # A shift of zero would hide a leak.
            torch.nn.init.normal_(module.bias)
    imgs = torch.randn(2, 5, 3, 32, 32)
    where = masks(2, 5, 32, 32)
    imgs[0, 3:] = 0
    imgs[0, :, :, 16:] = 0
    imgs[0, :, :, :, 24:] = 0
    where['frame_mask'][0, 3:] = False
    where['pixel_mask'][0, 16:] = False
    where['pixel_mask'][0, :, 24:] = False
    alone = net(imgs[:1, :3, :, :16, :24], **masks(1, 3, 16, 24))
    beside = net(imgs, **where)
    for one, both, stride in zip(alone, beside, (4, 8)):
        rows, columns = 16 // stride, 24 // stride
        real = both[:1, :3, :, :rows, :columns]
        torch.testing.assert_close(real, one, atol=1e-5, rtol=1e-4)
        assert both[0, 3:].abs().max() == 0
        assert both[0, :, :, rows:].abs().max() == 0
        assert both[0, :, :, :, columns:].abs().max() == 0


def test_clip_norm_gives_mean_zero_and_variance_one_of_what_is_real():
    x = torch.randn(6, 4, 5, 5) * 3 + 2
    mask = torch.ones(6, 1, 5, 5)
    mask[2:3] = 0
    mask[3:, :, 4:] = 0
    out = ClipNorm(4)(x, 3, mask)
    for clip, real in zip(out.split(3), mask.split(3)):
        values = clip.permute(1, 0, 2, 3)[:, real[:, 0] > 0]
        torch.testing.assert_close(values.mean(1), torch.zeros(4))
        torch.testing.assert_close(
            values.var(1, unbiased=False), torch.ones(4), atol=1e-4, rtol=0
        )
    # A run of frames of a shorter clip may be all padding.
    assert ClipNorm(4)(x, 3, torch.zeros_like(mask)).isfinite().all()


@pytest.mark.parametrize('wrong', [dict(norm='GN'), dict(num_blocks=(1,))])
def test_wrong_arguments_are_refused(wrong):
    with pytest.raises(ValueError, match='one value a stage, and norm is one'):
        build(**wrong)
