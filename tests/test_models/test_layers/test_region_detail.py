"""What regions read of a finer level, in their boxes and beside in time."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from hero_mm.models.features import Details
from hero_mm.models.layers import RegionDetail
from hero_mm.registry import MODELS

STRIDE = 4


def ramp(frames: int, height: int, width: int, channels: int = 4):
    """Channels: x and y of a cell in pixels, frame number, one."""
    y, x = torch.meshgrid(
        (torch.arange(height) + 0.5) * STRIDE,
        (torch.arange(width) + 0.5) * STRIDE,
        indexing='ij',
    )
    step = torch.arange(frames)[:, None, None].expand(frames, height, width)
    one = torch.ones(frames, height, width)
    parts = [x.expand_as(step), y.expand_as(step), step, one][:channels]
    return torch.stack(parts, 1)[None].float()


def reader(size: int, shift_div: int, dims: int = 4, scale: float = 1.0):
    """Gives what is read as it is: no projection."""
    detail = RegionDetail(dims, 8, dims, size, scale, shift_div)
    with torch.no_grad():
        detail.reduce.weight.copy_(torch.eye(dims)[..., None, None])
    detail.project = nn.Identity()
    return detail


def clip(make_video, boxes, details, width: int):
    """One region a frame with a box xyxy in pixels, zero features."""
    boxes = torch.tensor(boxes).float().view(1, -1, 1, 1, 4)
    frames = boxes.shape[1]
    video = make_video(torch.zeros(1, frames, 1, 1, width), stride=8.0)
    centre = (boxes[..., :2] + boxes[..., 2:]) / 2
    size = boxes[..., 2:] - boxes[..., :2]
    raw = torch.cat(
        [(centre - video.centres_BTHW2) / 8, (size / 8).log()], dim=-1
    )
    return replace(
        video,
        raw_boxes_BTHW4=raw.requires_grad_(),
        details=Details(details, (STRIDE, STRIDE)),
    )


def read(detail, video):
    return detail(video).regions_BTHWD[0, :, 0, 0]


def test_points_of_a_box(make_video):
    detail = reader(size=2, shift_div=0)
    video = clip(make_video, [10, 8, 18, 20], ramp(1, 8, 10), 16)
    # Four channels of four points; centres of the quarters of the box.
    told = read(detail, video).view(4, 2, 2)
    torch.testing.assert_close(
        told[:2],
        torch.tensor([[[12.0, 16], [12, 16]], [[11, 11], [17, 17]]]),
    )
    # A wider look at the same box.
    wide = read(reader(2, 0, scale=1.5), video).view(4, 2, 2)
    torch.testing.assert_close(wide[0, 0], torch.tensor([11.0, 17]))


def test_frames_before_and_after(make_video):
    """Half of the channels look back and ahead, where their region is now."""
    detail = reader(size=1, shift_div=4)
    details = ramp(3, 8, 10)
    # The first channel looks back, the second one ahead.
    details[0, :, 0] = torch.tensor([1.0, 2, 3])[:, None, None]
    details[0, :, 1] = torch.tensor([4.0, 5, 6])[:, None, None]
    boxes = [[10, 8, 18, 20]] * 3
    told = read(detail, clip(make_video, boxes, details, 6))
    assert told[:, :3].tolist() == [[1, 4, 0], [2, 5, 1], [3, 6, 2]]
    # Nothing is beyond the clip.
    assert told[:, 4:].tolist() == [[0, 5], [1, 6], [2, 0]]


def test_outside_of_the_frame_is_nothing(make_video):
    detail = reader(size=1, shift_div=0)
    video = clip(make_video, [-20, -20, -10, -10], ramp(1, 8, 10), 4)
    assert read(detail, video).abs().max() == 0


def test_details_are_read_once_and_added(make_video):
    detail = RegionDetail(4, 6, dims=8, size=3)
    video = clip(make_video, [10, 8, 18, 20], ramp(1, 8, 10), 6)
    once = detail(video)
    assert once.details is None
    video.regions_BTHWD += 2
    more = detail(video).regions_BTHWD - once.regions_BTHWD
    torch.testing.assert_close(more, torch.full_like(more, 2.0))
    with pytest.raises(ValueError, match='details are read once'):
        detail(once)


def test_what_learns(make_video):
    detail = RegionDetail(4, 6, dims=8, size=3)
    video = clip(make_video, [10, 8, 18, 20], ramp(1, 8, 10), 6)
    video.details.map_BTCHW.requires_grad_()
    detail(video).regions_BTHWD.square().sum().backward()
    for name, parameter in detail.named_parameters():
        assert parameter.grad.abs().sum() > 0, name
    assert video.details.map_BTCHW.grad.abs().sum() > 0
    # Where to look is learned by the box losses alone.
    assert video.raw_boxes_BTHW4.grad is None


@pytest.mark.parametrize(
    'options', [dict(size=0), dict(scale=0.0), dict(shift_div=-1)]
)
def test_bad_options(options):
    with pytest.raises(ValueError, match='size must be at least 1'):
        RegionDetail(4, 6, **options)


def test_hero_says_what_is_missing(hero_config):
    config = hero_config()
    config['video_encoder']['detail_level'] = None
    with pytest.raises(ValueError, match='detail_level to a level') as error:
        MODELS.build(config)
    assert 'levels of [4, 8] pixels' in str(error.value)
