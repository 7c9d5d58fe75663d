"""What the encoders hand on: levels of a clip, sentences."""

import torch


def test_cells_are_real_where_their_first_pixel_is(make_pyramid):
    fine, coarse = torch.ones(2, 1, 4, 4, 6), torch.ones(2, 1, 4, 2, 3)
    pyramid = make_pyramid(fine, coarse, sizes=[(24, 16), (9, 5)])
    assert pyramid.real_cells(0)[0].all() and pyramid.real_cells(1)[0].all()
    # Nine of 24 pixels across and five of 16 down.
    for number, (rows, columns) in ((0, (2, 3)), (1, (1, 2))):
        real = pyramid.real_cells(number)[1]
        assert real[:rows, :columns].all()
        assert real.sum() == rows * columns


def test_means_leave_padding_out(make_pyramid):
    level = torch.randn(2, 3, 4, 2, 3)
    pyramid = make_pyramid(level, frames=[3, 2], sizes=[(24, 16), (9, 5)])
    got = pyramid.means(0)
    torch.testing.assert_close(got[0], level[0].mean((-2, -1)))
    wanted = level[1, :2, :, :1, :2].mean((-2, -1))
    torch.testing.assert_close(got[1, :2], wanted)
    assert got[1, 2].abs().max() == 0
