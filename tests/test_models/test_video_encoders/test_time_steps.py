"""Steps of a backbone and the frames that they stand for."""

import pytest
import torch
from torch import nn

from hero_mm.models.video_encoders.time_steps import (
    align_steps,
    cut_windows,
    first_step,
    hold_last,
    join_windows,
    step_shifts,
)


def conv(kernel, stride, padding, dilation=1):
    return nn.Conv3d(
        1,
        1,
        *((size, 1, 1) for size in (kernel, stride)),
        (padding, 0, 0),
        dilation=(dilation, 1, 1),
    )


def first_of(*layers, frames=16):
    """The frame at which the first step lies, after some layers."""
    net = nn.Sequential(*layers)
    with step_shifts(net) as shifts:
        steps = net(torch.zeros(1, 1, frames, 1, 1)).shape[2]
    assert not any(layer._forward_hooks for layer in layers)
    return first_step(shifts, frames, steps)


@pytest.mark.parametrize(
    ('layers', 'first'),
    [
        # Frames 0 and 1; -1, 0 and 1; 0 to 3; -2 to 2; 0 alone.
        ([conv(2, 2, 0)], 0.5),
        ([conv(3, 2, 1)], 0),
        ([conv(4, 4, 0)], 1.5),
        ([conv(5, 2, 2)], 0),
        ([conv(1, 4, 0)], 0),
        # Taps at -1 and 1.
        ([conv(2, 2, 1, dilation=2)], 0),
        ([nn.MaxPool3d((2, 1, 1))], 0.5),
        ([nn.MaxPool3d((3, 1, 1), (2, 1, 1), (1, 0, 0))], 0),
        ([nn.AvgPool3d((4, 1, 1))], 1.5),
        # What keeps every step moves none.
        ([conv(3, 1, 1), conv(2, 2, 0)], 0.5),
        # Steps of 2 frames at 0.5, 2.5: the mean of two lies at 1.5.
        ([conv(2, 2, 0), conv(2, 2, 0)], 1.5),
        ([conv(2, 2, 0), conv(3, 2, 1)], 0.5),
        ([conv(3, 2, 1), conv(2, 2, 0), conv(2, 2, 0)], 3),
    ],
)
def test_first_step(layers, first):
    assert first_of(*layers) == first


class Beside(nn.Module):
    def __init__(self):
        super().__init__()
        self.block, self.shortcut = conv(2, 2, 0), conv(2, 2, 0)

    def forward(self, x):
        return self.block(x) + self.shortcut(x)


def test_a_block_and_its_shortcut_count_once():
    assert first_of(Beside()) == 0.5


@pytest.mark.parametrize(
    ('frames', 'stride', 'first'), [(16, 2, 0.5), (16, 4, 1.5), (12, 3, 0)]
)
def test_steps_that_hold_their_centre_give_the_frame(frames, stride, first):
    """A linear ramp comes back, and is held beyond the outermost steps."""
    centres = first + stride * torch.arange(frames // stride).float()
    level = centres[None, :, None, None, None].expand(2, -1, 3, 1, 2)
    aligned = align_steps(level, frames, first)
    numbers = torch.arange(frames).float()
    wanted = numbers.clamp(centres[0], centres[-1])
    assert aligned.shape == (2, frames, 3, 1, 2)
    torch.testing.assert_close(aligned[1, :, 2, 0, 1], wanted)


def test_one_step_is_held_and_a_step_a_frame_is_kept():
    level = torch.randn(1, 1, 2, 3, 3)
    assert torch.equal(align_steps(level, 4, 1.5), level.repeat(1, 4, 1, 1, 1))
    level = torch.randn(1, 4, 2, 3, 3)
    assert align_steps(level, 4, 0.0) is level


@pytest.mark.parametrize('frames', [1, 3, 4])
def test_the_last_frame_is_held(frames):
    clip = torch.arange(frames).float()[None, :, None]
    held = hold_last(clip, 4)[0, :, 0].tolist()
    assert held == [min(t, frames - 1) for t in range(4)]
    assert hold_last(clip, frames) is clip


def test_windows_are_full_and_the_last_ends_with_the_clip():
    clips = torch.stack([torch.arange(10), torch.arange(10) + 100])
    windows = cut_windows(clips, 4)
    one = [[0, 1, 2, 3], [4, 5, 6, 7], [6, 7, 8, 9]]
    assert windows[:3].tolist() == one
    assert (windows[3:] - 100).tolist() == one


@pytest.mark.parametrize('frames', [4, 5, 7, 8, 9, 12])
def test_windows_come_back(frames):
    clips = torch.randn(2, frames, 3)
    windows = cut_windows(clips, 4)
    assert torch.equal(join_windows(windows, 2, frames), clips)
