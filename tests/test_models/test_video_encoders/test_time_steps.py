"""Steps of a backbone and the frames that they stand for."""

import pytest
import torch
from torch import nn

from hero_mm.models.video_encoders.time_steps import (
    cut_windows,
    first_step,
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


class Beside(nn.Module):
    """A block and its shortcut, which count once."""

    def __init__(self):
        super().__init__()
        self.block, self.shortcut = conv(2, 2, 0), conv(2, 2, 0)

    def forward(self, x):
        return self.block(x) + self.shortcut(x)


@pytest.mark.parametrize(
    ('layers', 'first'),
    [
        # Frames 0 and 1; -1, 0 and 1; 0 to 3; 0 alone.
        ([conv(2, 2, 0)], 0.5),
        ([conv(3, 2, 1)], 0),
        ([conv(4, 4, 0)], 1.5),
        ([conv(1, 4, 0)], 0),
        # Taps at -1 and 1.
        ([conv(2, 2, 1, dilation=2)], 0),
        ([nn.MaxPool3d((3, 1, 1), (2, 1, 1), (1, 0, 0))], 0),
        ([nn.AvgPool3d((4, 1, 1))], 1.5),
        # What keeps every step moves none.
        ([conv(3, 1, 1), conv(2, 2, 0)], 0.5),
        # Steps of 2 frames at 0.5, 2.5: the mean of two lies at 1.5.
        ([conv(2, 2, 0), conv(2, 2, 0)], 1.5),
        ([conv(3, 2, 1), conv(2, 2, 0), conv(2, 2, 0)], 3),
        ([Beside()], 0.5),
    ],
)
def test_first_step(layers, first):
    net = nn.Sequential(*layers)
    with step_shifts(net) as shifts:
        steps = net(torch.zeros(1, 1, 16, 1, 1)).shape[2]
    assert not any(layer._forward_hooks for layer in net.modules())
    assert first_step(shifts, 16, steps) == first


@pytest.mark.parametrize('frames', [4, 5, 8, 10])
def test_windows_are_full_and_come_back(frames):
    clips = torch.stack([torch.arange(frames), torch.arange(frames) + 100])
    windows = cut_windows(clips, 4)
    assert windows.shape[1] == 4 and windows[-1, -1] == clips[1, -1]
    assert torch.equal(join_windows(windows, 2, frames), clips)
