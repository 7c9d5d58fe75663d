"""Temporal shift and positions."""

import pytest
import torch

from hero_mm.models.layers import (
    BoxPosition,
    FramePosition,
    GridPosition,
    temporal_shift,
)


def test_shift_looks_back_and_ahead():
    x = torch.arange(1.0, 5).view(1, 4, 1).repeat(1, 1, 5)
    told = temporal_shift(x, 1)
    assert told[0, :, 0].tolist() == [0, 1, 2, 3]
    assert told[0, :, 1].tolist() == [2, 3, 4, 0]
    assert torch.equal(told[..., 2:], x[..., 2:])


@pytest.mark.parametrize('dim', [-1, 2, 3])
def test_shift_along_any_axis_of_channels(dim):
    x = torch.randn(2, 5, 6, 7, 8)
    wanted = temporal_shift(x.movedim(dim, -1), 2).movedim(-1, dim)
    assert torch.equal(temporal_shift(x, 2, dim=dim), wanted)


def test_shift_of_one_frame_and_of_no_channel():
    x = torch.randn(1, 1, 6)
    assert temporal_shift(x, 2)[..., :4].abs().max() == 0
    assert torch.equal(temporal_shift(x, 0), x)


def test_frame_positions_do_not_know_the_length():
    position = FramePosition(16)
    long = position.frames(40)
    assert long.shape == (40, 16)
    torch.testing.assert_close(position.frames(7), long[:7])
    apart = torch.cdist(long, long) + 10 * torch.eye(40)
    assert apart.min() > 1e-3, 'two frames have the same position'


def mask(rows: int, columns: int, height: int, width: int) -> torch.Tensor:
    real = torch.zeros(1, height, width, dtype=torch.bool)
    real[:, :rows, :columns] = True
    return real


def test_grid_positions():
    torch.manual_seed(0)
    told = GridPosition(16)(3, mask(4, 5, 4, 5))
    assert told.shape == (1, 3, 4, 5, 16)
    flat = told.flatten(0, 3)
    apart = torch.cdist(flat, flat) + 10 * torch.eye(len(flat))
    assert apart.min() > 1e-3, 'two regions have the same position'


def test_grid_positions_do_not_see_padding():
    position = GridPosition(16)
    alone = position(3, mask(4, 5, 4, 5))
    beside = position(6, torch.cat([mask(9, 8, 9, 8), mask(4, 5, 9, 8)]))
    torch.testing.assert_close(beside[1:, :3, :4, :5], alone)


def test_grid_positions_tell_the_share_of_the_frame():
    """The middle of a frame is at 0, its edges near -1 and 1."""
    position = GridPosition(1, num_bands=1)
    with torch.no_grad():
        for layer in (position.time, position.row, position.column):
            layer.weight.zero_()
        position.row.weight[0, -1] = 1
    told = position(1, mask(4, 2, 6, 2))[0, 0, :4, 0, 0]
    assert told.tolist() == pytest.approx([-0.75, -0.25, 0.25, 0.75])


def test_box_positions_tell_place_and_size():
    torch.manual_seed(0)
    position = BoxPosition(16)
    boxes = torch.tensor(
        [[2.0, 2, 1, 1], [2.5, 2, 1, 1], [2, 2.5, 1, 1], [2, 2, 2, 1]]
    )
    told = position(boxes)
    assert told.shape == (4, 16)
    apart = torch.cdist(told, told) + 10 * torch.eye(4)
    assert apart.min() > 1e-3
    # Each box for itself, in any layout.
    many = position(boxes.view(2, 1, 2, 4))
    torch.testing.assert_close(many.view(4, 16), told)
