"""Lower precision and compiled code give the same model."""

import copy
import shutil

import pytest
import torch

from hero_mm.models.layers import PyramidAlignment


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    a, b = a.float().flatten(), b.float().flatten()
    return torch.nn.functional.cosine_similarity(a, b, dim=0).item()


@pytest.mark.parametrize('max_regions', [None, 5])
def test_bfloat16_is_near(
    max_regions, build_hero, make_clip, collate, total_loss
):
    model = build_hero(max_regions=max_regions)
    clips = [make_clip(4), make_clip(6, seed=1)]
    losses, _ = total_loss(model, *clips)
    with torch.autocast('cpu', torch.bfloat16):
        half, total = total_loss(model, *clips)
    for name, value in losses.items():
        # The parting term is a margin: a difference of small differences.
        near = dict(rtol=0.1, atol=0.05)
        torch.testing.assert_close(
            half[name].float(), value, **near, msg=lambda m, n=name: n + m
        )
    total.backward()
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            assert parameter.grad.isfinite().all(), name


def test_bfloat16_gradients_point_the_same_way(
    build_hero, make_clip, total_loss
):
    gradients = []
    for enabled in (False, True):
        model = build_hero()
        with torch.autocast('cpu', torch.bfloat16, enabled=enabled):
            _, total = total_loss(model, make_clip(4), make_clip(6, seed=1))
        total.backward()
        learned = [p.grad for p in model.parameters() if p.grad is not None]
        gradients.append(torch.cat([grad.flatten() for grad in learned]))
    assert cosine(*gradients) > 0.97


def test_bfloat16_predicts_the_same_boxes(build_hero, make_clip, predict):
    model = build_hero()
    clip = make_clip(5)
    (wanted,) = predict(model, clip)
    with torch.autocast('cpu', torch.bfloat16):
        (told,) = predict(model, clip)
    for name in ('spans', 'bboxes', 'scores', 'action_consistency'):
        assert told[name].dtype == torch.float32, name
        assert told[name].isfinite().all(), name
    assert cosine(told.scores, wanted.scores) > 0.99
    assert (told.bboxes - wanted.bboxes).abs().median() < 1


def test_double_is_near(build_hero, make_clip, collate):
    """The losses do not hang on rounding."""
    model = build_hero()
    batch = collate(model, make_clip(4), make_clip(6, seed=1))
    losses = model(**batch, mode='loss')
    exact = copy.deepcopy(model).double()
    batch['inputs']['imgs'] = batch['inputs']['imgs'].double()
    for sample in batch['data_samples']:
        for name in ('spans', 'bboxes'):
            sample.gt_queries[name] = sample.gt_queries[name].double()
        sample.gt_tracks.bboxes = sample.gt_tracks.bboxes.double()
    for name, value in exact(**batch, mode='loss').items():
        torch.testing.assert_close(
            losses[name].double(), value.double(), rtol=1e-3, atol=1e-4
        )


@pytest.mark.slow
def test_captured_is_eager(build_hero, make_clip, collate):
    """What torch.compile captures of the reasoning is the reasoning."""
    model = build_hero(
        neck=dict(num_layers=1, num_region_layers=0), max_regions=5
    )
    batch = collate(model, make_clip(4))
    with torch.no_grad():
        video = model.encode_video(batch['inputs'])
        video = video.of_queries(torch.tensor([0, 0]))
        text = model.text_encoder(batch['data_samples'][0].queries.texts)
        wanted = model.neck(video, text)
        told = torch.compile(model.neck, backend='eager')(video, text)
    for one, other in zip(told, wanted):
        torch.testing.assert_close(one, other)


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which('g++') is None and shutil.which('clang++') is None,
    reason='torch.compile needs a C++ compiler',
)
def test_compiled_is_eager():
    """Kernels are built for the step that is HERO's own."""
    torch.manual_seed(0)
    layer = PyramidAlignment(16, 2, (1, 3, 0))
    inputs = (
        torch.randn(2, 3, 4, 4, 16),
        torch.ones(2, 3, 4, 4, dtype=torch.bool),
        torch.randn(2, 5, 16),
        torch.ones(2, 5, dtype=torch.bool),
    )
    with torch.no_grad():
        wanted = layer(*inputs)
        told = torch.compile(layer)(*inputs)
    torch.testing.assert_close(told, wanted, rtol=1e-4, atol=1e-4)
