"""RoIAlign and RoIPool: by hand and against a slow definition."""

import math
import types

import pytest
import torch

from hero_mm.mmcv_ops import common, regions

pytestmark = pytest.mark.usefixtures('plain')


def align(features, rois, size=(2, 2), scale=1.0, ratio=2, aligned=True):
    output = features.new_empty(len(rois), features.shape[1], *size)
    none = features.new_zeros(0)
    regions.roi_align_forward(
        features, rois, output, none, none, *size, scale, ratio, 1, aligned
    )
    return output


def ramp(height=12, width=10):
    """Two channels that hold the column and the row of each cell."""
    ys, xs = torch.meshgrid(
        torch.arange(height), torch.arange(width), indexing='ij'
    )
    return torch.stack([xs, ys]).float()[None]


@pytest.mark.parametrize('ratio', [0, 1, 2, 3])
def test_roi_align_reads_the_centre_of_each_bin(ratio):
    rois = torch.tensor([[0.0, 4, 2, 12, 10]])
    pooled = align(ramp(), rois, scale=0.5, ratio=ratio)[0]
    # In cells the region is x 2 to 6 and y 1 to 5, bins of 2, half a cell off.
    torch.testing.assert_close(pooled[0, 0], torch.tensor([2.5, 4.5]))
    torch.testing.assert_close(pooled[1, :, 0], torch.tensor([1.5, 3.5]))
    shifted = align(ramp(), rois, scale=0.5, ratio=ratio, aligned=False)[0]
    torch.testing.assert_close(shifted, pooled + 0.5)


def test_roi_align_takes_the_image_of_the_index():
    features = torch.stack([torch.zeros(1, 6, 6), torch.ones(1, 6, 6)])
    rois = torch.tensor([[1.0, 0, 0, 4, 4], [0.0, 0, 0, 4, 4]])
    pooled = align(features, rois)
    assert pooled[0].unique().tolist() == [1]
    assert pooled[1].unique().tolist() == [0]


def test_roi_align_is_zero_far_outside():
    rois = torch.tensor([[0.0, 50, 50, 60, 60]])
    assert not align(torch.ones(1, 1, 6, 6), rois).any()


def test_roi_align_backward_is_the_gradient():
    features = torch.randn(2, 3, 7, 6, dtype=torch.float64)
    rois = torch.tensor(
        [[0.0, 1, 1, 9, 8], [1.0, 3, 2, 5, 12], [0.0, 0, 0, 2, 2]],
        dtype=torch.float64,
    )
    grad_output = torch.randn(3, 3, 2, 2, dtype=torch.float64)
    grad_input = torch.zeros_like(features)
    none = features.new_zeros(0)
    regions.roi_align_backward(
        grad_output, rois, none, none, grad_input, 2, 2, 0.5, 2, 1, True
    )
    direction = torch.randn_like(features)
    step = align(features + direction, rois, scale=0.5) - align(
        features, rois, scale=0.5
    )
    torch.testing.assert_close(
        (grad_input * direction).sum(), (step * grad_output).sum()
    )


def test_roi_align_of_no_region():
    assert align(torch.ones(1, 4, 6, 6), torch.zeros(0, 5)).shape[1] == 4


def test_roi_align_refuses_maximum_pooling():
    none = torch.zeros(0)
    with pytest.raises(NotImplementedError, match='compiled mmcv'):
        regions.roi_align_forward(
            none, none, none, none, none, 2, 2, 1.0, 2, 0, True
        )


def test_roi_align_without_extent_is_zero_where_it_takes_no_sample():
    rois = torch.tensor([[0.0, 3, 3, 3, 3], [0.0, 5, 5, 2, 2]])
    assert not align(torch.ones(1, 1, 6, 6), rois, ratio=0).any()
    assert align(torch.ones(1, 1, 6, 6), rois, ratio=2).eq(1).all()
    grad_input = torch.zeros(1, 1, 6, 6)
    none = torch.zeros(0)
    for some in (rois, rois[:0]):
        grad_output = torch.ones(len(some), 1, 2, 2)
        regions.roi_align_backward(
            grad_output, some, none, none, grad_input, 2, 2, 1.0, 0, 1, True
        )
    assert not grad_input.any()


def test_roi_align_mixes_regions_of_all_sizes():
    features = torch.randn(2, 3, 9, 8)
    rois = torch.tensor(
        [[0.0, 1, 1, 8, 3], [1.0, 2, 0, 4, 8], [0.0, 0, 0, 7, 2]]
    )
    together = align(features, rois, ratio=0)
    alone = [align(features, roi[None], ratio=0)[0] for roi in rois]
    torch.testing.assert_close(together, torch.stack(alone))


@pytest.mark.parametrize('dtype', [torch.half, torch.bfloat16])
def test_roi_align_of_half_precision(dtype):
    rois = torch.tensor([[0.0, 1, 1, 5, 6]])
    features = torch.randn(1, 2, 7, 7).to(dtype)
    pooled = align(features, rois)
    assert pooled.dtype == dtype
    torch.testing.assert_close(
        pooled.float(), align(features.float(), rois), rtol=0.01, atol=0.01
    )


def test_torchvision_aligns_where_it_imports(monkeypatch):
    calls = []

    def fake(*args):
        calls.append(args)
        return torch.zeros(1, 1, 2, 2)

    vision = types.SimpleNamespace(roi_align=fake)
    monkeypatch.setattr(common, 'torchvision_ops', lambda: vision)
    align(torch.ones(1, 1, 6, 6), torch.zeros(1, 5), ratio=0)
    # torchvision chooses the number of samples at -1, mmcv at 0.
    assert calls[0][2:] == ((2, 2), 1.0, -1, True)


def slow_roi_pool(features, rois, size, scale):
    """The definition of mmcv's CUDA kernel, a cell at a time."""
    channels, height, width = features.shape[1:]
    output = torch.zeros(len(rois), channels, *size)
    place = torch.full(output.shape, -1)
    for r, (image, x1, y1, x2, y2) in enumerate(rois.tolist()):
        left, top = x1 * scale, y1 * scale
        wide, high = (x2 + 1) * scale - left, (y2 + 1) * scale - top
        if wide <= 0 or high <= 0:
            continue
        for i in range(size[0]):
            for j in range(size[1]):
                rows = range(
                    max(math.floor(i * high / size[0] + top), 0),
                    min(math.ceil((i + 1) * high / size[0] + top), height),
                )
                cols = range(
                    max(math.floor(j * wide / size[1] + left), 0),
                    min(math.ceil((j + 1) * wide / size[1] + left), width),
                )
                for c in range(channels):
                    cells = [(y, x) for y in rows for x in cols]
                    if not cells:
                        continue
                    plane = features[int(image), c]
                    y, x = max(cells, key=lambda cell: plane[cell].item())
                    output[r, c, i, j] = plane[y, x]
                    place[r, c, i, j] = y * width + x
    return output, place


POOLED = torch.tensor(
    [
        [0.0, 1, 2, 17, 13],
        [1.0, 0, 0, 3, 3],
        [0.0, -9, -9, 60, 60],
        [1.0, 50, 50, 60, 60],
        [0.0, 9, 4, 5, 4],
        [1.0, 6, 6, 6, 6],
    ]
)


def test_roi_pool_equals_the_definition(ours):
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2, 3, 7, 9, generator=generator)
    features.requires_grad_()
    pooled = ours.RoIPool((2, 3), 0.5)(features, POOLED)
    expected, place = slow_roi_pool(features.detach(), POOLED, (2, 3), 0.5)
    assert torch.equal(pooled, expected)
    direction = torch.randn(pooled.shape, generator=generator)
    pooled.backward(direction)
    grad = torch.zeros(2, 3, 7 * 9)
    for at in (place >= 0).nonzero().tolist():
        image = int(POOLED[at[0], 0])
        grad[image, at[1], place[tuple(at)]] += direction[tuple(at)]
    torch.testing.assert_close(features.grad.flatten(2), grad)


def test_roi_pool_takes_the_first_of_equal_cells():
    features = torch.ones(1, 1, 4, 4)
    output = torch.empty(1, 1, 1, 1)
    argmax = torch.empty(1, 1, 1, 1, dtype=torch.int32)
    rois = torch.tensor([[0.0, 1, 1, 3, 3]])
    regions.roi_pool_forward(features, rois, output, argmax, 1, 1, 1.0)
    assert output.item() == 1 and argmax.item() == 5


def test_roi_pool_of_no_region(ours):
    features = torch.ones(1, 2, 4, 4, requires_grad=True)
    pooled = ours.RoIPool(2)(features, torch.zeros(0, 5))
    assert pooled.shape == (0, 2, 2, 2)
    pooled.sum().backward()
    assert not features.grad.any()


def test_torchvision_aligns_in_one_type(monkeypatch):
    """It takes no bfloat16 on a CPU, and regions of the features' type."""
    told = []

    def fake(features, rois, *rest):
        told.extend([features.dtype, rois.dtype])
        return torch.zeros(1, 1, 2, 2)

    vision = types.SimpleNamespace(roi_align=fake)
    monkeypatch.setattr(common, 'torchvision_ops', lambda: vision)
    pooled = align(torch.ones(1, 1, 6, 6).bfloat16(), torch.zeros(1, 5))
    assert told == [torch.float32] * 2 and pooled.dtype == torch.bfloat16
