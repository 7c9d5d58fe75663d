"""Positions in time and of boxes."""

import torch

from hero_mm.models.layers import BoxPosition, StepPosition, sine_features


def closest(values) -> float:
    """The smallest distance between two of them."""
    apart = torch.cdist(values, values)
    return (apart + 1e3 * torch.eye(len(values))).min().item()


def test_sines_by_hand():
    got = sine_features(torch.tensor([0.0, 1.0, 0.5]), 2)
    # Wavelengths of 2 and 4 steps: sines, then cosines.
    half = 0.5**0.5
    wanted = [[0, 0, 1, 1], [0, 1, -1, 0], [1, half, 0, half]]
    torch.testing.assert_close(
        got, torch.tensor(wanted).float(), atol=1e-6, rtol=0
    )


def test_steps_differ_and_do_not_know_the_length():
    torch.manual_seed(0)
    position = StepPosition(16)
    long = position(torch.arange(256))
    assert long.shape == (256, 16)
    assert closest(long) > 1e-2
    torch.testing.assert_close(position(torch.arange(7)), long[:7])
    # In any layout, and between steps.
    rows = position(torch.arange(6).view(2, 3))
    torch.testing.assert_close(rows.flatten(0, 1), long[:6])
    between = position(torch.tensor([3.5]))
    assert torch.cdist(between, long).min() > 1e-2


def test_boxes_differ_in_place_and_size():
    torch.manual_seed(0)
    position, unit = BoxPosition(16), torch.tensor([8.0, 8.0])
    usual = torch.tensor([16.0, 16, 24, 24])
    changes = torch.tensor(
        [
            [0.0, 0, 0, 0],
            [4, 0, 4, 0],
            [0, 4, 0, 4],
            [-4, 0, 4, 0],
            [0, -4, 0, 4],
        ]
    )
    got = position(usual + changes, unit)
    assert got.shape == (5, 16)
    assert closest(got) > 1e-3
    # Each box for itself, in any layout.
    many = position((usual + changes[1:]).view(2, 1, 2, 4), unit)
    torch.testing.assert_close(many.view(4, 16), got[1:])
