"""Attention that follows boxes: nearness, direction of time, permutation."""

import math

import pytest
import torch

from hero_mm.models.layers.attention import AlignmentBias, WindowAttention


def geometry(*rows) -> torch.Tensor:
    """One sequence of (x, y, width, height, frame)."""
    return torch.tensor([rows], dtype=torch.float32)


def softplus(value: float) -> float:
    return math.log1p(math.exp(value))


@pytest.fixture()
def bias():
    torch.manual_seed(0)
    made = AlignmentBias(4)
    with torch.no_grad():
        for weight in made.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
    return made


def test_agrees_with_a_loop_over_pairs(bias):
    rows = torch.rand(1, 5, 5) + 0.1
    rows[0, :, 4] = torch.tensor([0.0, 1.0, 1.0, 4.0, 2.0])
    told = bias(rows)
    assert told.shape == (1, 4, 5, 5)
    for head in range(4):
        sharp, reach, decay = (
            softplus(getattr(bias, name)[head].item())
            for name in ('sharpness', 'reach', 'decay')
        )
        direction = bias.direction[head].item()
        for i, (xi, yi, wi, hi, ti) in enumerate(rows[0].tolist()):
            for j, (xj, yj, wj, hj, tj) in enumerate(rows[0].tolist()):
                si, sj = math.sqrt(wi * hi), math.sqrt(wj * hj)
                mean = (si + sj) / 2
                far = ((xj - xi) ** 2 + (yj - yi) ** 2) / mean**2
                far = min(far + math.log(sj / si) ** 2, 50.0)
                steps = tj - ti
                expected = -sharp * far / (1 + reach * abs(steps))
                expected -= decay * abs(steps)
                expected += direction * max(-2, min(2, steps))
                assert told[0, head, i, j].item() == pytest.approx(
                    expected, rel=1e-4, abs=1e-4
                )


def test_the_same_object_gets_more_than_its_neighbour():
    here = geometry(
        (0.5, 0.5, 0.1, 0.1, 0),
        (0.52, 0.5, 0.1, 0.1, 1),
        (0.9, 0.5, 0.1, 0.1, 1),
        (0.52, 0.5, 0.4, 0.4, 1),
    )
    told = AlignmentBias(4)(here)[0, :, 0]
    assert (told[:, 1] > told[:, 2]).all() and (told[:, 1] > told[:, 3]).all()


def test_one_head_looks_back_and_one_ahead():
    still = geometry(*[(0.5, 0.5, 0.1, 0.1, frame) for frame in range(3)])
    back, ahead, same, _ = AlignmentBias(4)(still)[0, :, 1]
    assert back[0] > back[1] > back[2]
    assert ahead[2] > ahead[1] > ahead[0]
    assert same[0] == same[2] < same[1]


def test_far_boxes_keep_a_finite_bias_and_gradient(bias):
    rows = geometry((0.0, 0.0, 0.0, 0.0, 0), (1e3, 1e3, 1e-6, 1e-6, 63))
    rows.requires_grad_(True)
    bias(rows).sum().backward()
    assert bias(rows).isfinite().all()
    assert rows.grad.isfinite().all()


def aligned_attention() -> WindowAttention:
    torch.manual_seed(1)
    return WindowAttention(8, 4, (4, None, None), False, align=True)


def clip(seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(2, 4, 1, 3, 8, generator=generator)
    boxes = torch.rand(2, 4, 1, 3, 5, generator=generator) + 0.1
    boxes[..., 4] = torch.arange(4.0)[None, :, None, None]
    return x, torch.ones(2, 4, 1, 3, dtype=torch.bool), boxes


@torch.no_grad()
def test_attention_adds_the_bias_to_its_logits():
    layer = aligned_attention().eval()
    x, real, boxes = clip()
    told = layer(x, real, False, boxes)
    tokens = x.flatten(1, 3)
    attention = layer.attention
    k, v = attention.key_value(tokens).chunk(2, -1)
    q = attention.query(tokens)
    bias = layer.alignment(boxes.flatten(1, 3))
    heads = []
    for head in range(4):
        part = slice(2 * head, 2 * head + 2)
        logits = q[..., part] @ k[..., part].transpose(1, 2) / 2**0.5
        weights = (logits + bias[:, head]).softmax(-1)
        heads.append(weights @ v[..., part])
    wanted = attention.out(torch.cat(heads, -1)).view(x.shape)
    torch.testing.assert_close(told, wanted, atol=1e-5, rtol=1e-4)
    plain = layer(x, real, False)
    assert (plain - told).abs().max() > 1e-3


@torch.no_grad()
def test_the_order_of_regions_means_nothing():
    layer = aligned_attention().eval()
    x, real, boxes = clip()
    order = torch.tensor([2, 0, 1])
    moved = layer(x[..., order, :], real, False, boxes[..., order, :])
    wanted = layer(x, real, False, boxes)[..., order, :]
    torch.testing.assert_close(moved, wanted, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_padding_says_nothing():
    layer = aligned_attention().eval()
    x, real, boxes = clip()
    wanted = layer(x[:, :3], real[:, :3], False, boxes[:, :3])
    real = real.clone()
    real[:, 3] = False
    x, boxes = x.clone(), boxes.clone()
    x[:, 3], boxes[:, 3] = 7.0, 0.0
    told = layer(x, real, False, boxes)[:, :3]
    torch.testing.assert_close(told, wanted, atol=1e-5, rtol=1e-4)
